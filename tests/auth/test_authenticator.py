"""Logging in with a password: right, wrong, remembered, changed, limited."""

import asyncio
import base64
import hashlib
import threading

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import captured
from rookery.distribution.auth import schemes
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.values import AccountState, CredentialKind, Hashed, Plain
from tests.auth.conftest import Site


async def _refused(site: Site, login: str, password: str, peer: str = "192.0.2.1") -> Cause:
    with pytest.raises(RookeryError) as caught:
        await site.check(login, password, peer)
    return caught.value.cause


@pytest.mark.parametrize("login", ["alice@d.test", "ALICE@D.TEST", "alice", "Alice", " alice ", '"alice"@d.test'])
async def test_right(site: Site, login: str) -> None:
    record = await site.check(login, "wonderland")
    assert record.address == "alice@d.test"
    login_seen = site.directory.last_login(record.account)
    assert login_seen
    assert (login_seen.protocol, login_seen.address) == ("imap", "192.0.2.1")
    assert site.slept == []


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("alice@d.test", "Wonderland"),
        ("alice@d.test", ""),
        ("alice@d.test", "wonderland\0"),
        ("alice@d.test", "x" * 100_000),
        ("alice+x@d.test", "wonderland"),
        ("carol@d.test", "wonderland"),
        ("carol@d.test", ""),
        ("nobody@d.test", "wonderland"),
        ("alice@no.test", "wonderland"),
        ("", "wonderland"),
        ("@", "wonderland"),
        ("alice\r\n", "wonderland\r\n"),
        ("\ud800", "\ud800"),
        ("postmaster", "x"),
        ("x" * 100_000, "y"),
    ],
)
async def test_wrong_always_looks_the_same(site: Site, login: str, password: str) -> None:
    with captured() as lines:
        assert await _refused(site, login, password) is Cause.BAD_CREDENTIALS
    assert site.hasher.count == 1  # an unknown account costs one argon2 like a known one
    assert site.slept == [0.5]
    (line,) = [fields for component, event, fields in lines if (component, event) == ("auth", "login-failed")]
    assert next(iter(line)) == "address"
    assert line["address"] == "192.0.2.1"
    assert line["reason"] == "credentials"
    assert "wonderland" not in str({key: value for key, value in line.items() if key != "login"})


async def test_a_remembered_password_costs_nothing(site: Site) -> None:
    for _ in range(5):
        await site.check("alice", "wonderland")
    assert site.hasher.count == 1
    site.clock.advance(3601)
    await site.check("alice", "wonderland")
    assert site.hasher.count == 2


async def test_ten_connections_at_once_cost_one_check(site: Site) -> None:
    await asyncio.gather(*(site.check("alice", "wonderland") for _ in range(10)))
    assert site.hasher.count == 1


async def test_a_changed_password_counts_at_once(site: Site) -> None:
    await site.check("alice", "wonderland")
    await site.admin.set_password("alice@d.test", Plain("looking-glass"))
    assert await _refused(site, "alice", "wonderland") is Cause.BAD_CREDENTIALS
    await site.check("alice", "looking-glass")


async def test_a_password_changed_while_the_old_one_is_checked(site: Site) -> None:
    checking = asyncio.create_task(site.check("alice", "wonderland"))
    await asyncio.sleep(0)
    await site.admin.set_password("alice@d.test", Hashed("{SSHA}5dFHPVES437byFNldXbyskNEmv1WzWER"))
    await asyncio.gather(checking, return_exceptions=True)
    assert await _refused(site, "alice", "wonderland") is Cause.BAD_CREDENTIALS


async def test_a_disabled_or_removed_account_is_out_at_once(site: Site) -> None:
    await site.check("alice", "wonderland")
    await site.admin.change_account("alice@d.test", enabled=False)
    assert await _refused(site, "alice", "wonderland") is Cause.BAD_CREDENTIALS
    await site.admin.change_account("alice@d.test", enabled=True)
    await site.check("alice", "wonderland")
    await site.admin.remove_account("alice@d.test")
    assert await _refused(site, "alice", "wonderland") is Cause.BAD_CREDENTIALS
    assert (await site.admin.restore_account("alice@d.test")).state is AccountState.ACTIVE
    await site.check("alice", "wonderland")


async def test_a_renamed_account_goes_on_under_its_new_name(site: Site) -> None:
    await site.check("alice", "wonderland")
    await site.admin.rename_account("alice@d.test", "alicia@d.test")
    await site.check("alicia", "wonderland")
    assert site.hasher.count == 1
    assert await _refused(site, "alice", "wonderland") is Cause.BAD_CREDENTIALS


async def test_app_passwords(site: Site) -> None:
    phone = await site.admin.add_app_password("alice@d.test", "phone")
    laptop = await site.admin.add_app_password("alice@d.test", "laptop")
    assert len(phone) == 20
    assert phone != laptop
    assert [app.label for app in site.admin.app_passwords("alice@d.test")] == ["laptop", "phone"]
    for password in (phone, laptop, "wonderland"):
        await site.check("alice", password)
    await site.admin.remove_app_password("alice@d.test", "phone")
    assert await _refused(site, "alice", phone) is Cause.BAD_CREDENTIALS
    await site.check("alice", laptop)
    await site.admin.set_password("alice@d.test", None)
    assert await _refused(site, "alice", "wonderland") is Cause.BAD_CREDENTIALS
    await site.check("alice", laptop)
    for act, cause in (
        (site.admin.add_app_password("alice@d.test", "laptop"), Cause.EXISTS),
        (site.admin.add_app_password("alice@d.test", ""), Cause.INVALID),
        (site.admin.add_app_password("alice@d.test", "a\nb"), Cause.INVALID),
        (site.admin.remove_app_password("alice@d.test", "phone"), Cause.NOT_FOUND),
    ):
        with pytest.raises(RookeryError) as caught:
            await act
        assert caught.value.cause is cause


