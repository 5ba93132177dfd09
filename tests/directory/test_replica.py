"""A replica is what its primary is, whatever was done there, and whenever its way to it was cut."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Role
from rookery.distribution.auth.authenticator import Authenticator
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory import acts, objects
from rookery.distribution.directory import rules_members as rm
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.pools import PoolAdministration
from rookery.distribution.directory.values import (
    AccountRecord,
    AuthorityRecord,
    Plain,
    PoolBackend,
    PoolKind,
    Presence,
    Resolved,
    Unknown,
)
from rookery.distribution.service.calls import CopyOf, Follow, Question
from rookery.storage.engine import Reader
from tests.directory.replicas import Nodes, contents, ready

PASSWORD = Plain("correct horse battery")


@pytest.fixture
async def nodes(directory: Directory, tmp_path: Path, clock: ManualClock, hasher: Hasher) -> AsyncIterator[Nodes]:
    """`directory` is the primary, called p."""
    nodes = Nodes(tmp_path, clock, hasher)
    nodes.add("p", directory)
    yield nodes
    for name in list(nodes.directories):
        if name != "p":
            await nodes.close(name)


async def same(primary: Directory, *replicas: Directory) -> None:
    for replica in replicas:
        await replica.catch_up()
        assert contents(replica) == contents(primary)


def test_everything_of_the_schema_is_copied_or_known_not_to_be(directory: Directory) -> None:
    if directory._database.shared:
        return
    own = {"site", "counter", "change", "name", "login", "schema_version"}

    def read(reader: Reader) -> dict[str, set[str]]:
        tables = [name for (name,) in reader.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            name: {column for (column,) in reader.rows("SELECT name FROM pragma_table_info(?)", name)}
            for name in tables
            if name not in own
        }

    known = {table.name: set(table.columns) for table in objects.ALL}
    known["pool"].add("free")  # of the moment, and in no log
    assert directory.read(read) == known


async def test_every_kind_of_act_arrives(directory: Directory, nodes: Nodes) -> None:
    followers = [await nodes.replica("r", "p"), await nodes.replica("q", "p")]
    admin, pools = Administration(directory), PoolAdministration(directory)

    async def then(*made: Awaitable[object]) -> None:
        for act in made:
            await act
        await same(directory, *followers)

    await then(admin.add_domain("d.test"), admin.add_domain("e.test"))
    await then(admin.add_account("a@d.test", PASSWORD), admin.add_account("b@d.test", name="B", admin=True))
    await then(admin.add_alias("list@d.test", ["A@d.test", "x@else.test"]))
    await then(admin.add_group("all@d.test", ["a@d.test", "b@d.test", "list@d.test"], name="All"))
    await then(admin.rename_account("a@d.test", "c@e.test"))
    assert followers[0].resolve("list@d.test") == directory.resolve("list@d.test")
    await then(admin.change_alias("list@d.test", targets=["c@e.test"]), admin.rename_alias("list@d.test", "l@e.test"))
    await then(admin.change_group("all@d.test", add=["l@e.test"], remove=["list@d.test"]))
    await then(admin.rename_domain("d.test", "f.test"))
    assert isinstance(followers[0].resolve("all@f.test"), Resolved)
    await then(admin.add_domain_alias("f.test", "g.test"), admin.add_domain_alias("f.test", "h.test"))
    await then(admin.remove_domain_alias("f.test", "g.test"), admin.add_domain("g.test"))
    await then(admin.set_password("c@e.test", Plain("another horse battery")))
    await then(admin.add_app_password("c@e.test", "phone"), admin.add_app_password("c@e.test", "tablet"))
    await then(admin.remove_app_password("c@e.test", "phone"), admin.change_account("c@e.test", size_limit=5))
    gone = await admin.remove_account("b@f.test", keep=0)
    await then(admin.purge_account(gone.account), admin.add_account("b@f.test"))
    await then(admin.remove_group("all@f.test"), admin.remove_alias("l@e.test"), admin.remove_domain("g.test"))
    await then(
        pools.register("main", PoolKind.STATIC, "s1", PoolBackend("b1", "h:143", "h:24")),
        pools.register("mine", PoolKind.STATIC, "s1", PoolBackend("b1", "h:143", "", "h:7143")),
    )
    await then(pools.add_local("n.test", "mine"), pools.share("f.test"))
    await then(pools.share("n.test"), pools.make_local("f.test", "mine"))
    await then(members(directory))


async def members(directory: Directory) -> None:
    now = directory.now()
    first = AuthorityRecord(b"1" * 32, b"c1", b"", now)
    await directory.act(acts.FOUND_CLUSTER, rm.FoundCluster("cluster", first, now))
    for name in ("n1", "n2"):
        invite = rm.Invite(name, frozenset({Role.FRONTEND}), name.encode() * 8, b"h" * 32, now + 50, now)
        await directory.act(acts.INVITE, invite)
    certificate = rm.NewCertificate(b"s" * 16, first.id, b"k" * 32, now + 100)
    await directory.act(acts.REDEEM, rm.Redeem(b"n1" * 8, b"h" * 32, certificate, now))
    await directory.act(acts.SAY_PRESENT, rm.SayPresent(Presence("n1", "b1", "h:7143", "0.1"), (), now))
    await directory.act(
        acts.ADD_AUTHORITY, rm.AddAuthority(AuthorityRecord(b"2" * 32, b"c2", b"x", now), first.id, now)
    )
    # The token of n2 has expired by then, and goes with this.
    invite = rm.Invite("n3", frozenset({Role.BACKEND}), b"n3" * 8, b"h" * 32, now + 200, now + 60)
    await directory.act(acts.INVITE, invite)
    await directory.act(acts.REVOKE_MEMBER, rm.OneMember("n1", now))
    await directory.act(acts.FORGET_MEMBER, rm.OneMember("n1", now + 10_000))
    await directory.act(acts.DROP_AUTHORITIES, rm.DropAuthorities(now + 10_000))


# --- at random ------------------------------------------------------------------------------------------------------

DOMAINS = [f"d{n}.test" for n in range(4)]
LOCALS = [f"u{n}" for n in range(4)]


def some_act(dice: random.Random, admin: Administration) -> Awaitable[object]:
    def address() -> str:
        return f"{dice.choice(LOCALS)}@{dice.choice(DOMAINS)}"

    async def purge() -> None:
        gone = await admin.remove_account(address(), keep=0)
        await admin.purge_account(gone.account)

    makers: list[Callable[[], Awaitable[object]]] = [
        lambda: admin.add_domain(DOMAINS[0]),
        lambda: admin.rename_domain(*dice.sample(DOMAINS, 2)),
        lambda: admin.add_domain_alias(*dice.sample(DOMAINS, 2)),
        lambda: admin.remove_domain_alias(*dice.sample(DOMAINS, 2)),
        lambda: admin.remove_domain(DOMAINS[0]),
        lambda: admin.add_account(address()),
        lambda: admin.add_account(address()),
        lambda: admin.rename_account(address(), address()),
        lambda: admin.change_account(address(), name=str(dice.random())),
        lambda: admin.add_app_password(address(), str(dice.randrange(3))),
        purge,
        lambda: admin.add_alias(address(), [address(), address()]),
        lambda: admin.add_group(address(), [address(), "x@else.test"]),
        lambda: admin.change_group(address(), add=[address()]),
        lambda: admin.rename_alias(address(), address()),
        lambda: admin.rename_group(address(), address()),
        lambda: admin.remove_alias(address()),
        lambda: admin.remove_group(address()),
    ]
    return dice.choice(makers)()


async def try_acts(dice: random.Random, admin: Administration, count: int) -> int:
    done = 0
    for _ in range(count):
        try:
            await some_act(dice, admin)
            done += 1
        except RookeryError as error:
            if error.cause.temporary and error.cause is not Cause.IN_USE:
                raise
    return done


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_done_ends_the_same(
    seed: int, directory: Directory, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also acts through the replica, copies begun in the middle, small pages, and a way that is cut now and then."""
    monkeypatch.setattr("rookery.distribution.directory.source.PAGE_LIMIT", 300)
    monkeypatch.setattr("rookery.distribution.directory.source.OBJECTS", 2)
    monkeypatch.setattr("rookery.distribution.directory.source.STEP", 2)
    monkeypatch.setattr("rookery.distribution.directory.replica.AGAIN", 0.001)
    dice = random.Random(seed)
    for domain in DOMAINS[1:]:
        await Administration(directory).add_domain(domain)
    done = await try_acts(dice, Administration(directory), 40)
    followers = [await nodes.replica("r0", "p")]
    for n in range(3):
        done += await try_acts(dice, Administration(dice.choice([directory, *followers])), 60)
        joining = asyncio.create_task(nodes.replica(f"r{n + 1}", "p"))
        nodes.cut.add("r0")
        done += await try_acts(dice, Administration(directory), 60)
        nodes.cut.clear()
        followers.append(await joining)
    assert done > 40
    await same(directory, *followers)


