"""Whose credentials a copy gets, and what a node that was stolen can say to the primary."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId, account_text
from rookery.base.members import Member, Role
from rookery.distribution.auth.authenticator import Authenticator
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory import acts, forwarding
from rookery.distribution.directory import rules_members as rm
from rookery.distribution.directory.addresses import Address
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.pools import PoolAdministration
from rookery.distribution.directory.rules import note
from rookery.distribution.directory.rules_accounts import AddAccounts, NewAccount, OneAccount, RenameAccount
from rookery.distribution.directory.rules_domains import AddDomain
from rookery.distribution.directory.rules_pools import LocalDomain
from rookery.distribution.directory.values import Kind, Plain, PoolBackend, PoolKind, Presence, Verb
from rookery.distribution.service.calls import Act, Acted, AskStanding, CopyOf, Follow, Followed, Question
from rookery.storage.engine import Transaction
from tests.directory.replicas import Nodes

PASSWORD = Plain("correct horse battery")
BACKEND = frozenset({Role.BACKEND})


@pytest.fixture
async def nodes(directory: Directory, tmp_path: Path, clock: ManualClock, hasher: Hasher) -> AsyncIterator[Nodes]:
    """`directory` is the primary, called p, with the pools main and south; a is in the first, b in the other."""
    directory.copies.clustered = True
    pools, admin = PoolAdministration(directory), Administration(directory)
    await admin.add_domain("d.test")
    for name, store in (("south", "s2"), ("main", "s1")):
        await pools.register(name, PoolKind.STATIC, store, PoolBackend(name, "h:143", ""))
    await admin.add_account("a@d.test", PASSWORD, pool="main")
    await admin.add_account("b@d.test", PASSWORD, pool="south")
    nodes = Nodes(tmp_path, clock, hasher)
    nodes.add("p", directory)
    yield nodes
    for name in list(nodes.directories):
        if name != "p":
            await nodes.close(name)


def held(directory: Directory, address: str) -> bool:
    record = directory.account(address)
    assert record is not None
    found = directory.credentials(record.account)
    assert found is not None
    holds = directory.holds_credentials(record.account)
    assert bool(found.rows) is bool(found.scram_salt) is holds
    return holds


async def test_a_share_has_everybody_and_its_own_credentials(directory: Directory, nodes: Nodes) -> None:
    replica = await nodes.replica("r", "p", store="s1")
    assert held(replica, "a@d.test")
    assert not held(replica, "b@d.test")
    assert replica.resolve("b@d.test") == directory.resolve("b@d.test")
    admin = Administration(replica)
    await admin.add_account("a2@d.test", PASSWORD, pool="main")
    await admin.add_account("b2@d.test", PASSWORD, pool="south")
    await admin.set_password("b@d.test", Plain("another horse battery"))
    assert held(replica, "a2@d.test")
    assert not held(replica, "b2@d.test")
    assert not held(replica, "b@d.test")


async def test_a_login_that_cannot_be_checked_here_is_not_called_wrong(
    nodes: Nodes, hasher: Hasher, clock: ManualClock
) -> None:
    authenticator = Authenticator(await nodes.replica("r", "p", store="s1"), hasher, clock=clock)
    where = {"protocol": "imap", "peer": "192.0.2.1", "session": "s"}
    assert await authenticator.check_password("a@d.test", PASSWORD.password, **where)
    for attempt in (
        authenticator.check_password("b@d.test", PASSWORD.password, **where),
        authenticator.scram_offer("b@d.test"),
    ):
        with pytest.raises(RookeryError) as caught:
            await attempt
        assert caught.value.cause is Cause.MOVED
    await authenticator.settle()


async def test_credentials_come_and_go_with_the_account(directory: Directory, nodes: Nodes) -> None:
    replica = await nodes.replica("r", "p", store="s1")
    record = directory.account("b@d.test")
    assert record is not None

    async def move(pool: str) -> None:
        number = next(one.id for one in directory.pools() if one.name == pool)

        def work(tx: Transaction) -> None:
            assert record is not None
            note(tx, directory.now(), (Kind.ACCOUNT, account_text(record.account), Verb.CHANGED))
            tx.run("DELETE FROM account_pool WHERE account = ?", record.account)
            tx.insert_many("account_pool", ("account", "pool"), [(record.account, number)])

        await directory._writer.exclusive(work)
        directory._memory.forget_everything()
        await replica.catch_up()

    await move("main")
    assert held(replica, "b@d.test")
    await move("south")
    assert not held(replica, "b@d.test")


async def test_a_pool_that_a_store_takes_over_brings_its_credentials(directory: Directory, nodes: Nodes) -> None:
    """Its accounts were made before its store was known."""
    pools, admin = PoolAdministration(directory), Administration(directory)
    await pools.add("west", PoolKind.STATIC, "", "")
    await admin.add_account("c@d.test", PASSWORD, pool="west")
    replica = await nodes.replica("r", "p", store="s3")
    assert not held(replica, "c@d.test")
    asked: list[Question] = []
    nodes.before = asked.append
    await pools.register("west", PoolKind.STATIC, "s3", PoolBackend("w", "h:143", ""))
    await replica.catch_up()
    while not held(replica, "c@d.test"):
        await Administration(replica).change_account("c@d.test", name="C")
    assert any(isinstance(question, CopyOf) for question in asked)
    assert not held(replica, "a@d.test")


async def test_only_nodes_with_the_role_get_all_credentials(nodes: Nodes) -> None:
    replica = await nodes.replica("r", "p", roles=BACKEND)
    assert replica.account("a@d.test")
    assert not replica.holds_credentials((replica.account("a@d.test") or pytest.fail("a")).account)
    found = replica.credentials((replica.account("a@d.test") or pytest.fail("a")).account)
    assert found is not None
    assert not found.rows
    with pytest.raises(RookeryError) as caught:
        await replica.copies.promote(replica.random, replica.now())
    assert caught.value.cause is Cause.CONFLICT


async def test_another_share_is_copied_anew(nodes: Nodes) -> None:
    await nodes.replica("r", "p", store="s1")
    await nodes.close("r")
    replica = await nodes.replica("r", "p", store="s2")
    while not held(replica, "b@d.test"):
        await Administration(replica).change_account("b@d.test", name="B")
    assert not held(replica, "a@d.test")


# --- stolen nodes ---------------------------------------------------------------------------------------------------

ID = AccountId(bytes(16))


def member(*roles: Role) -> Member:
    return Member("thief", frozenset(roles), bytes(16), 1 << 40)


@pytest.mark.parametrize("role", [Role.FRONTEND, Role.MX_IN, Role.MX_OUT])
async def test_nodes_on_the_perimeter_get_and_do_nothing(nodes: Nodes, role: Role, directory: Directory) -> None:
    primary = nodes.primary(member(role), "p")
    generation = directory.copies.generation
    questions: list[tuple[Question, type[Any]]] = [
        (Follow(generation, 0, b"x"), Followed),
        (CopyOf(2), Followed),
        (Act("add-domain", forwarding.encode(AddDomain("e.test", directory.now()))), Acted),
        (AskStanding(generation), Acted),
    ]
    for question, kind in questions:
        with pytest.raises(RookeryError) as caught:
            await primary.ask(question, kind)
        assert caught.value.cause is Cause.DENIED
    assert not directory.is_local("e.test")


def claims(now: int) -> dict[str, tuple[str, object]]:
    new = NewAccount(ID, Address("x", "d.test"))
    return {
        "a domain that is not canonical": ("add-domain", AddDomain("E.test", now)),
        "a local domain that is not canonical": ("local-domain", LocalDomain("E.test", "main", now)),
        "a domain of any length": ("add-domain", AddDomain("e" * 5000 + ".test", now)),
        "an address that is not canonical": ("rename-account", RenameAccount(ID, Address("X", "D.test"), now)),
        "an id of another length": (
            "add-accounts", AddAccounts((msgspec.structs.replace(new, account=AccountId(b"x")),), now)
        ),
        "a name with a line end": ("add-accounts", AddAccounts((msgspec.structs.replace(new, name="x\ny"),), now)),
        "a number beyond all": ("add-accounts", AddAccounts((msgspec.structs.replace(new, size_limit=1 << 63),), now)),
        "another time": ("add-domain", AddDomain("e.test", now - 10_000)),
        "the argument of another act": ("add-domain", OneAccount(ID, now)),
        "an act of no release": ("drop-everything", AddDomain("e.test", now)),
        "an invitation": (
            "invite", rm.Invite("n", frozenset({Role.AUTHORITY}), b"t" * 16, b"h" * 32, now + 100, now)
        ),
        "a certificate": ("renew-certificate", rm.Renew("n", b"", rm.NewCertificate(b"s", b"a", b"k", 1 << 40), now)),
        "a revocation": ("revoke-member", rm.OneMember("n", now)),
        "where another node is": ("say-present", rm.SayPresent(Presence("other", "b", "h:1", "1"), (), now)),
    }  # fmt: skip


@pytest.mark.parametrize("what", claims(0))
async def test_what_a_stolen_backend_says_is_looked_at(nodes: Nodes, directory: Directory, what: str) -> None:
    before = directory.last_change()
    name, argument = claims(directory.now())[what]
    with pytest.raises(RookeryError) as caught:
        await nodes.primary(member(Role.BACKEND), "p").ask(Act(name, forwarding.encode(argument)), Acted)
    assert caught.value.cause in (Cause.INVALID, Cause.DENIED, Cause.UNSUPPORTED)
    assert directory.last_change() == before


async def test_octets_that_are_no_act_are_refused(nodes: Nodes, directory: Directory) -> None:
    for data in (b"", b"\xc1", b"\x93\x01\x02", b"\xdd\xff\xff\xff\xff"):
        with pytest.raises(RookeryError) as caught:
            await nodes.primary(member(Role.BACKEND), "p").ask(Act("add-domain", data), Acted)
        assert caught.value.cause is Cause.INVALID


def test_every_act_can_be_sent() -> None:
    assert all(forwarding.form(name) for name in acts.BY_NAME)
