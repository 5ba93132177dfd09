"""Peers that break the rules of the cluster port, by mistake or not: they are told, and nothing grows."""

import pytest

from rookery.base.errors import Cause, Refusal
from rookery.wire.cluster.engine import NO_MORE_UNREAD, Engine
from rookery.wire.cluster.events import Broken, Called, Data, Event, Opened, Reset, Signalled
from rookery.wire.cluster.frames import LAST_NUMBER, PAYLOAD_LIMIT, WORD_LIMIT, Kind, frame, header
from rookery.wire.cluster.speaking import NO_MORE_CALLS, NO_MORE_STREAMS, Limits
from rookery.wire.cluster.values import (
    STATE_LIMIT,
    Hello,
    Preface,
    Referral,
    Signal,
    Tls,
    decode,
    decode_refusal,
    encode,
    encode_refusal,
)
from rookery.wire.engine import Wants
from rookery.wire.proxy import Endpoint
from tests.wire.cluster.talk import HELLO, OPEN, PREFACE, WINDOW, engine, exchange, greeted, held, pair

ENDED = OPEN + frame(Kind.END, 1)
MOVED = encode_refusal(Refusal(Cause.MOVED))


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (HELLO, "a second HELLO"),
        (frame(Kind.DATA, 1, b"x"), "1, which was never begun"),
        (frame(Kind.END, 9), "9, which was never begun"),
        (frame(Kind.RESET, 2, MOVED), "2, which was never begun"),
        (frame(Kind.WINDOW, 1, bytes(4)), "1, which was never begun"),
        (frame(Kind.REFER, 1, b""), "1, which was never begun"),
        (frame(Kind.ANSWER, 2, b""), "2, which was never begun"),
        (OPEN + frame(Kind.DATA, 1, bytes(WINDOW)) + frame(Kind.DATA, 1, b"x"), "beyond the window of stream 1"),
        (ENDED + frame(Kind.DATA, 1, b"x"), "DATA after END on stream 1"),
        (ENDED + frame(Kind.END, 1), "END after END on stream 1"),
        (OPEN + frame(Kind.WINDOW, 1, b"\xff" * 4), "an endless window of stream 1"),
        (frame(Kind.OPEN, 2, encode(PREFACE)), "stream or call 2 after 0"),
        (OPEN + OPEN, "stream or call 1 after 1"),
        (frame(Kind.CALL, 5, b"") + frame(Kind.CALL, 3, b""), "stream or call 3 after 5"),
        (frame(Kind.OPEN, 0, encode(PREFACE)), "of type 2 for number 0"),
        (frame(Kind.DATA, 0, b""), "of type 3 for number 0"),
        (frame(Kind.PING, 1, bytes(8)), "of type 8 for number 1"),
        (frame(Kind.PING, 0, bytes(7)), "of type 8 with 7 octets"),
        (header(Kind.PONG, 0, 9), "of type 9 with 9 octets"),
        (OPEN + frame(Kind.WINDOW, 1, bytes(3)), "of type 7 with 3 octets"),
        (OPEN + header(Kind.END, 1, 1), "of type 4 with 1 octets"),
        (header(Kind.GOODBYE, 0, WORD_LIMIT + 1), "of type 13 with 4097 octets"),
        (OPEN + header(Kind.DATA, 1, PAYLOAD_LIMIT + 1), "of type 3 with 65537 octets"),
        (header(Kind.CALL, 1, 2**24 - 1), "of type 10 with 16777215 octets"),
        (header(Kind.OPEN, 1, PAYLOAD_LIMIT + 1), "of type 2 with 65537 octets"),
        (b"\0\0\0\0\0\0\0\0", "unknown type 0"),
        (b"\0\0\0\x7f\0\0\0\0", "unknown type 127"),
        (b"\xff\xff\xff\x90\0\0\0\0", "of type 144 with 16777215 octets"),
        (frame(Kind.URGE, 1), "1, which was never begun"),
        (OPEN + header(Kind.URGE, 1, 1), "of type 128 with 1 octets"),
    ],
)
def test_who_breaks_a_rule_is_told_which_and_heard_no_more(octets: bytes, reason: str) -> None:
    backend = greeted()
    broken = backend.receive(octets)[-1]
    assert isinstance(broken, Broken)
    assert broken.reason.endswith(reason) or reason in broken.reason
    assert backend.wants is Wants.CLOSE
    assert backend.outgoing().endswith(frame(Kind.GOODBYE, 0, broken.reason.encode()))
    assert held(backend) == 0
    assert backend.receive(OPEN * 100) == []
    assert held(backend) == 0


