"""One end of a connection of the cluster port: octets in, events out, octets to send. No socket and no clock.

    events = engine.receive(data)
    number = engine.open(preface); taken = engine.send(number, data); engine.end(number)
    transport.write(engine.outgoing())

It never raises on what a peer sends: a peer that breaks the rules is told so in a GOODBYE, and `wants` is CLOSE.
What it holds of the peer is bounded: a part of one frame (DATA is passed on as it comes), and a few numbers for each
stream and call, of which there are limits. Streams and calls that are over leave nothing behind; what still comes for
them is dropped.
"""

from collections.abc import Callable

from rookery.base.errors import Cause, Refusal
from rookery.wire.cluster import events as ev
from rookery.wire.cluster.events import Event
from rookery.wire.cluster.frames import (
    HEADER,
    LONGEST,
    OF_CONNECTION,
    OPTIONAL,
    PAYLOAD_LIMIT,
    WHOLE,
    Kind,
    frame,
    read_header,
)
from rookery.wire.cluster.speaking import LEAVING, NO_MORE_CALLS, NO_MORE_STREAMS, Speaker
from rookery.wire.cluster.values import (
    WHAT_LIMIT,
    Hello,
    Preface,
    Referral,
    Signal,
    decode,
    decode_refusal,
    encode_refusal,
)
from rookery.wire.engine import Wants

CREDIT_MOST = 2**31 - 1  # octets
NO_MORE_UNREAD = Refusal(Cause.BUSY, "too much waits to be read on one connection")


class _Wrong(Exception):
    """The peer broke a rule."""


