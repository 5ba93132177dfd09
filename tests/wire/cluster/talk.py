"""Two engines, and the octets between them."""

from collections.abc import Sequence

from rookery.wire.cluster.engine import Engine
from rookery.wire.cluster.events import Data, Event
from rookery.wire.cluster.frames import Kind, frame
from rookery.wire.cluster.speaking import LIMITS, Limits
from rookery.wire.cluster.values import Hello, Preface, encode
from rookery.wire.proxy import Endpoint

WINDOW = 4096
FRONTEND = Hello(1, 1, "c1", "f1", "0.1", WINDOW)
BACKEND = Hello(1, 1, "c1", "b1", "0.1", WINDOW)
PREFACE = Preface("imap", bytes(16), Endpoint("192.0.2.7", 4711), Endpoint("2001:db8::1", 993), session="s1")
OPEN = frame(Kind.OPEN, 1, encode(PREFACE))
HELLO = frame(Kind.HELLO, 0, encode(FRONTEND))


def engine(hello: Hello = BACKEND, *, dialler: bool = False, limits: Limits = LIMITS) -> Engine:
    """One that has said HELLO and heard nothing."""
    made = Engine(hello, dialler=dialler, limits=limits)
    made.outgoing()
    return made


def greeted(limits: Limits = LIMITS) -> Engine:
    """A backend to which a frontend has said HELLO."""
    made = engine(limits=limits)
    made.receive(HELLO)
    return made


def exchange(one: Engine, other: Engine) -> tuple[list[Event], list[Event]]:
    """What each hears until nothing more is said."""
    heard: tuple[list[Event], list[Event]] = [], []
    while (to_other := one.outgoing()) + (to_one := other.outgoing()):
        heard[1].extend(other.receive(to_other))
        heard[0].extend(one.receive(to_one))
    return heard


def pair(limits: Limits = LIMITS) -> tuple[Engine, Engine]:
    """(dialler, acceptor), both greeted."""
    one, other = Engine(FRONTEND, dialler=True, limits=limits), Engine(BACKEND, dialler=False, limits=limits)
    exchange(one, other)
    return one, other


def joined(events: Sequence[Event]) -> list[Event]:
    """Data that follow each other on one stream as one."""
    whole: list[Event] = []
    for event in events:
        last = whole[-1] if whole else None
        if isinstance(event, Data) and isinstance(last, Data) and last.stream == event.stream:
            whole[-1] = Data(event.stream, last.data + event.data)
        else:
            whole.append(event)
    return whole


def held(engine: Engine) -> int:
    """What it keeps of the peer: octets, and entries of streams and calls."""
    return len(engine._held) + len(engine._flows) + len(engine._calls) + len(engine._asked) + len(engine._pong)
