"""Links that we dial: kept, shared, left alone for a while after a failure."""

import asyncio
import ipaddress
import socket
import ssl
from dataclasses import replace

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.net import dial
from rookery.net.cluster.link import SILENCE
from rookery.net.cluster.links import RESTING
from rookery.net.cluster.member import Role
from rookery.net.cluster.port import ClusterPort, open_port
from rookery.net.stream import Peer
from rookery.wire.cluster.values import Preface
from tests.net.cluster.nodes import BACKEND, FRONTEND, LOOPBACK, Nodes, context, refused
from tests.net.turns import until


async def test_one_link_for_an_address_however_many_ask(nodes: Nodes) -> None:
    address, links = nodes.port(), nodes.links()
    found = await asyncio.gather(*(links.to(address) for _ in range(50)))
    assert len(set(found)) == 1
    assert await links.to(address) is found[0]
    assert found[0].peer.name == "b1"
    assert len(links) == 1
    await until(lambda: len(nodes.ports[0]) == 1)


async def test_who_asked_first_may_leave(nodes: Nodes) -> None:
    address, links = nodes.port(), nodes.links()
    first = asyncio.ensure_future(links.to(address))
    second = asyncio.ensure_future(links.to(address))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).usable
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_after_a_failure_there_is_a_pause_and_then_another_attempt(nodes: Nodes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Peer("127.0.0.1", taken.getsockname()[1])
    links = nodes.links(pause=1.0, pause_most=4.0)
    error = await refused(links, address)
    assert error.cause is Cause.UNAVAILABLE
    assert f"127.0.0.1 port {address.port}" in error.what
    for pause in (1, 2, 4, 4):
        nodes.clock.advance(pause - 0.5)
        assert "is tried again shortly" in (await refused(links, address)).what
        nodes.clock.advance(0.5)
        assert "is tried again shortly" not in (await refused(links, address)).what
    nodes.clock.advance(4)
    nodes.ports.append(await listening_at(nodes, address))
    assert (await links.to(address)).usable
    assert not links._rests


async def test_nobody_waits_for_long_for_another_attempt(nodes: Nodes) -> None:
    """What takes connections and says nothing may be cut off; whoever can goes another way, until it speaks."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = Peer("127.0.0.1", mute.getsockname()[1])
        links = nodes.links(connect=0.05, again=0.05, pause=1.0)
        assert "no answer" in (await refused(links, address)).what
        links._settings = replace(links._settings, connect=20)
        nodes.clock.advance(1)
        for _ in range(2):
            assert "is tried again: " in (await refused(links, address)).what
        assert len(links._dialling) == 1
    await until(lambda: not links._dialling)
    nodes.clock.advance(2)
    nodes.ports.append(await listening_at(nodes, address))
    assert (await links.to(address)).usable


async def test_nobody_waits_for_long_for_one_that_fell_silent_either(nodes: Nodes) -> None:
    address, links = nodes.port(), nodes.links(again=0.05)
    link = await links.to(address)
    link._silent = SILENCE
    link.expire()
    await until(lambda: not len(links))
    await nodes.ports.pop().close()
    with socket.create_server((address.address, address.port)):
        assert (await refused(links, address)).what.endswith("is tried again: it fell silent")


async def listening_at(nodes: Nodes, address: Peer) -> ClusterPort:
    tls = context(nodes.authority, "b1", Role.BACKEND, server=True)
    return open_port(
        [address.address], address.port, BACKEND, nodes.service(), tls, wheel=nodes.wheel, settings=LOOPBACK
    )


async def test_a_link_that_was_lost_is_dialled_again(nodes: Nodes) -> None:
    address, links = nodes.port(), nodes.links()
    first = await links.to(address)
    first.abort()
    second = await links.to(address)
    assert second is not first
    assert second.usable
    await until(lambda: len(links) == 1)


async def test_a_node_that_drains_is_dialled_anew_while_old_streams_go_on(nodes: Nodes) -> None:
    address, links = nodes.port(), nodes.links()
    first = await links.to(address)
    mine, theirs = await nodes.pair(Preface("imap"), first)
    nodes.opened[0][0].goodbye("restart")
    await until(lambda: not first.usable)
    second = await links.to(address)
    assert second is not first
    assert len(links) == 2
    theirs.write(b"still here")
    assert await mine.read() == b"still here"
    mine.close()
    theirs.close()
    await until(lambda: len(links) == 1)
    assert await links.to(address) is second


async def test_the_least_recently_used_link_without_streams_makes_room(nodes: Nodes) -> None:
    first, second, third, fourth = (nodes.port() for _ in range(4))
    links = nodes.links(size=3)
    held = await links.to(first)
    stream = await held.open(Preface("imap"))
    idle = await links.to(second)
    used = await links.to(third)
    assert await links.to(second) is idle
    await links.to(fourth)
    assert (held.usable, idle.usable, used.usable) == (True, True, False)
    await until(lambda: len(links) == 3)
    for link in (idle, await links.to(fourth)):
        await link.open(Preface("imap"))
    error = await refused(links, third)
    assert (error.cause, error.what) == (Cause.TOO_MANY, "all 3 links are in use")
    stream.abort()
    assert (await links.to(third)).usable


async def test_the_local_address_is_chosen(nodes: Nodes) -> None:
    address = nodes.port(allow=[ipaddress.ip_network("127.0.0.2")])
    assert (await nodes.links(local="127.0.0.2").to(address)).local.address == "127.0.0.2"
    assert (await refused(nodes.links(local="127.0.0.3"), address)).cause is Cause.UNAVAILABLE


async def test_what_never_says_hello_is_given_up(nodes: Nodes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = await refused(nodes.links(connect=0.1), Peer(*silent.getsockname()))
    assert error.cause is Cause.UNAVAILABLE
    assert error.what.endswith("no answer")


@pytest.mark.parametrize("name", ["a..b", "x" * 70, "a\0b"])
async def test_what_is_no_name_of_a_host_cannot_be_reached(nodes: Nodes, name: str) -> None:
    assert (await refused(nodes.links(), Peer(name, 7143))).cause is Cause.UNAVAILABLE


async def test_what_is_remembered_of_failures_is_bounded(nodes: Nodes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # nobody listens there afterwards, on any address of this machine
    links = nodes.links()
    for number in range(RESTING + 10):
        await refused(links, Peer(f"127.1.{number // 256}.{number % 256}", port))
    assert len(links._rests) == RESTING


async def test_a_renewed_certificate_is_shown_from_then_on(nodes: Nodes) -> None:
    links, address = nodes.links(), nodes.port()
    former = await links.to(address)
    mine, theirs = await nodes.pair(Preface("imap"), former)
    links.use(nodes.authority.context("f1", Role.FRONTEND, Role.MX_IN, server=False))
    assert await links.to(address) is not former
    await until(lambda: (link := nodes.ports[0].named("f1")) is not None and Role.MX_IN in link.peer.roles)
    mine.write(b"what is under way goes on")
    assert await theirs.read() == b"what is under way goes on"
    mine.close()
    theirs.close()
    await until(lambda: former.closed)


async def test_when_the_port_has_a_new_certificate_peers_dial_anew(nodes: Nodes) -> None:
    links, address = nodes.links(), nodes.port()
    former = await links.to(address)
    await until(lambda: nodes.ports[0].named("f1") is not None)
    nodes.ports[0].renewed()
    await until(lambda: former.closed)
    assert (await links.to(address)).usable


async def test_a_network_that_is_whole_again_is_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempts are answered by nobody: each is given up for another, and not one socket stays."""
    monkeypatch.setattr(dial, "UNANSWERED", 0.05)
    loop, attempts = asyncio.get_running_loop(), list[socket.socket]()
    really = loop.sock_connect

    async def connect(made: socket.socket, where: tuple[str, int]) -> None:
        attempts.append(made)
        if len(attempts) <= 2:
            await asyncio.Event().wait()
        await really(made, where)

    monkeypatch.setattr(loop, "sock_connect", connect)
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with asyncio.timeout(20):
            made = await dial.connect_soon("127.0.0.1", server.getsockname()[1])
        assert made is attempts[-1]
        assert made.getpeername() == server.getsockname()
        made.close()
    assert len(attempts) > 2
    assert all(one.fileno() == -1 for one in attempts)


async def test_contexts_that_would_let_anybody_in_are_not_taken(nodes: Nodes) -> None:
    open_to_all = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ValueError, match=r"TLS 1\.3"):
        nodes.links(tls=open_to_all)
    open_to_all.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises(ValueError, match="host names"):
        nodes.links(tls=open_to_all)
    open_to_all.check_hostname = False
    open_to_all.verify_mode = ssl.CERT_NONE
    with pytest.raises(ValueError, match="certificates on both sides"):
        nodes.port(tls=open_to_all)


async def test_links_of_two_clusters_do_not_meet(nodes: Nodes) -> None:
    error = await refused(nodes.links(replace(FRONTEND, cluster="c2")), nodes.port())
    assert error.cause in (Cause.UNSUPPORTED, Cause.DENIED)
    assert "c1" in error.what
    assert "c2" in error.what


async def test_closing_ends_attempts_too(nodes: Nodes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        links = nodes.links()
        dialling = asyncio.ensure_future(links.to(Peer(*silent.getsockname())))
        await asyncio.sleep(0)
        await links.close()
        with pytest.raises(RookeryError, match="this node is leaving"):
            await dialling
        assert "this node is leaving" in (await refused(links, nodes.port())).what
