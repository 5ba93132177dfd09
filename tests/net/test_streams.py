"""What every stream promises: over sockets (uvloop's and asyncio's) and in memory."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from rookery.base.clock import ManualClock
from rookery.net.inbox import READ_LIMIT
from rookery.net.memory import memory_pipe
from rookery.net.sockets import SocketStream
from rookery.net.stream import Interrupted, Stream
from rookery.net.wheel import Wheel
from tests.net.turns import until

Pair = tuple[Stream, Stream]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def wheel(clock: ManualClock) -> Wheel:
    return Wheel(clock.monotonic)


@pytest.fixture(params=["memory", "socket"])
async def pair(request: pytest.FixtureRequest, wheel: Wheel) -> AsyncIterator[Pair]:
    if request.param == "memory":
        yield memory_pipe(wheel=wheel)
        return
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[SocketStream] = loop.create_future()

    def accept() -> SocketStream:
        accepted.set_result(SocketStream(wheel=wheel))
        return accepted.result()

    server = await loop.create_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, near = await loop.create_connection(lambda: SocketStream(wheel=wheel), "127.0.0.1", port)
    far = await accepted
    server.close()
    yield near, far
    near.abort()
    far.abort()


async def read_all(stream: Stream, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = await stream.read()
        if not piece:
            break
        data += piece
    return data


async def test_octets_arrive_in_order_both_ways(pair: Pair) -> None:
    near, far = pair
    near.write(b"one ")
    near.write(b"two")
    assert await read_all(far, 7) == b"one two"
    far.write(b"three")
    assert await near.read() == b"three"


async def test_the_end_comes_after_everything_written(pair: Pair) -> None:
    near, far = pair
    near.write(b"last")
    near.close()
    near.close()
    near.write(b"too late")
    assert await read_all(far, 100) == b"last"
    assert await far.read() == b""
    assert await near.read() == b""


async def test_a_reader_that_waits_is_told_of_the_end(pair: Pair) -> None:
    near, far = pair
    reading = asyncio.ensure_future(far.read())
    await asyncio.sleep(0)
    near.abort()
    assert await reading == b""
    far.write(b"nobody there")
    await far.drain()


async def test_drain_waits_for_a_slow_peer(pair: Pair) -> None:
    near, far = pair
    block = b"x" * READ_LIMIT
    sent = 0
    while not near.unsent:
        near.write(block)
        sent += len(block)
        await asyncio.sleep(0)
    draining = asyncio.ensure_future(near.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    assert len(await read_all(far, sent)) == sent
    await draining
    assert not near.unsent


async def test_idle_limit_and_deadline(pair: Pair, clock: ManualClock, wheel: Wheel) -> None:
    near, far = pair
    far.idle = 30
    for _ in range(3):
        reading = asyncio.ensure_future(far.read())
        await asyncio.sleep(0)
        clock.advance(29)
        wheel.tick()
        near.write(b"x")
        assert await reading == b"x"
    far.deadline = far.now() + 10
    reading = asyncio.ensure_future(far.read())
    await asyncio.sleep(0)
    clock.advance(11)
    wheel.tick()
    with pytest.raises(TimeoutError):
        await reading
    far.authenticated()
    far.idle = 5
    reading = asyncio.ensure_future(far.read())
    await asyncio.sleep(0)
    clock.advance(6)
    wheel.tick()
    with pytest.raises(TimeoutError):
        await reading


async def test_drain_has_the_same_limit(pair: Pair, clock: ManualClock, wheel: Wheel) -> None:
    near, _ = pair
    near.idle = 5
    while not near.unsent:
        near.write(b"x" * READ_LIMIT)
        await asyncio.sleep(0)
    draining = asyncio.ensure_future(near.drain())
    await asyncio.sleep(0)
    clock.advance(7)
    wheel.tick()
    with pytest.raises(TimeoutError):
        await draining


async def test_a_reader_is_interrupted_at_once_or_the_next_time(pair: Pair) -> None:
    near, far = pair
    near.write(b"x")
    assert await far.read() == b"x"
    near.write(b"y")
    reading = asyncio.ensure_future(far.read())
    assert await reading == b"y"
    far.interrupt()
    with pytest.raises(Interrupted):
        await far.read()
    reading = asyncio.ensure_future(far.read())
    await asyncio.sleep(0)
    far.interrupt()
    with pytest.raises(Interrupted):
        await reading


# --- passing on -------------------------------------------------------------------------------------------------------


async def test_a_diverted_stream_passes_on_what_came_and_comes(pair: Pair, wheel: Wheel) -> None:
    client, here = pair
    there, host = memory_pipe(wheel=wheel)
    over: list[str] = []
    client.write(b"before ")
    assert await here.read() == b"before "
    client.write(b"waiting ")
    await until(lambda: bool(here._data))  # type: ignore[attr-defined]
    here.divert(there, lambda: over.append("client"))
    there.divert(here, lambda: over.append("host"))
    client.write(b"after")
    assert await read_all(host, 13) == b"waiting after"
    host.write(b"answer")
    assert await client.read() == b"answer"
    assert not over
    host.write(b"last word")
    host.close()
    assert over == ["host"]
    here.undivert()
    here.close()
    assert await read_all(client, 100) == b"last word"


async def test_a_diverted_stream_is_as_slow_as_its_sink(pair: Pair, wheel: Wheel) -> None:
    client, here = pair
    there, host = memory_pipe(wheel=wheel)
    over: list[bool] = []
    here.divert(there, lambda: over.append(True))
    much = bytes(range(256)) * 8192
    writing = asyncio.create_task(written(client, much))
    await until(lambda: there.unsent)
    got = b""
    while len(got) < len(much):
        got += await host.read()
        assert len(host._data) <= 16 * READ_LIMIT  # type: ignore[attr-defined]  # what the loop reads at once, and a bit
    assert got == much
    await writing
    client.close()
    await until(lambda: bool(over))
    assert over == [True]


async def test_a_diverted_stream_that_is_interrupted_asks_beyond_its_sink(pair: Pair, wheel: Wheel) -> None:
    near, here = pair
    there, beyond = memory_pipe(wheel=wheel)
    over: list[bool] = []
    here.divert(there, lambda: over.append(True))
    here.interrupt()
    with pytest.raises(Interrupted):
        await beyond.read()
    near.write(b"goes on")
    assert await beyond.read() == b"goes on"
    assert not over


async def test_and_is_over_when_nobody_can_be_asked(pair: Pair, wheel: Wheel) -> None:
    _, here = pair
    there, beyond = memory_pipe(wheel=wheel)
    beyond.close()
    over: list[bool] = []
    here.divert(there, lambda: over.append(True))
    here.interrupt()
    here.interrupt()
    assert over == [True]


async def written(stream: Stream, data: bytes) -> None:
    for at in range(0, len(data), READ_LIMIT):
        stream.write(data[at : at + READ_LIMIT])
        await stream.drain()


async def test_a_cancelled_reader_leaves_the_stream_whole(pair: Pair) -> None:
    near, far = pair
    reading = asyncio.ensure_future(far.read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    near.write(b"x")
    assert await far.read() == b"x"


async def test_a_peer_that_takes_nothing_after_close_is_cut_off(clock: ManualClock, wheel: Wheel) -> None:
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[None] = loop.create_future()
    accepted: asyncio.Future[SocketStream] = loop.create_future()

    def accept() -> SocketStream:
        accepted.set_result(SocketStream(wheel=wheel, lost=lambda: lost.set_result(None)))
        return accepted.result()

    server = await loop.create_server(accept, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    stream = await accepted
    while not stream.unsent:
        stream.write(b"x" * READ_LIMIT)
        await asyncio.sleep(0)
    stream.close()
    clock.advance(12)
    wheel.tick()
    await lost
    writer.close()
    server.close()
    assert reader is not None
    assert len(wheel) == 0


def test_the_wheel_handed_in_is_used_although_nothing_is_on_it(wheel: Wheel, clock: ManualClock) -> None:
    async def made() -> tuple[float, float]:
        return SocketStream(wheel=wheel).now(), memory_pipe(wheel=wheel)[0].now()

    clock.advance(12345.0)
    assert asyncio.run(made()) == (12345.0, 12345.0)
