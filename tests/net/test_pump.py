"""The pump between an engine and a stream, with a protocol small enough to see through."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.net.limits import ConnectionLimits
from rookery.net.listener import listen
from rookery.net.memory import MemoryStream, memory_pipe
from rookery.net.pump import Ending, Pace, pump
from rookery.net.stream import Stream
from rookery.net.tls import client_context, server_context
from rookery.net.wheel import Wheel
from rookery.wire.engine import Wants


class Lines:
    """One event a line, one at a time. `tls` asks for TLS, `quit` ends; the session answers."""

    def __init__(self) -> None:
        self.wants = Wants.MORE
        self.buffer = b""
        self.out: list[bytes] = []

    def receive(self, data: bytes) -> list[bytes]:
        self.buffer += data
        line, end, rest = self.buffer.partition(b"\n")
        if not end:
            return []
        self.buffer = rest
        if line == b"quit":
            self.wants = Wants.CLOSE
        if line == b"tls":
            self.wants = Wants.START_TLS
        return [line]

    def outgoing(self) -> bytes:
        data = b"".join(self.out)
        self.out.clear()
        return data

    def leftover(self) -> bytes:
        return self.buffer

    def tls_started(self) -> None:
        self.wants = Wants.MORE
        self.out.append(b"secret now\n")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def wheel(clock: ManualClock) -> Wheel:
    return Wheel(clock.monotonic)


class Session:
    """Answers every line; `slow` waits until the test lets it."""

    def __init__(self, engine: Lines) -> None:
        self.engine = engine
        self.go = asyncio.Event()

    def handle(self, line: bytes) -> Awaitable[None] | None:
        if line == b"slow":
            return self._slow()
        self.engine.out.append(b"<" + line + b">")
        return None

    async def _slow(self) -> None:
        await self.go.wait()
        self.engine.out.append(b"<done>")


Running = tuple[MemoryStream, MemoryStream, Session, "asyncio.Task[Ending]"]


def start(wheel: Wheel, pace: Pace | None = None) -> Running:
    client, server = memory_pipe(wheel=wheel)
    engine = Lines()
    session = Session(engine)
    task = asyncio.ensure_future(
        pump(server, engine, session.handle, unfinished=lambda: bool(engine.buffer), pace=pace)
    )
    return client, server, session, task


async def test_answers_to_one_read_go_out_together(wheel: Wheel) -> None:
    client, _, _, task = start(wheel)
    client.write(b"a\nb\nc\nquit\n")
    assert await task is Ending.CLOSED
    assert await client.read() == b"<a><b><c><quit>"


async def test_what_was_said_goes_out_before_a_wait(wheel: Wheel) -> None:
    client, _, session, task = start(wheel)
    client.write(b"a\nslow\nb\n")
    assert await client.read() == b"<a>"
    session.go.set()
    assert await client.read() == b"<done><b>"
    client.close()
    assert await task is Ending.LOST


async def test_silence_ends_it(wheel: Wheel, clock: ManualClock) -> None:
    client, server, _, task = start(wheel)
    server.idle = 10
    client.write(b"a\n")
    assert await client.read() == b"<a>"
    clock.advance(12)
    wheel.tick()
    assert await task is Ending.IDLE


async def test_drop_by_drop_ends_it(wheel: Wheel, clock: ManualClock) -> None:
    client, _, _, task = start(wheel, Pace(octets=100, window=10))
    for _ in range(50):
        client.write(b"x")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        clock.advance(1)
        if task.done():
            break
    assert await task is Ending.SLOW
    assert clock.monotonic() < 15


async def test_many_small_commands_are_not_drops(wheel: Wheel, clock: ManualClock) -> None:
    client, _, _, task = start(wheel, Pace(octets=100, window=10))
    for _ in range(50):
        client.write(b"x\n")
        assert await client.read() == b"<x>"
        clock.advance(5)
    client.close()
    assert await task is Ending.LOST


async def test_an_interrupted_session_finishes_what_has_begun(wheel: Wheel) -> None:
    client, server, _, task = start(wheel)
    client.write(b"hal")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    server.interrupt()
    await asyncio.sleep(0)
    client.write(b"f\n")
    assert await task is Ending.DRAINED
    assert await client.read() == b"<half>"


async def test_an_interrupted_session_in_the_middle_of_a_command(wheel: Wheel) -> None:
    client, server, session, task = start(wheel)
    client.write(b"slow\n")
    await asyncio.sleep(0)
    server.interrupt()
    session.go.set()
    assert await task is Ending.DRAINED
    assert await client.read() == b"<done>"


async def test_without_a_certificate_tls_cannot_start(wheel: Wheel) -> None:
    client, _, _, task = start(wheel)
    client.write(b"tls\n")
    assert await task is Ending.TLS_FAILED


@pytest.mark.parametrize("hello", [b"tls\n", b"tls\ninjected\n", b"tls\n\x16\x03\x01"])
async def test_tls_starts_only_when_nothing_follows_in_clear(hello: bytes, certificate: tuple[Path, Path]) -> None:
    endings: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
    context = server_context(*certificate)

    async def serve(stream: Stream) -> None:
        engine = Lines()
        endings.set_result(await pump(stream, engine, Session(engine).handle, tls=context))

    listener = await listen(["127.0.0.1"], 0, serve, name="test", limits=ConnectionLimits())
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.ports[0])
    writer.write(hello)
    assert await reader.readexactly(5) == b"<tls>"
    if hello == b"tls\n":
        await writer.start_tls(client_context(), server_hostname="mx.test")
        assert await reader.readline() == b"secret now\n"
        writer.write(b"quit\n")
        assert await endings is Ending.CLOSED
    else:
        assert await endings is Ending.INJECTED
    writer.close()
    await listener.close()
