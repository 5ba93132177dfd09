"""What one end of a connection knows and says: streams, calls, windows, numbers. Hearing is the engine's.

Streams and calls that are over leave nothing behind. What is said is gathered for `outgoing`, with no copy of DATA.
"""

from dataclasses import dataclass

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.wire.cluster.frames import HEADER, LAST_NUMBER, PAYLOAD_LIMIT, Kind, frame, header
from rookery.wire.cluster.values import WHAT_LIMIT, Hello, Preface, Referral, Signal, encode, encode_refusal
from rookery.wire.engine import Wants


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one connection. `streams` and `calls` that each side may have begun; `unread`: octets, of all streams."""

    streams: int = 4096
    calls: int = 1024
    unread: int = 64 * 1024 * 1024


LIMITS = Limits()
NO_MORE_STREAMS = Refusal(Cause.TOO_MANY, "streams on one connection")
NO_MORE_CALLS = Refusal(Cause.TOO_MANY, "calls under way on one connection")
LEAVING = Refusal(Cause.UNAVAILABLE, "nothing new is begun on this connection")


class Flow:
    """Of one stream: `credit` that we have and `window` that the peer has left, in octets; what of the peer's is
    `unread`, and what was read and not yet given back (`owed`); who has sent END.
    """

    __slots__ = ("credit", "ended", "owed", "peer_ended", "unread", "window")

    def __init__(self, credit: int, window: int) -> None:
        self.credit = credit
        self.window = window
        self.owed = 0
        self.unread = 0
        self.ended = False
        self.peer_ended = False


class Speaker:
    """Half of an engine. `queued`: octets that `outgoing` would give; `usable` from the Greeted event on."""

    __slots__ = (
        "_asked",
        "_calls",
        "_flows",
        "_held",
        "_into",
        "_last",
        "_leaving",
        "_left",
        "_limits",
        "_next",
        "_out",
        "_own",
        "_pong",
        "_theirs",
        "_unread",
        "peer",
        "queued",
        "version",
        "wants",
    )

    def __init__(self, hello: Hello, *, dialler: bool, limits: Limits = LIMITS) -> None:
        self._own = hello
        self._limits = limits
        self._next = 1 if dialler else 2  # our next number
        self._last = 0  # the peer's last
        self._flows: dict[int, Flow] = {}
        self._theirs = 0  # of them, opened by the peer
        self._calls: set[int] = set()  # ours, to be answered
        self._asked: set[int] = set()  # the peer's
        self._held = b""  # the beginning of a frame
        self._into, self._left = 0, 0  # within a DATA frame: of which stream, octets to come
        self._unread = 0
        self._leaving = False
        self._out: list[bytes | memoryview] = []
        self._pong = b""
        self.queued = 0
        self.peer: Hello | None = None
        self.version = 0
        self.wants = Wants.MORE
        self._put(Kind.HELLO, 0, encode(hello))

    # --- what we begin and say

    def open(self, preface: Preface) -> int:
        """The number of a new stream. Raises RookeryError(UNAVAILABLE, TOO_MANY or TOO_BIG)."""
        if len(self._flows) - self._theirs >= self._limits.streams:
            raise RookeryError(NO_MORE_STREAMS.cause, NO_MORE_STREAMS.what)
        number = self._begin(Kind.OPEN, encode(preface))
        self._flows[number] = self._flow()
        return number

    def send(self, number: int, data: bytes | memoryview) -> int:
        """How many octets from the start of `data` were taken: as many as the peer's window has room for.

        They are kept without a copy until `outgoing`. All are taken, and dropped, when the stream is over.
        """
        flow = self._flows.get(number)
        if flow is None or flow.ended:
            return len(data)
        taken = min(len(data), flow.credit)
        if taken <= 0:
            return 0
        flow.credit -= taken
        out = self._out
        if taken <= PAYLOAD_LIMIT:
            out.append(header(Kind.DATA, number, taken))
            out.append(data if taken == len(data) else data[:taken])
            self.queued += HEADER + taken
            return taken
        view = memoryview(data)
        for at in range(0, taken, PAYLOAD_LIMIT):
            piece = view[at : min(at + PAYLOAD_LIMIT, taken)]
            out.append(header(Kind.DATA, number, len(piece)))
            out.append(piece)
            self.queued += HEADER + len(piece)
        return taken

    def end(self, number: int) -> None:
        """We send no more on it."""
        flow = self._flows.get(number)
        if flow is None or flow.ended:
            return
        flow.ended = True
        self._put(Kind.END, number)
        if flow.peer_ended:
            self._over(number)
            self._settle()

    def urge(self, number: int) -> bool:
        """Ask the peer to finish what has begun on a stream of ours, and then to end it. False: there is none."""
        if number not in self._flows:
            return False
        self._put(Kind.URGE, number)
        return True

    def reset(self, number: int, refusal: Refusal) -> None:
        """End a stream both ways, refuse a call, or give up our own. Nothing happens when it is over."""
        if self._over(number):
            self._put(Kind.RESET, number, encode_refusal(refusal))
            self._settle()

    def refer(self, number: int, referral: Referral) -> None:
        """The stream goes on elsewhere: it is over here, after what was sent. Raises RookeryError(TOO_BIG)."""
        if number in self._flows:
            self._put(Kind.REFER, number, _fitting(encode(referral)))
            self._over(number)
            self._settle()

    def consumed(self, number: int, octets: int) -> None:
        """The reader has taken so many octets: the peer may send as many more."""
        flow = self._flows.get(number)
        if flow is None:
            return
        flow.unread -= octets
        self._unread -= octets
        flow.owed += octets
        if flow.owed * 2 >= self._own.window and not flow.peer_ended:
            flow.window += flow.owed
            self._put(Kind.WINDOW, number, flow.owed.to_bytes(4, "big"))
            flow.owed = 0

    def call(self, payload: bytes) -> int:
        """The number of a new call. Raises RookeryError(UNAVAILABLE, TOO_MANY or TOO_BIG)."""
        if len(self._calls) >= self._limits.calls:
            raise RookeryError(NO_MORE_CALLS.cause, NO_MORE_CALLS.what)
        number = self._begin(Kind.CALL, payload)
        self._calls.add(number)
        return number

    def answer(self, number: int, payload: bytes) -> None:
        """Answer a call, unless it was given up. Raises RookeryError(TOO_BIG)."""
        if number in self._asked:
            self._put(Kind.ANSWER, number, _fitting(payload))
            self._over(number)
            self._settle()

    def signal(self, signal: Signal) -> None:
        """Raises RookeryError(TOO_BIG)."""
        self._put(Kind.CONTROL, 0, _fitting(encode(signal)))

    def ping(self, token: bytes) -> None:
        """`token`: 8 octets."""
        self._put(Kind.PING, 0, token)

    def goodbye(self, reason: str) -> None:
        """Nothing new is begun any more, either way; `wants` is CLOSE once all that was begun is over."""
        if not self._leaving:
            self._leaving = True
            self._put(Kind.GOODBYE, 0, reason.encode("utf-8", "replace")[:WHAT_LIMIT])
        self._settle()

    def refuse(self, reason: str) -> None:
        """End the connection at once, and say why: instead of HELLO, if that has neither come nor gone."""
        if self.peer is None:
            self._out.clear()
        self._leaving = False
        self.goodbye(reason)
        self._close()

    # --- what is known

    @property
    def usable(self) -> bool:
        """Whether something new can be begun here, but for the limits."""
        return not self._leaving and self.peer is not None and self._next <= LAST_NUMBER

    @property
    def idle(self) -> bool:
        """No stream and no call is under way."""
        return not (self._flows or self._calls or self._asked)

    def carries(self, number: int) -> bool:
        """Whether that stream is not over."""
        return number in self._flows

    @property
    def streams(self) -> int:
        return len(self._flows)

    def outgoing(self) -> bytes:
        """What to send now; each octet is given once."""
        if self._pong:
            self._out.append(self._pong)
            self._pong = b""
        data = b"".join(self._out)
        self._out.clear()
        self.queued = 0
        return data

    # --- numbers

    def _begin(self, kind: Kind, payload: bytes) -> int:
        if not self.usable:
            raise RookeryError(LEAVING.cause, LEAVING.what)
        number = self._next
        self._put(kind, number, _fitting(payload))
        self._next += 2
        return number

    def _flow(self) -> Flow:
        assert self.peer is not None
        return Flow(self.peer.window, self._own.window)

    def _over(self, number: int) -> bool:
        """Forget a stream or call; False when nothing of that number is under way."""
        flow = self._flows.pop(number, None)
        if flow is not None:
            self._unread -= flow.unread
            if number % 2 != self._next % 2:
                self._theirs -= 1
            return True
        under_way = self._calls if number in self._calls else self._asked
        if number not in under_way:
            return False
        under_way.discard(number)
        return True

    def _settle(self) -> None:
        if self._leaving and self.idle:
            self._close()

    def _close(self) -> None:
        self.wants = Wants.CLOSE
        self._held, self._left = b"", 0
        self._flows.clear()
        self._calls.clear()
        self._asked.clear()

    def _put(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        self._out.append(frame(kind, number, payload))
        self.queued += HEADER + len(payload)


def _fitting(payload: bytes) -> bytes:
    """Raises RookeryError(TOO_BIG) for what is longer than a frame."""
    if len(payload) > PAYLOAD_LIMIT:
        raise RookeryError(Cause.TOO_BIG, f"{len(payload)} octets in one frame")
    return payload
