"""Accounts: added, listed, changed, renamed, removed and restored; thousands at once."""

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.distribution.directory.administration import AccountLine, Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.values import (
    AccountRecord,
    AccountState,
    Hashed,
    LastLogin,
    Plain,
    Resolved,
    Unknown,
)


def _local(directory: Directory, address: str) -> list[str]:
    found = directory.resolve(address)
    return [target.address for target in found.targets] if isinstance(found, Resolved) else []


async def test_added_and_shown(site: Administration, directory: Directory, clock: ManualClock) -> None:
    made = await site.add_account("Carol@D.test", name=" Carol ", size_limit=10, message_limit=2, admin=True)
    assert made.address == "carol@d.test"
    assert (made.name, made.size_limit, made.message_limit, made.admin) == ("Carol", 10, 2, True)
    assert made.created == int(clock.wall())
    assert made.state is AccountState.ACTIVE
    assert directory.account("CAROL@d.test") == made
    assert directory.account_by_id(made.account) == made
    assert directory.account("nobody@d.test") is None
    assert directory.account("no address") is None


async def test_listed_in_order_and_in_pages(site: Administration, directory: Directory) -> None:
    await site.add_domain("e.test")
    lines = [AccountLine(f"u{i:04}@e.test") for i in range(1201)]
    await site.add_accounts(lines)
    assert [record.address for record in directory.accounts("e.test")] == [line.address for line in lines]
    assert len(list(directory.accounts())) == 1203  # the built-in postmaster is not listed
    assert directory.count_accounts() == 1203
    assert directory.count_accounts("d.test") == 2
    with pytest.raises(RookeryError):
        list(directory.accounts("no.test"))


async def test_an_unknown_address_becomes_known_at_once(site: Administration, directory: Directory) -> None:
    assert isinstance(directory.resolve("carol@d.test"), Unknown)
    await site.add_account("carol@d.test")
    assert _local(directory, "carol@d.test") == ["carol@d.test"]


@pytest.mark.parametrize(
    ("address", "words"),
    [("alice@d.test", "alice@d.test is an account"), ("info@d.test", "an alias"), ("all@d.test", "a group")],
)
async def test_an_address_is_taken_once(site: Administration, address: str, words: str) -> None:
    await site.add_alias("info@d.test", ["alice@d.test"])
    await site.add_group("all@d.test", ["alice@d.test"])
    for act in (site.add_account(address), site.add_alias(address, ["bob@d.test"]), site.add_group(address)):
        with pytest.raises(RookeryError, match=words) as caught:
            await act
        assert caught.value.cause is Cause.EXISTS


async def test_changed(site: Administration, directory: Directory) -> None:
    assert directory.account("alice@d.test")
    changed = await site.change_account("alice@d.test", size_limit=5, name="A")
    assert (changed.size_limit, changed.name, changed.admin) == (5, "A", False)
    assert directory.account("alice@d.test") == changed
    changed = await site.change_account("alice@d.test", enabled=False)
    assert changed.state is AccountState.DISABLED
    assert _local(directory, "alice@d.test") == ["alice@d.test"]  # mail still comes
    assert (await site.change_account("alice@d.test", enabled=True)).state is AccountState.ACTIVE
    for bad in ({"size_limit": -1}, {"message_limit": 1 << 62}, {"name": "a\nb"}):
        with pytest.raises(RookeryError) as caught:
            await site.change_account("alice@d.test", **bad)  # type: ignore[arg-type]
        assert caught.value.cause is Cause.INVALID


async def test_renamed_and_aliases_follow(site: Administration, directory: Directory) -> None:
    await site.add_domain("e.test")
    await site.add_alias("info@d.test", ["Alice@d.test"])
    before = directory.account("alice@d.test")
    assert _local(directory, "info@d.test") == ["alice@d.test"]
    renamed = await site.rename_account("alice@d.test", "alicia@e.test")
    assert before
    assert renamed.account == before.account
    assert directory.account("alice@d.test") is None
    assert _local(directory, "info@d.test") == ["alicia@e.test"]
    assert isinstance(directory.resolve("alice@d.test"), Unknown)
    await site.add_account("alice@d.test")
    with pytest.raises(RookeryError, match="is an account"):
        await site.rename_account("alicia@e.test", "alice@d.test")