# --- copies ---------------------------------------------------------------------------------------------------------


async def filled(directory: Directory, count: int = 30) -> Administration:
    admin = Administration(directory)
    await admin.add_domain("d.test")
    for n in range(count):
        await admin.add_account(f"u{n}@d.test")
    return admin


async def test_a_copy_that_is_cut_is_made_all_the_same(
    directory: Directory, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rookery.distribution.directory.source.PAGE_LIMIT", 500)
    monkeypatch.setattr("rookery.distribution.directory.source.OBJECTS", 3)
    monkeypatch.setattr("rookery.distribution.directory.replica.AGAIN", 0.001)
    await filled(directory)
    asked = 0

    def cut(question: Question) -> None:
        nonlocal asked
        asked += 1
        if asked in (3, 9, 20):
            raise RookeryError(Cause.UNAVAILABLE, "cut off")

    nodes.before = cut
    replica = await nodes.replica("r", "p")
    assert asked > 20
    await same(directory, replica)


async def test_what_changes_while_a_copy_is_made_is_in_it(
    directory: Directory, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names change hands between pages, so that a page has two accounts of one name."""
    monkeypatch.setattr("rookery.distribution.directory.source.PAGE_LIMIT", 200)
    monkeypatch.setattr("rookery.distribution.directory.source.OBJECTS", 2)
    admin = await filled(directory, 12)
    hands: list[asyncio.Task[None]] = []

    async def change() -> None:
        await admin.rename_account("u0@d.test", "free@d.test")
        for n in range(1, 12):
            await admin.rename_account(f"u{n}@d.test", f"u{n - 1}@d.test")
        await admin.rename_account("free@d.test", "u11@d.test")

    def begin(question: Question) -> None:
        if isinstance(question, CopyOf) and not hands and question.kind == 2:
            hands.append(asyncio.create_task(change()))

    nodes.before = begin
    replica = await nodes.replica("r", "p")
    await hands[0]
    await same(directory, replica)


async def test_who_is_too_far_behind_copies_anew(
    directory: Directory, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await filled(directory, 3)
    await nodes.replica("r", "p")
    await nodes.close("r")
    await admin.rename_account("u1@d.test", "v@d.test")
    await admin.add_account("u1@d.test")
    monkeypatch.setattr("rookery.distribution.directory.rules.CHANGES_KEPT", 1)
    await admin.remove_account("u2@d.test")
    asked: list[Question] = []
    nodes.before = asked.append
    replica = await nodes.replica("r", "p")
    await same(directory, replica)
    assert any(isinstance(question, CopyOf) for question in asked)
    assert isinstance(replica.resolve("u2@d.test"), Unknown)


async def test_a_replica_goes_on_where_it_was(directory: Directory, nodes: Nodes) -> None:
    admin = await filled(directory)
    await nodes.replica("r", "p")
    await nodes.close("r")
    await admin.rename_account("u1@d.test", "v@d.test")
    asked: list[Question] = []
    nodes.before = asked.append
    replica = await nodes.replica("r", "p")
    await same(directory, replica)
    assert not any(isinstance(question, CopyOf) for question in asked)


async def test_a_primary_with_another_history_is_copied_anew(directory: Directory, nodes: Nodes) -> None:
    """One that was restored from a backup, and went on: the numbers are the same, what they say is not."""
    admin = await filled(directory, 3)
    number = (await nodes.replica("r", "p")).last_change()
    await nodes.close("r")
    await admin.remove_account("u2@d.test")
    await directory._writer.exclusive(lambda tx: tx.run("UPDATE change SET object = 'x' WHERE number = ?", number))
    asked: list[Question] = []
    nodes.before = asked.append
    replica = await nodes.replica("r", "p")
    await same(directory, replica)
    assert any(isinstance(question, CopyOf) for question in asked)


async def test_a_change_is_here_at_once(directory: Directory, nodes: Nodes) -> None:
    """By a wake-up, not by looking now and then: no question is asked in between."""
    admin = await filled(directory, 1)
    replica = await nodes.replica("r", "p")
    told = asyncio.Event()
    replica.watch(told.set)
    asked: list[Question] = []
    nodes.before = asked.append
    await admin.add_account("new@d.test")
    async with asyncio.timeout(20):
        await told.wait()
    assert replica.account("new@d.test") == directory.account("new@d.test")
    assert sum(isinstance(question, Follow) for question in asked) <= 2
    assert replica.copies.replica is not None
    assert replica.copies.replica.behind == 0
    assert replica.copies.replica.last_word is not None


# --- acts -----------------------------------------------------------------------------------------------------------


async def test_acts_go_to_the_primary_and_are_here_when_they_return(directory: Directory, nodes: Nodes) -> None:
    replica = await nodes.replica("r", "p")
    admin = Administration(replica)
    await admin.add_domain("d.test")
    made = await admin.add_account("a@d.test", PASSWORD)
    assert replica.account("a@d.test") == made == directory.account("a@d.test")
    alias = await admin.add_alias("l@d.test", ["a@d.test"])
    group = await admin.add_group("g@d.test", ["a@d.test"], name="G")
    assert (alias, group) == (directory.alias("l@d.test"), directory.group("g@d.test"))
    assert replica.resolve("l@d.test") == directory.resolve("l@d.test")
    await same(directory, replica)


async def test_refusals_are_those_of_the_primary(directory: Directory, nodes: Nodes) -> None:
    replica = await nodes.replica("r", "p")
    here, there = Administration(directory), Administration(replica)
    await there.add_domain("d.test")
    await there.add_account("a@d.test")
    for act in (
        lambda admin: admin.add_domain("d.test"),
        lambda admin: admin.add_account("a@d.test"),
        lambda admin: admin.add_alias("a@d.test", ["b@d.test"]),
        lambda admin: admin.remove_domain("d.test"),
        lambda admin: admin.rename_domain("e.test", "f.test"),
        lambda admin: admin.add_alias("l@d.test", ["l@d.test"]),
    ):
        said = []
        for admin in (here, there):
            with pytest.raises(RookeryError) as caught:
                await act(admin)
            said.append(caught.value.refusal)
        assert said[0] == said[1]


async def test_while_the_primary_is_away_logins_go_on_and_acts_say_so(
    directory: Directory, nodes: Nodes, hasher: Hasher, clock: ManualClock
) -> None:
    admin = Administration(directory)
    await admin.add_domain("d.test")
    await admin.add_account("a@d.test", PASSWORD)
    replica = await nodes.replica("r", "p")
    nodes.cut.add("p")
    authenticator = Authenticator(replica, hasher, clock=clock)
    record = await authenticator.check_password(
        "a@d.test", PASSWORD.password, protocol="imap", peer="192.0.2.1", session="s"
    )
    await authenticator.settle()
    replica.flush_logins()
    await written(replica, record)
    assert record == replica.account("a@d.test")
    assert isinstance(replica.resolve("a@d.test"), Resolved)
    for act in (Administration(replica).add_account("b@d.test"), replica.catch_up()):
        with pytest.raises(RookeryError) as caught:
            await act
        assert caught.value.cause is Cause.UNAVAILABLE
        assert "p: cut off" in caught.value.what
    assert replica.account("b@d.test") is None
    nodes.cut.clear()
    await same(directory, replica)


async def test_logins_are_told_to_the_primary(directory: Directory, nodes: Nodes) -> None:
    admin = await filled(directory, 1)
    replica = await nodes.replica("r", "p")
    record = replica.account("u0@d.test")
    assert record is not None
    replica.record_login(record.account, "imap", "192.0.2.1")
    replica.flush_logins()
    await written(directory, record)
    await written(replica, record)
    assert directory.last_login(record.account) == replica.last_login(record.account)
    assert admin


async def written(directory: Directory, record: AccountRecord) -> None:
    async with asyncio.timeout(20):
        while directory.last_login(record.account) is None:  # noqa: ASYNC110  nobody is told of logins
            await asyncio.sleep(0.01)


async def test_before_the_first_copy_nobody_is_told_that_nobody_is_known(directory: Directory, nodes: Nodes) -> None:
    await filled(directory, 1)
    nodes.cut.add("p")
    replica = await nodes.replica("r", "p", wait=False)
    assert replica.copies.replica is not None
    waiting = asyncio.create_task(replica.copies.replica.ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    nodes.cut.clear()
    await waiting
    assert replica.account("u0@d.test") == directory.account("u0@d.test")
    assert replica.secrets.steady_salt("x") == directory.secrets.steady_salt("x")
    await ready(replica)
