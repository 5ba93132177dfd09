"""Who gets in at the cluster port, and who does not."""

import asyncio
import ipaddress
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.net.cluster.member import Role, permits
from rookery.net.cluster.port import open_port
from rookery.net.stream import Peer
from tests.net.cluster.certificates import Authority
from tests.net.cluster.nodes import BACKEND, FRONTEND, LOOPBACK, Nodes, Raw, context, refused, turns
from tests.net.turns import until


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other end hangs up, as it must."""
    async with asyncio.timeout(20):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


async def test_networks_that_are_not_allowed_get_no_tls(nodes: Nodes) -> None:
    address = nodes.port(allow=[ipaddress.ip_network("192.0.2.0/24")])
    reader, writer = await asyncio.open_connection(*address)
    assert await ended(reader)
    writer.close()
    assert (await refused(nodes.links(), address)).cause is Cause.UNAVAILABLE
    assert nodes.ports[0].strangers == len(nodes.ports[0]) == 0
    assert (await refused(nodes.links(), nodes.port(allow=()))).cause is Cause.UNAVAILABLE


@pytest.mark.parametrize("who", ["another authority", "ended", "nobody"])
async def test_certificates_that_tls_refuses(nodes: Nodes, tmp_path: Path, who: str) -> None:
    if who == "another authority":
        tls = Authority(tmp_path, "another").context("f1", Role.FRONTEND, server=False)
        tls.load_verify_locations(nodes.authority.bundle)  # it trusts us
    elif who == "ended":
        tls = nodes.authority.context("f1", Role.FRONTEND, server=False, lifetime=-60)
    else:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname = False
        tls.minimum_version = ssl.TLSVersion.TLSv1_3
        tls.load_verify_locations(nodes.authority.bundle)
    address = nodes.port()
    assert (await refused(nodes.links(tls=tls), address)).cause is Cause.UNAVAILABLE
    await until(lambda: not len(nodes.ports[0]))
    assert nodes.ports[0].strangers == 0


async def test_a_host_of_another_authority_is_not_spoken_to(nodes: Nodes, tmp_path: Path) -> None:
    tls = Authority(tmp_path, "another").context("b1", Role.BACKEND, server=True)
    error = await refused(nodes.links(), nodes.port(tls=tls))
    assert error.cause is Cause.UNAVAILABLE
    assert "certificate" in error.what.lower()


async def test_tls_1_2_is_not_spoken(nodes: Nodes) -> None:
    tls = nodes.authority.context("f1", Role.FRONTEND, server=False)
    tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(*nodes.port(), ssl=tls, server_hostname="")


async def test_a_certificate_without_a_role_is_no_members_and_is_told_so(nodes: Nodes) -> None:
    tls = nodes.authority.context("f1", server=False)
    error = await refused(nodes.links(tls=tls), nodes.port())
    assert (error.cause, error.what) == (Cause.DENIED, "the certificate states no role")
    server = nodes.authority.context("b1", server=True)
    error = await refused(nodes.links(), nodes.port(tls=server))
    assert (error.cause, error.what) == (Cause.DENIED, "the certificate states no role")


async def test_who_is_not_admitted_is_told_so(nodes: Nodes) -> None:
    revoked: set[str] = set()
    careful = replace(BACKEND, admit=lambda member: member.name not in revoked)
    address, links = nodes.port(careful), nodes.links(pause=0, pause_most=0)
    first = await links.to(address)
    revoked.add("f1")
    assert first.usable, "it is asked at the handshake; `sweep` is for those that are there"
    nodes.ports[0].sweep()
    await until(lambda: first.closed)
    error = await refused(links, address)
    assert (error.cause, error.what) == (Cause.DENIED, "f1 is not admitted")
    error = await refused(nodes.links(replace(FRONTEND, admit=lambda member: False)), nodes.port())
    assert (error.cause, error.what) == (Cause.DENIED, "b1 is not admitted")


async def test_a_link_does_not_outlive_its_admission(nodes: Nodes) -> None:
    ended_certificates: set[str] = set()
    link = await nodes.links().to(nodes.port(replace(BACKEND, admit=lambda who: who.name not in ended_certificates)))
    await nodes.beat(2)
    assert link.usable
    ended_certificates.add("f1")
    await nodes.beat(2)
    await until(lambda: link.closed and not len(nodes.ports[0]))
    assert link.refusal == Refusal(Cause.UNAVAILABLE, "f1 is no longer admitted")


async def test_strangers_are_few_and_make_room_when_they_have_said_hello(nodes: Nodes) -> None:
    address = nodes.port(strangers_each=2)
    silent = [await asyncio.open_connection(*address) for _ in range(2)]
    await until(lambda: nodes.ports[0].strangers == 2)
    reader, writer = await asyncio.open_connection(*address)
    assert await ended(reader)
    writer.close()
    silent[0][1].close()
    await until(lambda: nodes.ports[0].strangers == 1)
    links = [await nodes.links().to(address) for _ in range(5)]  # one at a time
    await until(lambda: nodes.ports[0].strangers == 1)
    assert all(link.usable for link in links)
    silent[1][1].close()
    await until(lambda: nodes.ports[0].strangers == 0)
    assert not nodes.ports[0]._counts


async def test_strangers_of_all_addresses_and_links_in_all_have_a_limit(nodes: Nodes) -> None:
    few = nodes.port(strangers=1)
    _, writer = await asyncio.open_connection(*few)
    await until(lambda: nodes.ports[0].strangers == 1)
    assert (await refused(nodes.links(local="127.0.0.2"), few)).cause is Cause.UNAVAILABLE
    writer.close()
    one = nodes.port(links=1)
    assert (await nodes.links().to(one)).usable
    assert (await refused(nodes.links(), one)).cause is Cause.UNAVAILABLE


async def test_links_of_one_node_leave_room_for_others(nodes: Nodes) -> None:
    address = nodes.port(each=2)
    first, second = [await nodes.links().to(address) for _ in range(2)]
    with pytest.raises(RookeryError):  # it may have said HELLO before it is told
        await (await nodes.links().to(address)).call(b"anything", 20)
    assert first.usable
    assert second.usable
    other = context(nodes.authority, "f2", Role.FRONTEND, server=False)
    stranger = await nodes.links(replace(FRONTEND, name="f2"), other).to(address)
    await stranger.call(b"anything", 20)
    first.abort()
    await until(lambda: len(nodes.ports[0]) == 2)
    await (await nodes.links().to(address)).call(b"anything", 20)


async def test_a_handshake_that_does_not_come_is_ended(nodes: Nodes) -> None:
    reader, writer = await asyncio.open_connection(*nodes.port(handshake=0.1))
    assert await ended(reader)
    await until(lambda: nodes.ports[0].strangers == 0)
    writer.close()


@pytest.mark.parametrize("drips", [False, True])
async def test_a_hello_that_does_not_come_ends_the_connection(nodes: Nodes, drips: bool) -> None:
    raw = await Raw.dial(nodes, nodes.port(), hello=False)
    await raw.reader.readexactly(8)
    link = next(iter(nodes.ports[0]._links))
    for octet in b"\0\0\xff\1\0":
        await nodes.beat()
        if drips:
            raw.say(bytes([octet]))
            await until(lambda: link._silent == 0 or link.closed)
    await raw.rest()
    assert link.refusal is not None
    assert link.refusal.what == "no HELLO came"
    await until(lambda: nodes.ports[0].strangers == 0)
    raw.close()


async def test_a_port_in_use_is_named(nodes: Nodes) -> None:
    address = nodes.port()
    tls = context(nodes.authority, "b1", Role.BACKEND, server=True)
    with pytest.raises(OSError, match=rf"127\.0\.0\.1 port {address.port}"):
        open_port(["127.0.0.1"], address.port, BACKEND, nodes.service(), tls, wheel=nodes.wheel, settings=LOOPBACK)


async def test_both_families_on_one_port(nodes: Nodes) -> None:
    tls = context(nodes.authority, "b1", Role.BACKEND, server=True)
    everywhere = replace(LOOPBACK, allow=[*LOOPBACK.allow, ipaddress.ip_network("::1")])
    port = open_port(["127.0.0.1", "::1"], 0, BACKEND, nodes.service(), tls, wheel=nodes.wheel, settings=everywhere)
    nodes.ports.append(port)
    assert len(set(port.ports)) == 1
    for address in ("127.0.0.1", "::1"):
        assert (await nodes.links().to(Peer(address, port.ports[0]))).address.address == address


async def test_goodbye_takes_no_more_and_ends_what_is_idle(nodes: Nodes) -> None:
    address = nodes.port()
    link = await nodes.links().to(address)
    nodes.ports[0].goodbye("the node stops")
    await until(lambda: link.closed)
    await until(lambda: not len(nodes.ports[0]))
    assert (await refused(nodes.links(), address)).cause is Cause.UNAVAILABLE


async def test_closing_ends_handshakes_too(nodes: Nodes) -> None:
    _, writer = await asyncio.open_connection(*nodes.port())
    await until(lambda: nodes.ports[0].strangers == 1)
    await nodes.ports[0].close()
    await turns()
    assert nodes.ports[0].strangers == len(nodes.ports[0]) == 0
    writer.close()


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        (Role.FRONTEND, ["imap", "submission", "authenticate"], ["lmtp", "smtp", "expect", "recipient"]),
        (Role.BACKEND, ["imap", "submission", "lmtp", "smtp", "recipient", "expect"], []),
        (Role.DIRECTORY, ["imap", "submission", "expect"], ["lmtp", "smtp", "authenticate"]),
        (Role.MX_IN, ["lmtp", "recipient"], ["imap", "authenticate", "expect"]),
        (Role.MX_OUT, [], ["imap", "lmtp", "smtp", "authenticate"]),
    ],
)
def test_what_a_role_may_ask(role: Role, may: list[str], may_not: list[str]) -> None:
    assert [what for what in [*may, *may_not, "anything else"] if permits({role}, what)] == may
    assert not permits((), "imap")