async def test_an_old_hash_becomes_argon2id_at_the_next_login(site: Site) -> None:
    record = await site.check("bob", "secret")
    await site.authenticator.settle()
    (row,) = site.rows(record.account, CredentialKind.PASSWORD)
    assert row.data.startswith("{ARGON2ID}$argon2id$v=19$")
    assert schemes.parse(row.data).current
    (scram,) = site.rows(record.account, CredentialKind.SCRAM)
    assert scram.parent == row.id
    count = site.hasher.count
    await site.check("bob", "secret")  # still remembered
    assert site.hasher.count == count
    site.clock.advance(4000)
    await site.check("bob", "secret")
    await site.authenticator.settle()
    assert site.hasher.count == count + 1
    assert await _refused(site, "bob", "Secret") is Cause.BAD_CREDENTIALS


async def test_a_password_in_any_normal_form(site: Site) -> None:
    await site.admin.set_password("alice@d.test", Plain("p\u00e4ssw\u00f6rd\u00a0\u2168"))
    await site.check("alice", "pa\u0308sswo\u0308rd IX")


async def test_hashes_of_the_octets_as_typed(site: Site) -> None:
    """An old hash was made of what the client sent, SASLprep or not."""
    typed = "\u2168"
    old = base64.b64encode(hashlib.sha1(typed.encode() + b"salt").digest() + b"salt").decode()
    await site.admin.set_password("bob@d.test", Hashed("{SSHA}" + old))
    record = await site.check("bob", typed)
    await site.authenticator.settle()
    assert site.rows(record.account, CredentialKind.PASSWORD)[0].data.startswith("{ARGON2ID}")


async def test_delays_grow_and_the_address_is_limited(site: Site) -> None:
    for i in range(20):
        assert await _refused(site, f"user{i}", "guess") is Cause.BAD_CREDENTIALS
        site.clock.advance(-site.slept[-1])  # all within one moment
    assert site.slept[:6] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    count = site.hasher.count
    with captured() as lines:
        assert await _refused(site, "alice", "wonderland") is Cause.TOO_MANY  # right, but not looked at
    assert lines[0][2]["reason"] == "limited"
    assert site.hasher.count == count
    await site.check("alice", "wonderland", "192.0.2.2")
    site.clock.advance(60)
    await site.check("alice", "wonderland")


async def test_the_owner_is_not_locked_out(site: Site) -> None:
    home, elsewhere = "198.51.100.7", "198.51.100.8"
    await site.check("alice", "wonderland", home)
    for i in range(60):
        await _refused(site, "alice", f"guess {i}", f"203.0.113.{i}")
        site.clock.advance(-site.slept[-1])
    assert await _refused(site, "alice", "another guess", elsewhere) is Cause.TOO_MANY
    await site.check("alice", "wonderland", elsewhere)  # remembered: known to be right
    site.clock.advance(3601 - 60 * 12)
    await site.admin.set_password("alice@d.test", Plain("looking-glass"))
    await site.check("alice", "looking-glass", home)  # a home of the account has a budget of its own
    for i in range(60):
        await _refused(site, "bob", "guess", f"203.0.113.{i}")
        site.clock.advance(-site.slept[-1])
    await site.check("alice", "looking-glass", home)


async def test_a_home_is_known_from_the_last_login_after_a_restart(site: Site) -> None:
    alice = site.directory.account("alice@d.test")
    assert alice
    site.directory.record_login(alice.account, "imap", "198.51.100.7")
    for i in range(60):
        await _refused(site, "alice", f"guess {i}", f"203.0.113.{i}")
        site.clock.advance(-site.slept[-1])
    await site.check("alice", "wonderland", "198.51.100.7")


async def test_an_ipv6_network_is_one_client(site: Site) -> None:
    for i in range(20):
        await _refused(site, f"user{i}", "guess", f"2001:db8::{i:x}")
        site.clock.advance(-site.slept[-1])
    assert await _refused(site, "alice", "guess", "2001:db8::ffff") is Cause.TOO_MANY
    assert await _refused(site, "alice", "guess", "2001:db8:0:1::1") is Cause.BAD_CREDENTIALS


async def test_too_many_waiting_is_busy_and_costs_no_budget() -> None:
    hasher = Hasher(threads=1, waiting=1)
    gate = threading.Event()
    try:
        first, second = (asyncio.ensure_future(hasher.run(gate.wait)) for _ in range(2))
        await asyncio.sleep(0)
        assert hasher.waiting == 2
        with pytest.raises(RookeryError) as caught:
            await hasher.run(gate.wait)
        assert caught.value.cause is Cause.BUSY
        gate.set()
        assert await first
        assert await second
        await asyncio.sleep(0)
        assert hasher.waiting == 0
    finally:
        gate.set()
        hasher.close()
