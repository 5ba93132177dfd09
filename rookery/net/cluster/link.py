"""One mutual-TLS connection between two nodes, and the streams and calls on it.

Everything that is to be sent within one turn of the loop is written at once. There is no task for a stream and none for
the link; one for each call that is being answered. A link always reads, so that two of them never wait for each other:
what a stream may have unread is its window. What waits to be sent waits in its stream until the socket has room.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.log import logger
from rookery.base.members import Member
from rookery.net.cluster.calls import FAILED, GIVEN_UP, Calls
from rookery.net.cluster.node import Node, Service, nothing
from rookery.net.cluster.stream import LinkStream
from rookery.net.stream import Peer, TlsFacts
from rookery.net.wheel import NOT_LISTED, Wheel
from rookery.wire.cluster import events as ev
from rookery.wire.cluster.engine import Engine
from rookery.wire.cluster.values import Preface, Referral, Signal
from rookery.wire.engine import Wants

SILENCE = 3  # beats (of a second, with a PING each) without a word after which the peer is lost
HELLO_BEATS = 5  # in which it must have introduced itself
CLOSING_BEATS = 10  # in which a peer must take what is left of a stream or connection that was closed
TURN = 256 * 1024  # octets gathered for one write, and those unsent at which streams wait
OVERDUE = 8 * 1024 * 1024  # unsent octets of a peer that makes us answer and does not read


log = logger("cluster")


class Link(asyncio.Protocol):
    """Hand it to the loop as the protocol of a TLS connection. `peer` is known once TLS has ended its handshake.

    `greeted` is called when the peer has introduced itself, `lost` when the connection is gone; `refusal` says why the
    link is of no use any more. It beats by `wheel`, about once a second.
    """

    def __init__(
        self,
        node: Node,
        service: Service,
        *,
        dialled: bool,
        wheel: Wheel,
        greeted: Callable[["Link"], None] = nothing,
        lost: Callable[["Link"], None] = nothing,
    ) -> None:
        self._node = node
        self._service = service
        self._wheel = wheel
        self._greeted = greeted
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._engine = Engine(node.hello(), dialler=dialled, limits=node.limits)
        self._transport = cast(asyncio.Transport, None)  # until connection_made
        self._streams: dict[int, LinkStream] = {}
        self._calls = Calls(self._engine, partial(service.called, self), self._soon, self._room)
        self._waiting: dict[LinkStream, None] = {}  # for room, in turn
        self._leaving: dict[LinkStream, int] = {}  # closed here, and the beat at which that has lasted too long
        self._flowing = asyncio.Event()  # the socket takes more
        self._flowing.set()
        self._settled = asyncio.Event()  # greeted or lost
        self._flushing = False
        self._beat = 0
        self._silent = 0  # beats since something came
        self._farewell = ""  # what the peer said in its GOODBYE
        self._gone = False  # the connection is no more
        self._closing = 0  # the beat at which the connection is cut
        self.due = 0.0
        self.listed = NOT_LISTED
        self.dialled = dialled
        self.peer = cast(Member, None)  # until connection_made
        self.address = self.local = Peer("")
        self.tls: TlsFacts | None = None
        self.refusal: Refusal | None = None

    # --- for whoever has the link

    async def greeting(self) -> None:
        """Wait until the peer has introduced itself. Raises RookeryError, with what was wrong."""
        await self._settled.wait()
        self._check()

    async def open(self, preface: Preface) -> LinkStream:
        """A stream to the peer; whether it takes it shows in what comes. Raises RookeryError."""
        await self._room()
        stream = self._stream(self._engine.open(preface), preface, self.address, self.local, self.tls)
        self._soon()
        return stream

    async def call(self, payload: bytes, timeout: float) -> bytes:
        """Ask, and wait `timeout` seconds for the answer. Raises RookeryError: the peer's, or UNAVAILABLE."""
        return await self._calls.call(payload, timeout)

    def signal(self, signal: Signal) -> None:
        """Tell the peer, who may never hear of it: dropped when the link has no room. Raises RookeryError(TOO_BIG)."""
        if self.usable and self._flowing.is_set():
            self._engine.signal(signal)
            self._soon()

    def goodbye(self, reason: str) -> None:
        """Nothing new is begun, either way; the link ends when what was begun has."""
        if self.refusal is None:
            self._engine.goodbye(reason)
            self._soon()

    def end(self, refusal: Refusal) -> None:
        """End it now, with everything on it, and tell the peer why."""
        if self.refusal is None:
            self._engine.refuse(refusal.what)
            self._give_up(refusal)
            self._soon()

    def abort(self) -> None:
        """End it now, dropping what was not sent."""
        self._give_up(Refusal(Cause.UNAVAILABLE, "ended here"))
        if self._transport is not None:
            self._transport.abort()

    @property
    def usable(self) -> bool:
        """Whether something new may be begun."""
        return self.refusal is None and self._engine.usable

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return self._engine.idle

    @property
    def closed(self) -> bool:
        return self.refusal is not None

    @property
    def streams(self) -> int:
        return self._engine.streams

    @property
    def known(self) -> bool:
        """The peer has introduced itself, and is still there."""
        return self._engine.peer is not None and not self.closed

    @property
    def silent(self) -> int:
        """Seconds since something came, about."""
        return self._silent

    # --- the loop calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.refusal is not None:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(TURN)
        self.address = _name(transport.get_extra_info("peername"))
        self.local = _name(transport.get_extra_info("sockname"))
        self._beat_on()
        tls = transport.get_extra_info("ssl_object")
        self.tls = TlsFacts(tls.version() or "", (tls.cipher() or ("",))[0])
        try:
            self.peer = self._node.member_of(tls.getpeercert(binary_form=True) or b"")
            if not self._node.admit(self.peer):
                raise RookeryError(Cause.DENIED, f"{self.peer.name} is not admitted")
        except RookeryError as error:
            log.info("node-refused", address=self.address.address, why=error.what)
            self.end(error.refusal)
            return
        self._soon()

    def data_received(self, data: bytes) -> None:
        self._silent = 0
        if self.refusal is not None:
            return
        for event in cast(list[Any], self._engine.receive(data)):  # each handler below knows its own
            if self.refusal is not None:
                break  # an event before it ended the link
            of_stream = _OF_STREAM.get(type(event))
            if of_stream is None:
                _HEAR[type(event)](self, event)
            elif (stream := self._streams.get(event.stream)) is not None:
                of_stream(self, stream, event)
        if self._engine.queued or self._engine.wants is Wants.CLOSE:
            self._soon()

    def connection_lost(self, exc: Exception | None) -> None:
        why = self._farewell or (f"the connection was lost: {exc}" if exc else "the peer has ended it")
        self._give_up(Refusal(Cause.UNAVAILABLE, why))
        self._gone = True
        if self._engine.peer is not None:
            self._node.heard[self.peer.name] = self._wheel.now() - self._silent
        self._wheel.forget(self)
        self.due = 0.0
        self._lost(self)

    def pause_writing(self) -> None:
        self._flowing.clear()

    def resume_writing(self) -> None:
        self._flowing.set()
        self._soon()

    def expire(self) -> None:
        """A beat of the wheel."""
        self._beat += 1
        if self._closing:
            if self._beat >= self._closing:
                self._transport.abort()
        elif self._silent >= SILENCE or (self._beat >= HELLO_BEATS and self._engine.peer is None):
            self._fail(f"silent for {SILENCE} s" if self._engine.peer else "no HELLO came")
        elif not self._node.admit(self.peer):
            self.end(Refusal(Cause.DENIED, f"{self.peer.name} is no longer admitted"))
        else:
            self._silent += 1
            self._cut_off()
            self._engine.ping(self._beat.to_bytes(8, "big"))
            self._soon()
        self._beat_on()

    # --- for the streams

    def send(self, stream: LinkStream, data: bytes | memoryview) -> int:
        if self._engine.queued >= TURN or not self._flowing.is_set():
            self._waiting[stream] = None
            return 0
        taken = self._engine.send(stream.number, data)
        if taken:
            self._soon()
        return taken

    def consumed(self, stream: LinkStream, octets: int) -> None:
        self._engine.consumed(stream.number, octets)
        if self._engine.queued:
            self._soon()

    def urge(self, stream: LinkStream) -> bool:
        urged = self._engine.urge(stream.number)
        self._soon()
        return urged

    def finish(self, stream: LinkStream) -> None:
        self._engine.end(stream.number)
        if not self._engine.carries(stream.number):
            self._forget(stream, None)
        self._soon()

    def refer(self, stream: LinkStream, referral: Referral) -> None:
        self._engine.refer(stream.number, referral)
        self._forget(stream, None, referral)
        self._soon()

    def reset(self, stream: LinkStream, refusal: Refusal) -> None:
        self._engine.reset(stream.number, refusal)
        self._forget(stream, refusal, unread=False)
        self._soon()

    def leave(self, stream: LinkStream) -> None:
        self._leaving[stream] = self._beat + CLOSING_BEATS

    # --- what was heard

    def _hear_greeting(self, event: ev.Greeted) -> None:
        if event.hello.node != self.peer.name:
            self.end(Refusal(Cause.DENIED, f"the certificate of {self.peer.name} calls itself {event.hello.node}"))
            return
        log.info("link-up", node=self.peer.name, address=self.address.address, dialled=self.dialled)
        self._settled.set()
        self._greeted(self)

    def _hear_opened(self, event: ev.Opened) -> None:
        preface = event.preface
        tls = TlsFacts(preface.tls.version, preface.tls.cipher, preface.tls.server_name) if preface.tls else None
        stream = self._stream(event.stream, preface, Peer(*preface.client), Peer(*preface.local), tls)
        self._loop.call_soon(self._serve, preface, stream)

    def _serve(self, preface: Preface, stream: LinkStream) -> None:
        """A call of the loop's own, so that what fails here is one stream."""
        if stream.gone:
            return
        try:
            self._service.opened(self, preface, stream)
        except RookeryError as error:
            stream.reset(error.refusal)
        except BaseException:
            stream.reset(FAILED)
            raise

    def _hear_ended(self, stream: LinkStream, event: ev.Ended) -> None:
        stream.ended()
        if not self._engine.carries(event.stream):
            self._forget(stream, None)

    def _hear_farewell(self, event: ev.Farewell) -> None:
        self._farewell = event.reason
        log.info("link-leaving", node=self.peer.name, address=self.address.address, why=event.reason)
        if self._engine.peer is None:
            self._give_up(Refusal(Cause.DENIED, event.reason))

    def _hear_broken(self, event: ev.Broken) -> None:
        log.warning("link-broken", node=self.peer.name, address=self.address.address, why=event.reason)
        self._give_up(Refusal(Cause.UNSUPPORTED, event.reason))

    # --- sending

    def _soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write what this turn has gathered; then who waits for room has it."""
        self._flushing = False
        engine, transport = self._engine, self._transport
        if transport is None or transport.is_closing():
            return
        if data := engine.outgoing():
            transport.write(data)
        if engine.wants is Wants.CLOSE:
            self._give_up(Refusal(Cause.UNAVAILABLE, self._farewell or "nothing was left to do"))
            self._closing = self._beat + CLOSING_BEATS
            transport.close()
        elif transport.get_write_buffer_size() > OVERDUE:
            self._fail("it does not read")
        else:
            while self._waiting and engine.queued < TURN and self._flowing.is_set():
                stream = next(iter(self._waiting))
                del self._waiting[stream]
                stream.push()

    async def _room(self) -> None:
        """Wait while the socket takes no more. Raises RookeryError when the link is of no use."""
        self._check()
        await self._flowing.wait()
        self._check()

    def _check(self) -> None:
        if self.refusal is not None:
            raise RookeryError(self.refusal.cause, self.refusal.what)

    # --- beginnings and ends

    def _stream(self, number: int, preface: Preface, peer: Peer, local: Peer, tls: TlsFacts | None) -> LinkStream:
        stream = self._streams[number] = LinkStream(
            self, number, preface, wheel=self._wheel, loop=self._loop, peer=peer, local=local, tls=tls
        )
        return stream

    def _forget(
        self, stream: LinkStream, refusal: Refusal | None, referral: Referral | None = None, *, unread: bool = True
    ) -> None:
        self._streams.pop(stream.number, None)
        self._waiting.pop(stream, None)
        self._leaving.pop(stream, None)
        stream.over(refusal, referral, unread=unread)

    def _cut_off(self) -> None:
        """Reset the streams that were closed long ago and whose peer has not ended them."""
        while self._leaving:
            stream, until = next(iter(self._leaving.items()))
            if until > self._beat:
                break
            self.reset(stream, GIVEN_UP)

    def _beat_on(self) -> None:
        if not self._gone:
            self.due = float(int(self._wheel.now()) + 1)
            self._wheel.watch(self)

    def _fail(self, why: str) -> None:
        """The peer is taken for dead: nothing is sent to it any more."""
        log.warning("link-lost", node=self.peer.name, address=self.address.address, why=why)
        self._give_up(Refusal(Cause.UNAVAILABLE, why))
        self._transport.abort()

    def _give_up(self, refusal: Refusal) -> None:
        """The link is of no use any more: everybody on it is told."""
        if self.refusal is not None:
            return
        self.refusal = refusal
        for stream in list(self._streams.values()):
            self._forget(stream, refusal)
        self._calls.lost(refusal)
        self._flowing.set()
        self._settled.set()


def _name(name: Any) -> Peer:
    """The address of a TCP socket; none when it has gone already."""
    return Peer(str(name[0]).partition("%")[0], int(name[1])) if name else Peer("")


_OF_STREAM: dict[type[Any], Callable[[Link, LinkStream, Any], None]] = {
    ev.Data: lambda link, stream, event: stream.arrived(event.data),
    ev.Credited: lambda link, stream, event: stream.push(),
    ev.Ended: Link._hear_ended,
    ev.Urged: lambda link, stream, event: stream.interrupt(),
    ev.Reset: lambda link, stream, event: link._forget(stream, event.refusal, unread=False),
    ev.Referred: lambda link, stream, event: link._forget(stream, None, event.referral),
}
_HEAR: dict[type[Any], Callable[[Link, Any], object]] = {
    ev.Greeted: Link._hear_greeting,
    ev.Opened: Link._hear_opened,
    ev.Called: lambda link, event: link._calls.called(event),
    ev.GivenUp: lambda link, event: link._calls.given_up(event),
    ev.Answered: lambda link, event: link._calls.answered(event),
    ev.Refused: lambda link, event: link._calls.refused(event),
    ev.Signalled: lambda link, event: link._loop.call_soon(link._service.signalled, link, event.signal),
    ev.Ponged: lambda link, event: None,  # that something came is all that counts
    ev.Farewell: Link._hear_farewell,
    ev.Broken: Link._hear_broken,
}
