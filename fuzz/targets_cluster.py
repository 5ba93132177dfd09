"""What other nodes of a cluster say, any of which may be stolen: frames, questions and answers, join messages."""

from collections.abc import Callable

from rookery.base.clock import ManualClock
from rookery.base.errors import RookeryError
from rookery.distribution.cluster import messages, tokens
from rookery.distribution.service import calls
from rookery.distribution.service.claims import Claims
from rookery.distribution.service.signals import Claim, Count, Want, read
from rookery.wire.cluster.engine import Engine
from rookery.wire.cluster.events import Called, Data, Event, Opened
from rookery.wire.cluster.frames import HEADER, PAYLOAD_LIMIT, Kind, frame
from rookery.wire.cluster.speaking import Limits
from rookery.wire.cluster.values import Hello, Preface, Signal, encode
from rookery.wire.proxy import Endpoint

from .target import Target, require

WINDOW = 4096
LIMITS = Limits(streams=8, calls=8)
_PEER = Hello(1, 1, "c1", "f1", "0.1", WINDOW)
_PREFACE = Preface("imap", bytes(16), Endpoint("192.0.2.7", 4711), Endpoint("2001:db8::1", 993), session="s1")


def _heard(data: bytes, step: int) -> tuple[list[Event], object]:
    """By a backend that reads whatever comes and answers each call."""
    engine = Engine(Hello(1, 1, "c1", "b1", "0.1", WINDOW), dialler=False, limits=LIMITS)
    found: list[Event] = []
    for at in range(0, len(data), step):
        for event in engine.receive(data[at : at + step]):
            last = found[-1] if found else None
            if isinstance(event, Data):
                engine.consumed(event.stream, len(event.data))
                if isinstance(last, Data) and last.stream == event.stream:
                    found[-1] = Data(event.stream, last.data + event.data)
                    continue
            elif isinstance(event, Called):
                engine.answer(event.call, b"yes")
            found.append(event)
        engine.outgoing()
        require(len(engine._held) <= HEADER + PAYLOAD_LIMIT, "it keeps more than a frame")
        require(len(engine._flows) <= LIMITS.streams and len(engine._asked) <= LIMITS.calls, "no limit holds")
    return found, engine.wants


def frames(data: bytes) -> None:
    """The first octet says how the input is cut."""
    step, data = 1 + (data[0] % 32 if data else 0), data[1:]
    whole, pieces = _heard(data, max(1, len(data))), _heard(data, step)
    require(whole == pieces, "pieces are understood otherwise")
    require(sum(isinstance(event, Opened) for event in whole[0]) <= len(data) // HEADER, "streams from nothing")


def _reads(read: Callable[[bytes], object], again: Callable[[object], bytes]) -> Callable[[bytes], None]:
    """What is understood says the same when it is written again."""

    def check(data: bytes) -> None:
        try:
            found = read(data)
        except RookeryError:
            return
        written = again(found)
        require(again(read(written)) == written, "written again it is another")  # octets: a float may be NaN

    return check


def _any_answer(data: bytes) -> object:
    return calls.decode_answer(data, object)


def token(data: bytes) -> None:
    try:
        found = tokens.parse(data.decode("utf-8", "replace"))
    except RookeryError:
        return
    require(tokens.parse(found.text()) == found, "a token that reads otherwise")


def signals(data: bytes) -> None:
    """Of a frontend, and what is believed of it."""
    for kind in (Want, Claim):
        found = read(kind, data)
        require(found is None or read(kind, encode(found)) == found, "written again it is another")
    said = read(Count, data)
    if said is None:
        return
    claims = Claims(ManualClock())
    claims.take(Claim("f1", said))
    for listener, key, _ in said.connections:
        for limit in (1, 10, 100):
            require(0 <= claims.elsewhere(listener, key, limit) <= limit // 2, "one claim counts for more than half")


_SESSION = b"".join(
    (
        b"\x07",
        frame(Kind.HELLO, 0, encode(_PEER)),
        frame(Kind.OPEN, 1, encode(_PREFACE)),
        frame(Kind.DATA, 1, b"a1 NOOP\r\n"),
        frame(Kind.CALL, 3, b"?"),
        frame(Kind.WINDOW, 1, bytes((0, 0, 16, 0))),
        frame(Kind.PING, 0, bytes(8)),
        frame(Kind.CONTROL, 0, encode(Signal("revoked"))),
        frame(Kind.END, 1, b""),
    )
)
_CLIENT = calls.Client("imap", "192.0.2.7", "s1", True)
_QUESTIONS = tuple(
    calls.encode(one)
    for one in (
        calls.Begin(_CLIENT, "PLAIN", b"\0alice\0x"), calls.Step(bytes(16), b""), calls.Recipient("alice@d.test"),
        calls.Expect(bytes(16), "imap", "f1", "s1"), calls.Renew(b"request"),
    )
)  # fmt: skip
_ANSWERS = tuple(
    calls.encode(one)
    for one in (
        calls.Challenge(bytes(16), b"c"), calls.Refused("denied", "no"), calls.Verdict(True, True, 3.0),
        calls.Granted(bytes(16), bytes(16), "a@d.test", calls.Host("b1", "h:1"), bytes(16)),
    )
)  # fmt: skip

_DEEP = b"\x95\xa9recipient\xa1a\xc2\xa0" + b"\x91" * 60_000 + b"\xc0"  # fields of a later release
_COUNT = Count([("imap", b"\xc0\x00\x02\x01", 9), ("failed", bytes(8), 1)])

TARGETS = (
    Target("cluster", frames, (_SESSION,), tuple(frame(kind, 1, b"") for kind in Kind)),
    Target(
        "cluster-questions", _reads(calls.decode_question, calls.encode), (*_QUESTIONS, _DEEP), (b"\x93", b"\xc4\x10")
    ),  # type: ignore[arg-type]
    Target("cluster-answers", _reads(_any_answer, calls.encode), _ANSWERS, ()),  # type: ignore[arg-type]
    Target(
        "cluster-joining",
        _reads(messages.read_question, messages.encode),
        (messages.encode(messages.AskBundle()), b"\x82\xa4type\xa6bundle\xa1x" + b"\x91" * 16_000 + b"\xc0"),
    ),
    Target(
        "cluster-signals",
        signals,
        (
            encode(Want(["members"])),
            encode(_COUNT),
            encode(Claim("f1", _COUNT)),
            b"\x92\x90" + b"\x91" * 30_000 + b"\xc0",
        ),
    ),
    Target("cluster-tokens", token, (tokens.make("c1" * 16, bytes(32), ["127.0.0.1:1"], 1, bytes).text().encode(),)),
)
