"""Logins that go through several nodes, over links as they are: where an exchange goes on, what a cut costs, who gets
in while every directory node is away.
"""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from rookery.access import directory_service
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.service.calls import Again, Begin, Granted, decode_answer, encode
from rookery.distribution.service.calls import Client as Caller
from rookery.net.cluster.link import Link
from rookery.net.stream import Peer
from rookery.wire.cluster.values import HOPS_MOST, Preface
from tests.access.frontend.nodes import Cluster, Frontend, Hosting, peer
from tests.access.imap.support import DOMAIN, PASSWORD, Client, make_world
from tests.net.cluster.certificates import Authority
from tests.wire.sasl.scram_client import ScramClient

ALICE = f"alice@{DOMAIN}"
PLAIN = f"\0{ALICE}\0{PASSWORD}".encode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest_asyncio.fixture
async def cluster(tmp_path: Path, authority: Authority) -> AsyncIterator[Cluster]:
    async with make_world(tmp_path, "alice", "bob") as world:
        made = Cluster(world, authority)
        yield made
        await made.close()


class Nodes:
    """Two backends, two directory nodes, a frontend."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.b1, self.b2 = cluster.backend("b1"), cluster.backend("b2")
        self.d1, self.d2 = cluster.directory("d1"), cluster.directory("d2")
        self.f1 = cluster.frontend("f1", self.d1, self.d2)

    def host(self, name: str = "alice") -> Hosting:
        return self.cluster.backends[self.cluster.hosting[self.cluster.world.account_id(name)]]


@pytest_asyncio.fixture
async def nodes(cluster: Cluster) -> Nodes:
    return Nodes(cluster)


async def _step(frontend: Frontend, scram: ScramClient) -> tuple[object, bytes]:
    """The first half of a SCRAM exchange: the client, and the challenge it got."""
    client = frontend.connect()
    await client.line()
    client.send(b"a AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(scram.first()) + b"\r\n")
    line = await client.line()
    assert line.startswith(b"+ "), line
    return client, base64.b64decode(line[2:])


# --- exchanges -------------------------------------------------------------------------------------------------------


async def test_an_exchange_goes_on_where_it_began_whoever_is_asked_by_others(nodes: Nodes) -> None:
    client, challenge = await _step(nodes.f1, scram := ScramClient(ALICE, PASSWORD))
    nodes.f1.links.cut.add(nodes.d1.port.ports[0])
    await nodes.f1.login("bob")  # d2 is the first from now on
    nodes.f1.links.cut.clear()
    client.send(base64.b64encode(scram.final(challenge)) + b"\r\n")
    assert (await client.line()).startswith(b"+ ")
    client.send(b"\r\n")
    assert (await client.line()).startswith(b"a OK")


async def test_when_its_node_has_died_the_client_tries_again(nodes: Nodes) -> None:
    client, challenge = await _step(nodes.f1, scram := ScramClient(ALICE, PASSWORD))
    await nodes.d1.die()
    client.send(base64.b64encode(scram.final(challenge)) + b"\r\n")
    assert (await client.line()).startswith(b"a NO [UNAVAILABLE]")
    await client.ok(f'LOGIN {ALICE} "{PASSWORD}"')


async def test_when_it_dies_before_another_host_is_found_for_a_password_another_one_is_told_it(nodes: Nodes) -> None:
    links, reach = nodes.f1.links, nodes.f1.links.to
    directories = {one.port.ports[0] for one in (nodes.d1, nodes.d2)}

    async def ended(address: Peer) -> Link:
        if address.port in directories:
            return await reach(address)
        links.to = reach  # type: ignore[method-assign]
        await nodes.d1.die()
        raise RookeryError(Cause.UNAVAILABLE, "the host has just ended")

    links.to = ended  # type: ignore[method-assign]
    client = nodes.f1.connect()
    await client.line()
    await client.ok(f'LOGIN {ALICE} "{PASSWORD}"')
    await client.ok("SELECT INBOX")


# --- nodes that are all alike ----------------------------------------------------------------------------------------


async def _client(node: Hosting) -> Client:
    client = node.connect()
    await client.line()
    return client


async def test_who_gets_a_login_takes_an_account_that_nobody_hosts(nodes: Nodes) -> None:
    for node, name in ((nodes.b1, "alice"), (nodes.b2, "bob")):
        await (await _client(node)).ok(f'LOGIN {name}@{DOMAIN} "{PASSWORD}"')
        assert nodes.host(name) is node
    assert nodes.cluster.entered == []


async def test_a_login_elsewhere_is_brought_to_the_host_and_nobody_notices(nodes: Nodes) -> None:
    await (await _client(nodes.b1)).ok(f'LOGIN {ALICE} "{PASSWORD}"')
    client = await _client(nodes.b2)
    client.send(f'a LOGIN {ALICE} "{PASSWORD}"\r\nb SELECT INBOX\r\nc NO'.encode())
    assert (await client.until(b"a"))[-1].startswith(b"OK [CAPABILITY")
    assert (await client.until(b"b"))[-1].startswith(b"OK [READ-WRITE]")
    client.send(b"OP\r\n")
    assert (await client.until(b"c"))[-1].startswith(b"OK")
    assert nodes.cluster.entered == [("b1", ALICE)]
    scram = ScramClient(ALICE, PASSWORD)
    client = await _client(nodes.b2)
    client.send(b"a AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(scram.first()) + b"\r\n")
    challenge = base64.b64decode((await client.line())[2:])
    client.send(base64.b64encode(scram.final(challenge)) + b"\r\n")
    await client.line()
    client.send(b"\r\n")
    assert (await client.line()).startswith(b"a OK")
    await client.ok("NOOP")
    assert len(nodes.cluster.entered) == 2
    await client.ok("LOGOUT")
    assert await client.stream.read() == b""


async def test_a_host_that_cannot_be_reached_is_no_reason_for_a_wrong_answer(nodes: Nodes) -> None:
    await (await _client(nodes.b1)).ok(f'LOGIN {ALICE} "{PASSWORD}"')
    nodes.b2.cut_off(nodes.b1)
    client = await _client(nodes.b2)
    assert (await client.command(f'LOGIN {ALICE} "{PASSWORD}"'))[-1].startswith(b"NO [UNAVAILABLE]")
    nodes.b2.links.cut.clear()
    await client.ok(f'LOGIN {ALICE} "{PASSWORD}"')


# --- cuts ------------------------------------------------------------------------------------------------------------


async def test_a_host_that_the_frontend_does_not_reach_is_reached_through_a_directory_node(nodes: Nodes) -> None:
    await (await nodes.f1.login()).ok("NOOP")
    nodes.f1.cut_off(nodes.host())
    client = await nodes.f1.login()
    await client.ok("SELECT INBOX")
    assert len(nodes.d1.handoff.sessions) == 1
    assert nodes.cluster.entered == [(nodes.host().name, ALICE)] * 2
    await client.ok("LOGOUT")


async def test_when_nobody_reaches_it_the_client_is_told_to_come_later(nodes: Nodes) -> None:
    await nodes.f1.login()
    host = nodes.host()
    for node in (nodes.f1, nodes.d1, nodes.d2, nodes.b1, nodes.b2):
        if node is not host:
            node.cut_off(host)
    assert (await nodes.f1.refused()).startswith(b"NO [UNAVAILABLE]")
    assert nodes.host() is host  # nobody else took it


async def _asked(link: Link, question: Begin | Again) -> Granted:
    return decode_answer(await link.call(encode(question), 20), Granted)  # type: ignore[return-value]


async def _opened(link: Link, granted: Granted, session: str = "s", hops: int = 0) -> Cause | None:
    """Why a stream is not taken; None: it is."""
    stream = await link.open(
        Preface("imap", granted.account, session=session, handle=granted.handle, resume=b"a", hops=hops)
    )
    if await stream.read():
        stream.abort()
        return None
    assert stream.refusal is not None
    return stream.refusal.cause


async def test_what_is_passed_on_is_only_what_was_granted_to_who_brings_it(nodes: Nodes) -> None:
    """A stolen frontend gets no further through another node than it gets by itself."""
    thief, other = nodes.f1, nodes.cluster.frontend("f2", nodes.d1)
    link = await thief.links.to(peer(nodes.d1.address))
    begin = Begin(Caller("imap", "198.51.100.7", "s", True), "PLAIN", PLAIN)

    async def around() -> Granted:
        granted = await _asked(link, begin)
        return await _asked(link, Again(granted.exchange, relay=True))

    granted = await around()
    assert granted.host.address == ""
    elsewhere = await other.links.to(peer(nodes.d1.address))
    assert await _opened(elsewhere, granted) is Cause.DENIED  # another's handle; and it is used up
    assert await _opened(link, granted) is Cause.DENIED
    granted = await around()
    at_host = await thief.links.to(peer(nodes.host().address))
    assert await _opened(at_host, granted) is Cause.DENIED  # it is the directory node's
    assert await _opened(link, granted) is None
    assert await _opened(link, granted) is Cause.DENIED  # once
    assert await _opened(link, await around(), session="another") is Cause.DENIED
    assert await _opened(link, await around(), hops=HOPS_MOST) is Cause.UNAVAILABLE
    with pytest.raises(RookeryError, match="unavailable"):
        await _asked(elsewhere, Again((await _asked(link, begin)).exchange, relay=True))


# --- without a directory ---------------------------------------------------------------------------------------------


async def test_known_users_get_in_while_every_directory_node_is_away(nodes: Nodes) -> None:
    await nodes.f1.login()
    assert nodes.f1.logins.known == 1
    assert nodes.f1.logins.stale == 0.0
    await nodes.d1.die()
    await nodes.d2.die()
    await (await nodes.f1.login()).ok("SELECT INBOX")
    nodes.cluster.world.clock.advance(60)
    assert nodes.f1.logins.stale == 60.0
    assert (await nodes.f1.refused(password="wrong")).startswith(b"NO [AUTHENTICATIONFAILED]")
    assert (await nodes.f1.refused("bob")).startswith(b"NO [UNAVAILABLE]")
    client, challenge = await _step(nodes.f1, scram := ScramClient(ALICE, PASSWORD))
    client.send(base64.b64encode(scram.final(challenge)) + b"\r\n")
    assert (await client.line()).startswith(b"+ ")
    client.send(b"\r\n")
    assert (await client.line()).startswith(b"a OK")
    await nodes.host().die()
    assert (await nodes.f1.refused()).startswith(b"NO [UNAVAILABLE]")


# --- three tiers -----------------------------------------------------------------------------------------------------


async def test_a_frontend_that_knows_only_frontends(nodes: Nodes) -> None:
    outer = nodes.cluster.frontend("o1", nodes.f1)
    client = await outer.login()
    await client.ok("SELECT INBOX")
    assert len(nodes.f1.handoff.sessions) == 1
    assert nodes.host().handoff.sessions
    await client.ok("LOGOUT")
    scrammed, challenge = await _step(outer, scram := ScramClient(ALICE, PASSWORD))
    scrammed.send(base64.b64encode(scram.final(challenge)) + b"\r\n")
    await scrammed.line()
    scrammed.send(b"\r\n")
    assert (await scrammed.line()).startswith(b"a OK")
    assert (await outer.refused(password="wrong")).startswith(b"NO [AUTHENTICATIONFAILED]")
    assert nodes.f1.inner.allowance.failed == {"o1": 1}
    assert not outer.logins.known  # where accounts are it never hears


async def test_the_inner_frontend_goes_around_a_cut_for_the_outer_one(nodes: Nodes) -> None:
    outer = nodes.cluster.frontend("o1", nodes.f1)
    await outer.login()
    nodes.f1.cut_off(nodes.host())
    await (await outer.login()).ok("SELECT INBOX")
    assert len(nodes.d1.handoff.sessions) == 1


async def test_while_the_directory_is_away_the_inner_frontend_knows_users(nodes: Nodes) -> None:
    outer = nodes.cluster.frontend("o1", nodes.f1)
    await outer.login()
    await nodes.d1.die()
    await nodes.d2.die()
    await (await outer.login()).ok("SELECT INBOX")
    assert (await outer.refused("bob")).startswith(b"NO [UNAVAILABLE]")


async def test_frontends_that_know_only_each_other_go_in_no_circle(nodes: Nodes) -> None:
    first = nodes.cluster.frontend("o1", nodes.f1)
    second = nodes.cluster.frontend("o2", first)
    first.linked.learn([peer(second.address)])
    first.linked._addresses = [peer(second.address)]
    assert (await second.refused()).startswith(b"NO [UNAVAILABLE]")
    assert not any(frontend.inner._exchanges for frontend in (first, second))


async def test_a_stolen_outer_frontend_gets_no_further_through_an_inner_one(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    thief, other = nodes.cluster.frontend("o1", nodes.f1), nodes.cluster.frontend("o2", nodes.f1)
    link = await thief.links.to(peer(nodes.f1.address))
    elsewhere = await other.links.to(peer(nodes.f1.address))
    at_directory = await thief.links.to(peer(nodes.d1.address))
    begin = Begin(Caller("imap", "198.51.100.7", "s", True), "PLAIN", PLAIN)
    granted = await _asked(link, begin)
    assert granted.host.address == ""
    with pytest.raises(RookeryError, match="unavailable"):  # another's exchange
        await _asked(elsewhere, Again(granted.exchange))
    with pytest.raises(RookeryError, match="unavailable"):  # the inner one's, at the directory
        await _asked(at_directory, Again(granted.exchange))
    assert await _opened(elsewhere, granted) is Cause.DENIED
    assert await _opened(link, granted) is Cause.DENIED  # used up
    granted = await _asked(link, begin)
    assert await _opened(link, granted) is None
    assert await _opened(link, granted) is Cause.DENIED
    monkeypatch.setattr(directory_service, "BURST", 2)
    limited = nodes.cluster.frontend("f9", nodes.d1)
    link = await thief.links.to(peer(limited.address))
    for _ in range(2):
        await _asked(link, begin)
    with pytest.raises(RookeryError, match="too-many"):
        await _asked(link, begin)


@pytest.mark.parametrize("said", ["h", "h:", "h:65536", "h:٧", "h:" + "9" * 5000, "h:-1", ""])
def test_what_another_node_says_to_be_an_address_may_be_none(said: str) -> None:
    with pytest.raises(RookeryError):
        peer(said)
    assert peer("[::1]:7143") == Peer("::1", 7143)