@pytest.mark.parametrize(
    "octets",
    [
        OPEN,
        frame(Kind.PING, 0, bytes(8)),
        frame(Kind.DATA, 1, b"x"),
        b"\0\0\0\x90\0\0\0\0",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ],
)
def test_nothing_comes_before_hello(octets: bytes) -> None:
    backend = engine()
    (broken,) = backend.receive(octets)
    assert broken == Broken("no HELLO came first")
    assert held(backend) == 0


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x91" * 2000,
        encode(Hello(0, 1, "c1", "f1", "")),
        encode(Hello(1, 1, "c1", "a b", "")),
        encode(Hello(1, 1, "c1", "f1\n", "")),
        encode(Hello(1, 1, "c1", "x" * 254, "")),
        encode(Hello(1, 1, "c1", "f1", "", 2**30)),
        encode(Hello(1, 1, "c1", "f1", "", 0)),
        encode({"oldest": 1}),
    ],
)
def test_a_hello_that_cannot_be_read_ends_the_connection(payload: bytes) -> None:
    (broken,) = engine().receive(frame(Kind.HELLO, 0, payload))
    assert isinstance(broken, Broken)
    assert broken.reason.startswith("malformed Hello")


def test_before_hello_nothing_gathers_but_a_short_frame() -> None:
    backend = engine()
    octets = header(Kind.HELLO, 0, WORD_LIMIT) + bytes(WORD_LIMIT - 1)
    for at in range(0, len(octets), 100):
        backend.receive(octets[at : at + 100])
    assert held(backend) == len(octets)
    assert isinstance(engine().receive(header(Kind.HELLO, 0, WORD_LIMIT + 1))[0], Broken)


def heard(backend: Engine, octets: bytes) -> list[Event]:
    events = backend.receive(octets)
    assert backend.wants is Wants.MORE
    return events


@pytest.mark.parametrize(
    "preface",
    [
        Preface("IMAP"),
        Preface("imap\n"),
        Preface("x" * 33),
        Preface("imap", session="s" * 65),
        Preface("imap", hops=9),
        Preface("imap", hops=-1),
        Preface("imap", handle=bytes(65)),
        Preface("imap", resume=bytes(STATE_LIMIT + 1)),
        Preface("imap", tls=Tls("TLSv1.3", "x" * 65)),
        Preface("imap", tls=Tls("TLSv1.3", "x", "n" * 256)),
        {"protocol": "imap"},
        ["imap", bytes(15)],
        ["imap", b"", ["192.0.2.256", 1]],
        ["imap", b"", ["192.0.2.1.", 1]],
        ["imap", b"", ["192.0.2.1\n", 1]],
        ["imap", b"", ["192.0.2.01", 1]],
        ["imap", b"", ["::1%\nforged", 1]],
        ["imap", b"", ["example.org", 1]],
        ["imap", b"", ["1" * 60000, 1]],
        ["imap", b"", ["192.0.2.1", 65536]],
        ["imap", b"", ["192.0.2.1", -1]],
    ],
)
def test_a_preface_out_of_bounds_is_refused_and_others_live_on(preface: object) -> None:
    backend = greeted()
    assert heard(backend, frame(Kind.OPEN, 1, encode(preface)) + frame(Kind.DATA, 1, b"x")) == []
    refusal = decode_refusal(backend.outgoing()[8:])
    assert refusal.cause is Cause.INVALID
    assert refusal.what.startswith("malformed Preface")
    assert heard(backend, frame(Kind.OPEN, 3, encode(PREFACE))) == [Opened(3, PREFACE)]


def test_a_preface_of_a_later_release_has_more_fields() -> None:
    fields = [*Preface.__struct_fields__]
    later = [*(getattr(PREFACE, name) for name in fields), "something new"]
    assert decode(Preface, encode(later)) == PREFACE
    assert decode(Preface, encode(["lmtp"])) == Preface("lmtp")
    for address in ("", "0.0.0.0", "255.249.199.99", "::", "2001:db8::192.0.2.1", "ffff:" * 7 + "ffff"):
        assert decode(Preface, encode(Preface("imap", client=Endpoint(address, 65535)))) == Preface(
            "imap", client=Endpoint(address, 65535)
        )


def test_more_streams_than_there_may_be_are_refused_and_leave_nothing() -> None:
    backend = greeted(Limits(streams=10))
    octets = b"".join(frame(Kind.OPEN, number, encode(PREFACE)) for number in range(1, 2001, 2))
    assert len(heard(backend, octets)) == 10
    assert backend.streams == 10
    assert backend.outgoing().count(encode_refusal(NO_MORE_STREAMS)) == 990
    heard(backend, frame(Kind.RESET, 1, MOVED))
    assert len(heard(backend, frame(Kind.OPEN, 2001, encode(PREFACE)))) == 1


