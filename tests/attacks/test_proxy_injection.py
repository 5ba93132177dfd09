"""PROXY injection: a header from somebody who may not send one, a second one, one without end."""

import asyncio
import ipaddress
from contextlib import suppress

import pytest

from rookery.access.smtp import serve_mx
from rookery.net.limits import ConnectionLimits
from rookery.net.listener import Listener, listen
from rookery.net.stream import Stream
from tests.access.smtp.world import World

V1 = b"PROXY TCP4 198.51.100.1 192.0.2.1 1234 25\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([198, 51, 100, 1, 192, 0, 2, 1]) + b"\x04\xd2\0\x19"
TRUSTED = [ipaddress.ip_network("127.0.0.1/32")]
ELSEWHERE = [ipaddress.ip_network("192.0.2.0/24")]


class Seen:
    def __init__(self, world: World) -> None:
        self.world = world
        self.addresses: list[str] = []

    async def serve(self, stream: Stream) -> None:
        self.addresses.append(stream.peer.address)
        world = self.world
        await serve_mx(stream, spool=world.spool, directory=world.directory, settings=world.settings, clock=world.clock)

    async def listen(self, trusted: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> Listener:
        return await listen(
            ["127.0.0.1"], 0, self.serve, name="smtp", limits=ConnectionLimits(before_login=None), proxy_from=trusted
        )


async def talk(listener: Listener, *parts: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.ports[0])
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0)
    answer = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(10):
            answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("header", [V1, V2])
async def test_from_an_untrusted_address_it_is_only_a_bad_command(mail_world: World, header: bytes) -> None:
    seen = Seen(mail_world)
    listener = await seen.listen(ELSEWHERE)
    answer = await talk(listener, header, b"\r\nQUIT\r\n")
    assert seen.addresses == ["127.0.0.1"]
    assert b"500 " in answer
    await listener.close()


@pytest.mark.parametrize("second", [V1, V2])
async def test_a_second_header_changes_nothing(mail_world: World, second: bytes) -> None:
    seen = Seen(mail_world)
    listener = await seen.listen(TRUSTED)
    forged = second.replace(b"198.51.100.1", b"127.0.0.1").replace(bytes([198, 51, 100, 1]), bytes([127, 0, 0, 1]))
    answer = await talk(listener, V1 + forged, b"\r\nQUIT\r\n")
    assert seen.addresses == ["198.51.100.1"]
    assert b"500 " in answer
    await listener.close()


@pytest.mark.parametrize(
    "start",
    [
        b"EHLO client.test\r\n",
        b"PROXY " + b"x" * 5000,
        V2[:14] + b"\xff\xff" + b"x" * 5000,
        V1.replace(b"\r\n", b"\n"),
        b"\r\n\r\n",
    ],
)
async def test_without_a_good_header_there_is_no_session(mail_world: World, start: bytes) -> None:
    seen = Seen(mail_world)
    listener = await seen.listen(TRUSTED)
    assert await talk(listener, start, b"EHLO x\r\n") == b""
    assert seen.addresses == []
    await listener.close()


async def test_a_header_that_never_comes_is_not_waited_for(mail_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rookery.net.listener.PROXY_TIME", 0.01)
    seen = Seen(mail_world)
    listener = await seen.listen(TRUSTED)
    assert await talk(listener, b"PROXY TCP4 ") == b""
    assert seen.addresses == []
    await listener.close()