async def test_removed_restored_purged(site: Administration, directory: Directory, clock: ManualClock) -> None:
    await site.add_alias("info@d.test", ["alice@d.test", "bob@d.test"])
    removed = await site.remove_account("alice@d.test", keep=100)
    assert (removed.state, removed.removed_until) == (AccountState.REMOVED, int(clock.wall()) + 100)
    assert isinstance(directory.resolve("alice@d.test"), Unknown)
    info = directory.resolve("info@d.test")
    assert isinstance(info, Resolved)
    assert [target.address for target in info.targets] == ["bob@d.test"]
    assert info.missing == ("alice@d.test",)
    with pytest.raises(RookeryError, match="removed account that is kept") as caught:
        await site.add_account("alice@d.test")
    assert caught.value.cause is Cause.EXISTS
    with pytest.raises(RookeryError):
        await site.purge_account(removed.account)
    clock.advance(50)
    with pytest.raises(RookeryError, match=r"is removed already and kept until 20.* UTC; .* --now") as caught:
        await site.remove_account("alice@d.test", keep=100)
    assert caught.value.cause is Cause.CONFLICT
    again = directory.account("alice@d.test")
    assert again is not None
    assert again.removed_until == removed.removed_until, "a second removal does not keep it longer"
    for act in (site.set_password("alice@d.test", Plain("x")), site.rename_account("alice@d.test", "x@d.test")):
        with pytest.raises(RookeryError) as caught:
            await act
        assert caught.value.cause is Cause.CONFLICT
    restored = await site.restore_account("alice@d.test")
    assert restored.state is AccountState.ACTIVE
    assert _local(directory, "alice@d.test") == ["alice@d.test"]
    await site.remove_account("alice@d.test", keep=100)
    assert directory.expired_accounts() == []
    await site.remove_account("alice@d.test", keep=0)  # at once, though it is removed already
    assert [record.account for record in directory.expired_accounts()] == [removed.account]
    await site.purge_account(removed.account)
    assert directory.account("alice@d.test") is None
    assert (await site.add_account("alice@d.test")).account != removed.account


async def test_last_logins_are_written_together(site: Administration, directory: Directory, clock: ManualClock) -> None:
    alice = directory.account("alice@d.test")
    assert alice
    assert directory.last_login(alice.account) is None
    for i in range(50):
        directory.record_login(alice.account, "imap", f"192.0.2.{i}")
    latest = LastLogin(int(clock.wall()), "imap", "192.0.2.49")
    assert directory.last_login(alice.account) == latest
    changes = directory.last_change()
    directory.flush_logins()
    await site.change_account("bob@d.test", name="B")  # the writer has gone round
    assert directory.last_login(alice.account) == latest
    assert directory.last_change() == changes + 1


async def test_many_at_once_with_refusals(site: Administration, directory: Directory) -> None:
    lines = [
        AccountLine("c1@d.test", Hashed("{SSHA}5dFHPVES437byFNldXbyskNEmv1WzWER"), size_limit=1000),
        AccountLine("not an address"),
        AccountLine("alice@d.test"),
        AccountLine("c2@no.test"),
        AccountLine("c3@d.test", Hashed("{ROT13}x")),
        AccountLine("c4@d.test", Plain("secret")),
        AccountLine("C1@d.test"),
        AccountLine("c5@d.test", Plain("")),
        AccountLine("c6@d.test", size_limit=-1),
        AccountLine("c7@d.test", Hashed("{PLAIN}secret")),
    ]
    results = await site.add_accounts(lines)
    causes = [result.cause if isinstance(result, Refusal) else None for result in results]
    assert causes == [
        None,
        Cause.INVALID,
        Cause.EXISTS,
        Cause.NOT_FOUND,
        Cause.UNSUPPORTED,
        None,
        Cause.EXISTS,
        Cause.INVALID,
        Cause.INVALID,
        None,
    ]
    first, plain = results[0], results[9]
    assert isinstance(first, AccountRecord)
    assert first.size_limit == 1000
    assert isinstance(plain, AccountRecord)
    kept = directory.credentials(plain.account)
    assert kept
    assert kept.rows[0].data.startswith("{ARGON2ID}")  # a plain password is never kept


async def test_the_change_log_counts_on(site: Administration, directory: Directory) -> None:
    rows = directory.changes(0, 1000)
    assert [row.number for row in rows] == list(range(1, directory.last_change() + 1))
    before = directory.last_change()
    woken: list[int] = []
    unwatch = directory.watch(lambda: woken.append(1))
    await site.change_account("alice@d.test", name="A")
    assert [(row.kind.name, row.verb.name) for row in directory.changes(before)] == [("ACCOUNT", "CHANGED")]
    assert woken  # a shared directory may tell twice of one act
    unwatch()
    with pytest.raises(RookeryError):
        await site.add_account("alice@d.test")
    assert directory.last_change() == before + 1