def test_more_calls_than_may_be_under_way_are_refused() -> None:
    backend = greeted(Limits(calls=3))
    events = heard(backend, b"".join(frame(Kind.CALL, number, b"?") for number in range(1, 21, 2)))
    assert events == [Called(1, b"?"), Called(3, b"?"), Called(5, b"?")]
    assert backend.outgoing().count(encode_refusal(NO_MORE_CALLS)) == 7


def test_a_stream_that_fills_the_connection_is_reset_and_its_octets_are_dropped() -> None:
    backend = greeted(Limits(unread=WINDOW + 100))
    second = frame(Kind.OPEN, 3, encode(PREFACE))
    heard(backend, OPEN + second + frame(Kind.DATA, 1, bytes(WINDOW)))
    assert heard(backend, frame(Kind.DATA, 3, bytes(101)))[-1] == Reset(3, NO_MORE_UNREAD)
    assert not backend.carries(3)
    assert heard(backend, frame(Kind.DATA, 3, b"more")) == []
    backend.consumed(1, WINDOW)
    third = frame(Kind.OPEN, 5, encode(PREFACE))
    assert heard(backend, third + frame(Kind.DATA, 5, b"x"))[-1] == Data(5, b"x")


def test_data_that_is_on_its_way_when_a_stream_is_reset_is_dropped_to_its_last_octet() -> None:
    backend = greeted()
    octets = OPEN + frame(Kind.DATA, 1, bytes(1000))
    heard(backend, octets[:-500])
    backend.reset(1, Refusal(Cause.MOVED))
    assert heard(backend, octets[-500:-1]) == []
    assert heard(backend, octets[-1:] + frame(Kind.DATA, 1, b"x") + frame(Kind.END, 1)) == []
    assert backend.idle


def test_end_and_reset_that_cross_harm_nobody() -> None:
    for first, second in (("end", "reset"), ("reset", "end"), ("reset", "reset"), ("end", "end"), ("refer", "reset")):
        one, other = pair()
        number = one.open(PREFACE)
        exchange(one, other)
        for side, what in ((one, first), (other, second)):
            if what == "end":
                side.end(number)
            elif what == "refer":
                side.refer(number, Referral("b2"))
            else:
                side.reset(number, Refusal(Cause.MOVED))
        exchange(one, other)
        assert one.wants is other.wants is Wants.MORE
        assert one.idle
        assert other.idle


def test_a_ping_flood_is_answered_once_and_gathers_nothing() -> None:
    backend = greeted()
    for _ in range(100):
        assert heard(backend, frame(Kind.PING, 0, b"flooding") * 1000) == []
    assert backend.queued == 16
    assert backend.outgoing() == frame(Kind.PONG, 0, b"flooding")
    assert backend.outgoing() == b""


def test_reasons_and_signals_that_cannot_be_read_are_taken_as_far_as_possible() -> None:
    one, other = pair()
    number = one.open(PREFACE)
    exchange(one, other)
    other._put(Kind.RESET, number, b"\xc1")
    (reset,) = exchange(one, other)[0]
    assert isinstance(reset, Reset)
    assert reset.refusal.cause is Cause.UNAVAILABLE
    assert decode_refusal(encode(["of-a-later-release", "x" * 2000])) == Refusal(Cause.UNAVAILABLE, "x" * 500)
    assert decode_refusal(encode_refusal(Refusal(Cause.DENIED, "y" * 2000))) == Refusal(Cause.DENIED, "y" * 500)
    backend = greeted()
    assert heard(backend, frame(Kind.CONTROL, 0, b"\xc1") + frame(Kind.CONTROL, 0, encode(Signal("BAD")))) == []
    assert heard(backend, frame(Kind.CONTROL, 0, encode(Signal("ban")))) == [Signalled(Signal("ban"))]


def test_a_referral_that_cannot_be_read_ends_the_stream() -> None:
    one, other = pair()
    number = one.open(PREFACE)
    exchange(one, other)
    other._put(Kind.REFER, number, encode(["b2", ["nowhere", 1]]))
    (reset,) = exchange(one, other)[0]
    assert isinstance(reset, Reset)
    assert reset.refusal.cause is Cause.INVALID
    assert one.idle


def test_numbers_come_to_an_end() -> None:
    backend = greeted()
    heard(backend, frame(Kind.OPEN, LAST_NUMBER, encode(PREFACE)))
    frontend, _ = pair()
    frontend._next = LAST_NUMBER
    assert frontend.open(PREFACE) == LAST_NUMBER
    assert not frontend.usable