class Engine(Speaker):
    """`peer` and `version` are known from the Greeted event on."""

    __slots__ = ()

    # --- octets

    def receive(self, data: bytes) -> list[Event]:
        """Everything that these octets complete."""
        events: list[Event] = []
        if self.wants is Wants.CLOSE:
            return events
        if self._held:
            data = self._held + data
            self._held = b""
        try:
            at = self._cut(data, events)
        except _Wrong as wrong:
            events.append(ev.Broken(str(wrong)))
            self.refuse(str(wrong))
            return events
        if self.wants is Wants.MORE:
            self._held = data[at:]
        return events

    def _cut(self, data: bytes, events: list[Event]) -> int:
        """Go through whole frames and whatever there is of DATA; gives where the rest begins. Raises _Wrong."""
        at, end = 0, len(data)
        while self.wants is Wants.MORE:
            if self._left:
                size = min(self._left, end - at)
                if not size:
                    break
                self._left -= size
                if self._into in self._flows:
                    events.append(ev.Data(self._into, data[at : at + size]))
                at += size
                continue
            if end - at < HEADER:
                break
            word, number = read_header(data, at)
            length, kind = word >> 8, word & 255
            if kind == Kind.DATA:
                self._data(number, length, events)
                self._into, self._left = number, length
                at += HEADER
                continue
            self._check(kind, number, length)
            after = at + HEADER + length
            if after > end:
                break
            handle = _HANDLERS.get(kind)
            if handle is not None:
                handle(self, number, data[at + HEADER : after], events)
            at = after
        return at

    def _check(self, kind: int, number: int, length: int) -> None:
        """What can be told from the header alone. Raises _Wrong."""
        if self.peer is None and kind not in (Kind.HELLO, Kind.GOODBYE):
            raise _Wrong("no HELLO came first")
        longest = LONGEST.get(kind)
        if longest is None:
            if kind < OPTIONAL:
                raise _Wrong(f"a frame of unknown type {kind}")
            longest = PAYLOAD_LIMIT
        elif (number == 0) != (kind in OF_CONNECTION):
            raise _Wrong(f"a frame of type {kind} for number {number}")
        if length > longest or (length < longest and kind in WHOLE):
            raise _Wrong(f"a frame of type {kind} with {length} octets")

    # --- frames

    def _hello(self, number: int, payload: bytes, events: list[Event]) -> None:
        if self.peer is not None:
            raise _Wrong("a second HELLO")
        peer, own = decode(Hello, payload), self._own
        if isinstance(peer, str):
            raise _Wrong(peer)
        if peer.cluster != own.cluster:
            raise _Wrong(f"{own.node} is of cluster {own.cluster}, {peer.node} of {peer.cluster}")
        version = min(own.newest, peer.newest)
        if version < max(own.oldest, peer.oldest):
            spoken = " and ".join(
                f"{one.node} ({one.release}) speaks versions {one.oldest} to {one.newest}" for one in (own, peer)
            )
            raise _Wrong(f"no common version: {spoken}")
        self.peer, self.version = peer, version
        events.append(ev.Greeted(peer, version))

    def _opened(self, number: int, payload: bytes, events: list[Event]) -> None:
        self._rises(number)
        preface = decode(Preface, payload)
        refusal = None
        if self._leaving:
            refusal = LEAVING
        elif self._theirs >= self._limits.streams:
            refusal = NO_MORE_STREAMS
        elif isinstance(preface, str):
            refusal = Refusal(Cause.INVALID, preface)
        if refusal is not None or isinstance(preface, str):
            self._put(Kind.RESET, number, encode_refusal(refusal or LEAVING))
            return
        self._flows[number] = self._flow()
        self._theirs += 1
        events.append(ev.Opened(number, preface))

    def _data(self, number: int, length: int, events: list[Event]) -> None:
        """The header of DATA has come."""
        flow = self._flows.get(number)
        if flow is None or length > PAYLOAD_LIMIT:
            self._check(Kind.DATA, number, length)
            self._past(number)
            return
        if flow.peer_ended:
            raise _Wrong(f"DATA after END on stream {number}")
        if length > flow.window:
            raise _Wrong(f"DATA beyond the window of stream {number}")
        flow.window -= length
        flow.unread += length
        self._unread += length
        if self._unread > self._limits.unread:
            self.reset(number, NO_MORE_UNREAD)
            events.append(ev.Reset(number, NO_MORE_UNREAD))

    def _ended(self, number: int, payload: bytes, events: list[Event]) -> None:
        flow = self._flows.get(number)
        if flow is None:
            self._past(number)
            return
        if flow.peer_ended:
            raise _Wrong(f"END after END on stream {number}")
        flow.peer_ended = True
        events.append(ev.Ended(number))
        if flow.ended:
            self._over(number)
            self._settle()

    def _urged(self, number: int, payload: bytes, events: list[Event]) -> None:
        if number not in self._flows:
            self._past(number)
        elif number % 2 != self._next % 2:  # a stream of the peer's
            events.append(ev.Urged(number))

    def _reset(self, number: int, payload: bytes, events: list[Event]) -> None:
        if number in self._flows:
            events.append(ev.Reset(number, decode_refusal(payload)))
        elif number in self._calls:
            events.append(ev.Refused(number, decode_refusal(payload)))
        elif number in self._asked:
            events.append(ev.GivenUp(number))
        else:
            self._past(number)
            return
        self._over(number)
        self._settle()

    def _referred(self, number: int, payload: bytes, events: list[Event]) -> None:
        if number not in self._flows:
            self._past(number)
            return
        referral = decode(Referral, payload)
        if isinstance(referral, str):
            events.append(ev.Reset(number, Refusal(Cause.INVALID, referral)))
        else:
            events.append(ev.Referred(number, referral))
        self._over(number)
        self._settle()

    def _window(self, number: int, payload: bytes, events: list[Event]) -> None:
        flow = self._flows.get(number)
        if flow is None:
            self._past(number)
            return
        flow.credit += int.from_bytes(payload, "big")
        if flow.credit > CREDIT_MOST:
            raise _Wrong(f"an endless window of stream {number}")
        events.append(ev.Credited(number))

    def _ping(self, number: int, payload: bytes, events: list[Event]) -> None:
        if not self._pong:
            self.queued += HEADER + len(payload)
        self._pong = frame(Kind.PONG, 0, payload)

    def _ponged(self, number: int, payload: bytes, events: list[Event]) -> None:
        events.append(ev.Ponged(payload))

    def _called(self, number: int, payload: bytes, events: list[Event]) -> None:
        self._rises(number)
        if self._leaving or len(self._asked) >= self._limits.calls:
            self._put(Kind.RESET, number, encode_refusal(LEAVING if self._leaving else NO_MORE_CALLS))
            return
        self._asked.add(number)
        events.append(ev.Called(number, payload))

    def _answered(self, number: int, payload: bytes, events: list[Event]) -> None:
        if number not in self._calls:
            self._past(number)
            return
        events.append(ev.Answered(number, payload))
        self._over(number)
        self._settle()

    def _signalled(self, number: int, payload: bytes, events: list[Event]) -> None:
        signal = decode(Signal, payload)
        if not isinstance(signal, str):
            events.append(ev.Signalled(signal))

    def _farewell(self, number: int, payload: bytes, events: list[Event]) -> None:
        self._leaving = True
        events.append(ev.Farewell(payload[:WHAT_LIMIT].decode("utf-8", "replace")))
        self._settle()

    def _rises(self, number: int) -> None:
        """The peer's next number. Raises _Wrong."""
        if number <= self._last or number % 2 == self._next % 2:
            raise _Wrong(f"stream or call {number} after {self._last}")
        self._last = number

    def _past(self, number: int) -> None:
        """A frame for something that is not under way: it was, and the frame crossed its end. Raises _Wrong."""
        if number >= self._next if number % 2 == self._next % 2 else number > self._last:
            raise _Wrong(f"a frame for {number}, which was never begun")


_HANDLERS: dict[int, Callable[[Engine, int, bytes, list[Event]], None]] = {
    Kind.HELLO: Engine._hello,
    Kind.OPEN: Engine._opened,
    Kind.END: Engine._ended,
    Kind.URGE: Engine._urged,
    Kind.RESET: Engine._reset,
    Kind.REFER: Engine._referred,
    Kind.WINDOW: Engine._window,
    Kind.PING: Engine._ping,
    Kind.PONG: Engine._ponged,
    Kind.CALL: Engine._called,
    Kind.ANSWER: Engine._answered,
    Kind.CONTROL: Engine._signalled,
    Kind.GOODBYE: Engine._farewell,
}
