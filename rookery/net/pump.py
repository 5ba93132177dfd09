"""The one driver between an engine and a stream, for every protocol: read, receive, handle, write.

The handler answers through the engine. It returns None when it is done, or an awaitable when it must wait: then what
was said so far is sent first, if the protocol wants it so. Handlers never read the stream. What to say at the end
(421, BYE) is the session's: the pump only tells how it ended.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import NamedTuple, TypeVar

from rookery.net.stream import Injected, Interrupted, Stream
from rookery.wire.engine import Engine, Wants

Event = TypeVar("Event")
Handle = Callable[[Event], Awaitable[None] | None]
Confirm = Callable[[], Awaitable[None] | None]


TURN = 16  # events of one pipeline that are handled in one go


class Ending(Enum):
    """Why a pump stopped. The stream is still open, and can be written to, unless LOST or TLS_FAILED."""

    CLOSED = "closed"  # the engine had said all
    LOST = "lost"  # the peer ended or vanished
    IDLE = "idle"  # one of the stream's limits passed
    SLOW = "slow"  # something begun came in drop by drop
    DRAINED = "drained"  # `interrupt` was called and nothing is unfinished
    TLS_FAILED = "tls-failed"
    INJECTED = "injected"  # octets in clear after STARTTLS


class Pace(NamedTuple):
    """The least speed of what a peer has begun: `octets` in every `window` seconds, or it is done with."""

    octets: int = 6000
    window: float = 60.0


def never() -> bool:
    """The default of `unfinished`."""
    return False


async def pump(
    stream: Stream,
    engine: Engine[Event],
    handle: Handle[Event],
    *,
    tls: ssl.SSLContext | None = None,
    unfinished: Callable[[], bool] = never,
    pace: Pace | None = None,
    prompt: bool = True,
    confirm: Confirm | None = None,
) -> Ending:
    """Drive until there is a reason to stop; says which. What the engine had to say has been written.

    `unfinished` says whether a command or body has begun and not ended: such a one is waited for when interrupted,
    and held to `pace`. `prompt`: what was said is sent before a handler waits. `confirm` is asked before anything that
    was said is sent; what it raises ends the pump, and nothing of it is. Cancelling the task is always possible.
    """
    gauge = None if pace is None else _Gauge(pace, stream.now())
    ending = False
    while True:
        data = engine.outgoing()
        if data:
            if confirm is None:
                stream.write(data)
            else:
                await _say(stream, data, confirm)
        if engine.wants is not Wants.MORE:
            ended = await _upgrade(stream, engine, tls)
            if ended is not None:
                return ended
            continue
        try:
            if stream.unsent:
                await stream.drain()
            if ending and not unfinished():
                return Ending.DRAINED
            data = await stream.read()
        except TimeoutError:
            return Ending.IDLE
        except Interrupted:
            ending = True
            continue
        if not data:
            return Ending.LOST
        if gauge is not None and gauge.slow(len(data), stream.now(), unfinished()):
            return Ending.SLOW
        handled = 0
        while events := engine.receive(data):
            handled += len(events)
            if handled >= TURN:
                handled = 0
                try:
                    await _turn(stream, engine, confirm)
                except TimeoutError:
                    return Ending.IDLE
            for event in events:
                pending = handle(event)
                if pending is not None:
                    if prompt and (data := engine.outgoing()):
                        await _say(stream, data, confirm)
                    await pending
            if engine.wants is not Wants.MORE:
                break
            data = b""


async def _say(stream: Stream, data: bytes, confirm: Confirm | None) -> None:
    if confirm is not None and (pending := confirm()) is not None:
        await pending
    stream.write(data)


async def _turn(stream: Stream, engine: Engine[Event], confirm: Confirm | None) -> None:
    """Amid a long pipeline: what was answered is taken before more is, and others have their turn."""
    data = engine.outgoing()
    if data:
        await _say(stream, data, confirm)
    if stream.unsent:
        await stream.drain()
    await asyncio.sleep(0)


async def _upgrade(stream: Stream, engine: Engine[Event], tls: ssl.SSLContext | None) -> Ending | None:
    """None when TLS has started and the engine goes on."""
    if engine.wants is Wants.CLOSE:
        return Ending.CLOSED
    if tls is None:
        return Ending.TLS_FAILED
    if engine.leftover():
        return Ending.INJECTED
    try:
        await stream.start_tls(tls, server_side=True)
    except Injected:
        return Ending.INJECTED
    except OSError:
        return Ending.TLS_FAILED
    engine.tls_started()
    return None


class _Gauge:
    """Octets per window while something is unfinished."""

    __slots__ = ("_pace", "_since", "_taken")

    def __init__(self, pace: Pace, now: float) -> None:
        self._pace = pace
        self._since = now
        self._taken = 0

    def slow(self, octets: int, now: float, unfinished: bool) -> bool:
        if not unfinished:
            self._since, self._taken = now, octets
            return False
        self._taken += octets
        if now - self._since < self._pace.window:
            return False
        if self._taken < self._pace.octets:
            return True
        self._since, self._taken = now, 0
        return False
