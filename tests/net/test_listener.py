"""Listeners: limits, refusals, PROXY headers, TLS, descriptors running out, draining."""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import Level, captured, logger
from rookery.net.limits import ConnectionLimits, Total
from rookery.net.listener import Listener, listen
from rookery.net.stream import Interrupted, Stream
from rookery.net.tls import client_context, reload_certificate, server_context
from tests.net.turns import until

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
Opener = Callable[..., Awaitable[Listener]]
REFUSAL = b"421 too many\r\n"


async def echo(stream: Stream) -> None:
    """Says who the peer is, then sends everything back."""
    stream.write(f"{stream.peer.address} {stream.peer.port} {stream.tls.server_name if stream.tls else '-'}\n".encode())
    while data := await stream.read():
        stream.write(data)


@pytest.fixture
async def opening() -> AsyncIterator[Opener]:
    listeners = []

    async def opened(serve: Callable[[Stream], Awaitable[None]] = echo, **more: Any) -> Listener:
        more = {"name": "test", "limits": ConnectionLimits(before_login=None), "refusal": REFUSAL, **more}
        listeners.append(await listen(["127.0.0.1"], 0, serve, **more))
        return listeners[-1]

    yield opened
    for listener in listeners:
        await listener.close()


async def connect(listener: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", listener.ports[0])


async def test_both_families_on_one_port() -> None:
    listener = await listen(["127.0.0.1", "::1"], 0, echo, name="test", limits=ConnectionLimits())
    assert len(set(listener.ports)) == 1
    for address in ("127.0.0.1", "::1"):
        reader, writer = await asyncio.open_connection(address, listener.ports[0])
        assert (await reader.readline()).startswith(address.encode() + b" ")
        writer.close()
    await listener.close()


async def test_a_port_in_use_is_named(opening: Opener) -> None:
    port = (await opening()).ports[0]
    with pytest.raises(OSError, match=rf"127\.0\.0\.1 port {port}"):
        await listen(["127.0.0.1"], port, echo, name="test", limits=ConnectionLimits())


async def test_too_many_are_refused_in_one_line_until_one_is_gone(opening: Opener) -> None:
    total = Total()
    listener = await opening(limits=ConnectionLimits(per_address=2, before_login=None), total=total)
    kept = [await connect(listener) for _ in range(2)]
    for reader, _ in kept:
        await reader.readline()
    with captured() as events:
        for _ in range(3):
            reader, writer = await connect(listener)
            assert await reader.read() == REFUSAL
            writer.close()
    assert [name for _, name, _ in events] == ["connection-refused"]  # the others at level debug
    kept[0][1].close()
    await until(lambda: total.count == 1)
    reader, writer = await connect(listener)
    assert (await reader.readline()).startswith(b"127.0.0.1")
    for _, open_one in [*kept[1:], (reader, writer)]:
        open_one.close()


async def test_those_who_have_logged_in_count_apart(opening: Opener) -> None:
    async def serve(stream: Stream) -> None:
        stream.authenticated()
        await echo(stream)

    listener = await opening(serve, limits=ConnectionLimits(per_address=3, before_login=1))
    kept = []
    for _ in range(3):
        reader, writer = await connect(listener)
        assert await reader.readline() != REFUSAL
        kept.append(writer)
    for writer in kept:
        writer.close()


# --- PROXY


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("pieces", [1, 2, 40])
async def test_the_header_names_the_peer_and_nothing_after_it_is_lost(
    opening: Opener, certificate: tuple[Path, Path], tls: bool, pieces: int
) -> None:
    listener = await opening(proxy_from=LOOPBACK, tls=server_context(*certificate) if tls else None)
    reader, writer = await connect(listener)
    header = b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 25\r\n" + (b"" if tls else b"after")
    for start in range(0, len(header), -(-len(header) // pieces)):
        writer.write(header[start : start + -(-len(header) // pieces)])
        await asyncio.sleep(0)
    if tls:
        await writer.start_tls(client_context(), server_hostname="mx.test")
        writer.write(b"after")
    assert await reader.readline() == b"192.0.2.7 1234 " + (b"mx.test\n" if tls else b"-\n")
    assert await reader.readexactly(5) == b"after"
    writer.close()


async def test_limits_count_the_address_of_the_header(opening: Opener) -> None:
    listener = await opening(proxy_from=LOOPBACK, limits=ConnectionLimits(per_address=1, before_login=None))
    kept = []
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        reader, writer = await connect(listener)
        writer.write(f"PROXY TCP4 {client} 192.0.2.9 1 2\r\n".encode())
        kept.append((await reader.readline(), writer))
    assert [line for line, _ in kept] == [b"192.0.2.1 1 -\n", b"192.0.2.2 1 -\n", REFUSAL]
    for _, writer in kept:
        writer.close()


async def test_the_proxy_itself_may_look_whether_we_live(opening: Opener) -> None:
    reader, writer = await connect(await opening(proxy_from=LOOPBACK))
    writer.write(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")
    assert (await reader.readline()).startswith(b"127.0.0.1 ")
    writer.close()


# --- TLS


async def test_a_failed_handshake_is_only_a_line_in_the_log(
    opening: Opener, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger("net"), "level", Level.DEBUG)
    total = Total()
    listener = await opening(tls=server_context(*certificate), total=total)
    with captured() as events:
        reader, writer = await connect(listener)
        writer.write(b"EHLO not.tls\r\n" * 10)
        await reader.read()
        writer.close()
        await until(lambda: not listener.sessions)
    assert [name for _, name, _ in events] == ["not-connected"]
    assert total.count == 0


async def test_renewed_certificates_are_taken_up_and_bad_ones_are_not(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    context = server_context(*certificate)
    reload_certificate(context, *certificate)
    (tmp_path / "bad.pem").write_text("nothing")
    for pair in [(tmp_path / "bad.pem", certificate[1]), (tmp_path / "gone.pem", certificate[1])]:
        with pytest.raises(RookeryError, match=pair[0].name) as raised:
            reload_certificate(context, *pair)
        assert raised.value.cause is Cause.INVALID


# --- trouble


class Exhausted:
    """A listening socket of a process that has no descriptor left."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.asked = 0

    def accept(self) -> None:
        self.asked += 1
        raise OSError(errno.EMFILE, "Too many open files")

    def fileno(self) -> int:
        return self._real.fileno()


async def test_running_out_of_descriptors_is_a_pause(opening: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rookery.net.accepting.PAUSE", 0.0)
    listener = await opening()
    exhausted = Exhausted(listener.accepting._sockets[0])
    with captured() as events:
        listener.accepting.accept(exhausted)  # type: ignore[arg-type]
    assert exhausted.asked == 1
    assert [name for _, name, _ in events] == ["cannot-accept"]
    listener.accepting._resume(listener.accepting._sockets[0])
    reader, writer = await connect(listener)
    assert await reader.readline()
    writer.close()


async def test_a_session_that_fails_ends_alone(opening: Opener) -> None:
    async def serve(stream: Stream) -> None:
        if await stream.read() == b"bad":
            raise ValueError("a mistake")
        stream.write(b"good")

    listener = await opening(serve)
    (reader, writer), (other, another) = await connect(listener), await connect(listener)
    with captured() as events:
        writer.write(b"bad")
        with suppress(ConnectionError):  # it ends or is reset, as the kernel likes
            assert await reader.read() == b""
    another.write(b"x")
    assert await other.read() == b"good"
    assert [name for _, name, _ in events] == ["session-failed"]
    writer.close()
    another.close()


# --- the end


async def test_draining_lets_sessions_say_goodbye(opening: Opener) -> None:
    async def serve(stream: Stream) -> None:
        stream.write(b"hello\n")
        try:
            while await stream.read():
                pass
        except Interrupted:
            stream.write(b"bye\n")

    listener = await opening(serve)
    reader, writer = await connect(listener)
    assert await reader.readline() == b"hello\n"
    port = listener.ports[0]
    assert await listener.drain(10) == 0
    assert await reader.read() == b"bye\n"
    writer.close()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_those_who_do_not_end_are_ended(opening: Opener) -> None:
    begun, forever = asyncio.Event(), asyncio.Event()

    async def serve(stream: Stream) -> None:
        begun.set()
        await forever.wait()

    listener = await opening(serve)
    _, writer = await connect(listener)
    await begun.wait()
    assert await listener.drain(0.01) == 1
    assert listener.sessions == 0
    writer.close()
