"""The engine of the cluster port: two of them, and one against octets that somebody made up."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.wire.cluster.events import (
    Answered,
    Broken,
    Called,
    Credited,
    Data,
    Ended,
    Farewell,
    GivenUp,
    Greeted,
    Opened,
    Ponged,
    Referred,
    Refused,
    Reset,
    Signalled,
    Urged,
)
from rookery.wire.cluster.frames import PAYLOAD_LIMIT, Kind, frame
from rookery.wire.cluster.speaking import LEAVING, Limits
from rookery.wire.cluster.values import Hello, Referral, Signal, encode, encode_refusal
from rookery.wire.engine import Wants
from rookery.wire.proxy import Endpoint
from tests.wire.cluster.talk import (
    FRONTEND,
    HELLO,
    OPEN,
    PREFACE,
    WINDOW,
    engine,
    exchange,
    greeted,
    held,
    joined,
    pair,
)

REFUSAL = Refusal(Cause.MOVED, "to b2")
SESSION = (
    HELLO
    + OPEN
    + frame(Kind.DATA, 1, b"a" * 1000)
    + frame(Kind.DATA, 1, b"b" * 24)
    + frame(0x93, 7, b"of a later release")
    + frame(Kind.CALL, 3, b"who?")
    + frame(Kind.PING, 0, b"12345678")
    + frame(Kind.CONTROL, 0, encode(Signal("ban", b"192.0.2.9")))
    + frame(Kind.WINDOW, 1, (500).to_bytes(4, "big"))
    + frame(Kind.END, 1)
    + frame(Kind.OPEN, 5, encode(PREFACE))
    + frame(Kind.RESET, 5, encode_refusal(REFUSAL))
    + frame(Kind.DATA, 5, b"too late")
    + frame(Kind.RESET, 3, encode_refusal(REFUSAL))
)
HEARD = [
    Greeted(FRONTEND, 1),
    Opened(1, PREFACE),
    Data(1, b"a" * 1000 + b"b" * 24),
    Called(3, b"who?"),
    Signalled(Signal("ban", b"192.0.2.9")),
    Credited(1),
    Ended(1),
    Opened(5, PREFACE),
    Reset(5, REFUSAL),
    GivenUp(3),
]


# --- what is said


def test_both_introduce_themselves_and_the_highest_common_version_is_spoken() -> None:
    old, new = engine(Hello(1, 3, "c1", "old", "0.1")), engine(Hello(2, 5, "c1", "new", "0.4"), dialler=True)
    old.receive(frame(Kind.HELLO, 0, encode(Hello(2, 5, "c1", "new", "0.4"))))
    assert new.receive(frame(Kind.HELLO, 0, encode(Hello(1, 3, "c1", "old", "0.1")))) == [
        Greeted(Hello(1, 3, "c1", "old", "0.1"), 3)
    ]
    assert (old.version, new.version) == (3, 3)


@pytest.mark.parametrize(
    ("hello", "names"),
    [
        (Hello(2, 3, "c1", "f1", "0.9"), ["b1 (0.1) speaks versions 1 to 1", "f1 (0.9) speaks versions 2 to 3"]),
        (Hello(1, 1, "c2", "f1", "0.1"), ["b1 is of cluster c1", "f1 of c2"]),
    ],
)
def test_who_has_nothing_in_common_is_told_so_by_name(hello: Hello, names: list[str]) -> None:
    backend = engine()
    (broken,) = backend.receive(frame(Kind.HELLO, 0, encode(hello)))
    assert isinstance(broken, Broken)
    assert all(name in broken.reason for name in names)
    assert backend.wants is Wants.CLOSE
    assert engine(FRONTEND, dialler=True).receive(backend.outgoing()) == [Farewell(broken.reason)]


def test_a_stream_carries_octets_both_ways_and_leaves_nothing() -> None:
    one, other = pair()
    number = one.open(PREFACE)
    assert one.send(number, b"request") == 7
    one.end(number)
    assert exchange(one, other)[1] == [Opened(1, PREFACE), Data(1, b"request"), Ended(1)]
    other.send(number, b"response")
    other.end(number)
    assert exchange(one, other)[0] == [Data(1, b"response"), Ended(1)]
    assert held(one) == held(other) == 0
    assert one.idle
    assert other.open(PREFACE) == 2
    assert exchange(one, other)[0] == [Opened(2, PREFACE)]


def test_no_more_is_sent_than_the_window_and_reading_opens_it_again() -> None:
    one, other = pair()
    number = one.open(PREFACE)
    assert one.send(number, bytes(3 * WINDOW)) == WINDOW
    assert one.send(number, b"x") == 0
    exchange(one, other)
    other.consumed(number, WINDOW // 2 - 1)
    assert not other.queued
    other.consumed(number, 1)
    assert exchange(one, other)[0] == [Credited(number)]
    assert one.send(number, bytes(WINDOW)) == WINDOW // 2


def test_long_data_goes_in_frames_of_the_longest_kind() -> None:
    one, other = engine(Hello(1, 1, "c1", "f1", "0.1"), dialler=True), engine(Hello(1, 1, "c1", "b1", "0.1"))
    one.receive(frame(Kind.HELLO, 0, encode(Hello(1, 1, "c1", "b1", "0.1"))))
    other.receive(frame(Kind.HELLO, 0, encode(Hello(1, 1, "c1", "f1", "0.1"))))
    data = bytes(range(256)) * 700
    assert one.send(one.open(PREFACE), memoryview(data)) == len(data)
    events = exchange(one, other)[1]
    assert [len(event.data) for event in events if isinstance(event, Data)] == [65536, 65536, 48128]
    assert joined(events)[-1] == Data(1, data)


def test_a_stream_is_reset_or_referred_with_the_reason_and_the_state() -> None:
    one, other = pair()
    first, second = one.open(PREFACE), one.open(PREFACE)
    exchange(one, other)
    other.send(second, b"last words")
    other.reset(first, REFUSAL)
    referral = Referral("b2", Endpoint("192.0.2.2", 9000), b"selected INBOX")
    other.refer(second, referral)
    assert exchange(one, other)[0] == [
        Data(second, b"last words"),
        Reset(first, REFUSAL),
        Referred(second, referral),
    ]
    assert held(one) == held(other) == 0
    assert one.send(first, b"nobody there") == 12
    other.reset(first, REFUSAL)
    assert not one.queued + other.queued


def test_calls_are_answered_refused_and_given_up() -> None:
    one, other = pair()
    answered, refused, given_up = one.call(b"a"), one.call(b"b"), one.call(b"c")
    back = other.call(b"d")
    heard = exchange(one, other)
    assert heard == ([Called(back, b"d")], [Called(1, b"a"), Called(3, b"b"), Called(5, b"c")])
    one.reset(given_up, REFUSAL)
    other.reset(refused, REFUSAL)
    other.answer(answered, b"yes")
    assert exchange(one, other) == ([Refused(refused, REFUSAL), Answered(answered, b"yes")], [GivenUp(given_up)])
    other.answer(given_up, b"too late")
    one.answer(back, b"me")
    assert exchange(one, other) == ([], [Answered(back, b"me")])
    assert one.idle
    assert other.idle


def test_an_answer_that_crosses_its_giving_up_is_dropped() -> None:
    one, other = pair()
    number = one.call(b"?")
    exchange(one, other)
    one.reset(number, REFUSAL)
    other.answer(number, b"!")
    assert exchange(one, other) == ([], [])


def test_of_pings_that_come_together_the_last_is_answered() -> None:
    one, other = pair()
    for token in (b"11111111", b"22222222"):
        one.ping(token)
    assert exchange(one, other)[0] == [Ponged(b"22222222")]


def test_only_who_has_opened_a_stream_urges_it_to_its_end() -> None:
    frontend, backend = pair()
    number = frontend.open(PREFACE)
    exchange(frontend, backend)
    backend.urge(number)
    assert exchange(frontend, backend) == ([], [])
    assert frontend.urge(number)
    backend.goodbye("leaving")
    assert exchange(frontend, backend) == ([Farewell("leaving")], [Urged(number)])
    frontend.end(number)
    backend.end(number)
    exchange(frontend, backend)
    assert not frontend.urge(number)
    assert frontend.wants is backend.wants is Wants.CLOSE


def test_after_goodbye_what_was_begun_ends_in_peace() -> None:
    one, other = pair()
    number = one.open(PREFACE)
    exchange(one, other)
    crossing = one.open(PREFACE)
    other.goodbye("the node is drained")
    assert exchange(one, other)[0] == [Farewell("the node is drained"), Reset(crossing, LEAVING)]
    for side in (one, other):
        assert not side.usable
        with pytest.raises(RookeryError, match="nothing new"):
            side.open(PREFACE)
        with pytest.raises(RookeryError, match="nothing new"):
            side.call(b"")
    one.send(number, b"the rest")
    one.end(number)
    assert exchange(one, other)[1] == [Data(number, b"the rest"), Ended(number)]
    assert other.wants is Wants.MORE
    other.end(number)
    assert other.wants is Wants.CLOSE
    exchange(one, other)
    assert one.wants is Wants.CLOSE


def test_an_idle_connection_ends_with_its_goodbye() -> None:
    one, other = pair()
    one.goodbye("not used")
    assert one.wants is Wants.CLOSE
    assert exchange(one, other)[1] == [Farewell("not used")]
    assert other.wants is Wants.CLOSE


def test_nothing_is_begun_before_the_peer_has_said_hello() -> None:
    with pytest.raises(RookeryError):
        engine(dialler=True).open(PREFACE)


def test_what_is_too_long_for_a_frame_is_refused_here() -> None:
    one, other = pair()
    for attempt in (lambda: one.call(bytes(PAYLOAD_LIMIT + 1)), lambda: one.signal(Signal("x", bytes(PAYLOAD_LIMIT)))):
        with pytest.raises(RookeryError) as caught:
            attempt()
        assert caught.value.cause is Cause.TOO_BIG
    number = one.call(b"?")
    exchange(one, other)
    with pytest.raises(RookeryError):
        other.answer(number, bytes(PAYLOAD_LIMIT + 1))
    with pytest.raises(ValueError, match="state"):
        Referral("b2", state=bytes(PAYLOAD_LIMIT))
    other.answer(number, bytes(PAYLOAD_LIMIT))
    assert exchange(one, other) == ([Answered(number, bytes(PAYLOAD_LIMIT))], [])


def test_there_are_so_many_streams_and_calls_and_no_more() -> None:
    one, other = pair(Limits(streams=2, calls=1))
    one.open(PREFACE)
    one.open(PREFACE)
    one.call(b"")
    for more in (lambda: one.open(PREFACE), lambda: one.call(b"")):
        with pytest.raises(RookeryError) as caught:
            more()
        assert caught.value.cause is Cause.TOO_MANY
    other.open(PREFACE)  # each side has its own
    assert [type(event) for event in exchange(one, other)[0]] == [Opened]
    one.reset(1, REFUSAL)
    assert one.open(PREFACE) == 7


# --- what is heard, however it is cut


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, len(SESSION)])
def test_a_session_in_pieces_of_any_size(size: int) -> None:
    backend = engine()
    events = []
    for at in range(0, len(SESSION), size):
        events += backend.receive(SESSION[at : at + size])
    assert joined(events) == HEARD
    assert backend.outgoing() == frame(Kind.PONG, 0, b"12345678")
    assert backend.wants is Wants.MORE


@given(st.data())
def test_a_session_with_any_cuts_and_something_behind_it(data: st.DataObject) -> None:
    trailing = data.draw(st.binary(max_size=6))  # less than a header
    whole = SESSION + trailing
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    backend = engine()
    events = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        events += backend.receive(whole[start:end])
    assert joined(events) == HEARD
    assert backend._held == trailing


_frames = st.builds(
    lambda kind, number, payload: frame(kind, number, payload),
    st.sampled_from([*Kind, 0, 14, 0x7F, 0x90, 0xFF]),  # type: ignore[list-item]
    st.sampled_from([0, 1, 2, 3, 4, 5, 2**32 - 1]),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([encode(PREFACE), encode(FRONTEND), encode(Signal("x")), bytes(4), bytes(8), b""]),
    ),
)


@given(st.lists(st.one_of(_frames, st.binary(max_size=30)), max_size=30), st.booleans())
def test_garbage_never_crashes_and_never_grows(pieces: list[bytes], after_hello: bool) -> None:
    backend = greeted() if after_hello else engine()
    mine = [backend.open(PREFACE), backend.call(b"?")] if after_hello else []
    for piece in pieces:
        events = backend.receive(piece)
        assert len(events) <= len(piece)
        assert held(backend) <= 8 + PAYLOAD_LIMIT + len(pieces) + len(mine) + 16
        if backend.wants is Wants.CLOSE:
            assert held(backend) <= 16
            assert backend.receive(b"more" * 1000) == []
            assert held(backend) <= 16
            break
    backend.outgoing()
    assert not backend.queued


@given(st.lists(st.integers(0, 9), max_size=60), st.randoms(use_true_random=False))
def test_two_engines_that_keep_the_rules_never_fall_out(steps: list[int], dice: Random) -> None:
    """Opens, sends, ends, resets, calls and answers in any order, crossing on their way: nobody is Broken, every octet
    that was taken arrives in order unless the stream was reset, and at the end nothing is left.
    """
    sides = pair()
    numbers: tuple[list[int], list[int]] = [], []
    asked: tuple[list[int], list[int]] = [], []
    sent: dict[tuple[int, int], bytes] = {}
    got: dict[tuple[int, int], bytes] = {}
    resets: set[int] = set()

    def hear(at: int, octets: bytes) -> None:
        for event in sides[at].receive(octets):
            assert not isinstance(event, Broken)
            if isinstance(event, Opened):
                numbers[at].append(event.stream)
            elif isinstance(event, Data):
                got[at, event.stream] = got.get((at, event.stream), b"") + event.data
                sides[at].consumed(event.stream, len(event.data))
            elif isinstance(event, Called):
                asked[at].append(event.call)
            elif isinstance(event, Reset):
                resets.add(event.stream)

    for step, what in enumerate(steps):
        at = step % 2
        side = sides[at]
        number = dice.choice(numbers[at]) if numbers[at] else 0
        if what <= 1:
            numbers[at].append(side.open(PREFACE))
        elif what <= 3 and number and side.carries(number) and not side._flows[number].ended:
            data = bytes([step]) * 3000
            taken = side.send(number, data)
            sent[at, number] = sent.get((at, number), b"") + data[:taken]
        elif what == 4 and number:
            side.end(number)
        elif what == 5 and number:
            resets.add(number)
            side.reset(number, REFUSAL)
        elif what == 6:
            side.call(b"?")
        elif what == 7 and asked[at]:
            side.answer(asked[at].pop(), b"!")
        elif what == 8:
            hear(1 - at, side.outgoing())
        elif what == 9:
            side.ping(b"12345678")
    for _ in range(4):
        for at in (0, 1):
            hear(1 - at, sides[at].outgoing())
    for (at, number), octets in sent.items():
        arrived = got.get((1 - at, number), b"")
        assert arrived == octets or (number in resets and octets.startswith(arrived))
    for at in (0, 1):
        for number in numbers[at]:
            sides[at].reset(number, REFUSAL)
        for number in asked[at]:
            sides[at].answer(number, b"!")
    for _ in range(4):
        for at in (0, 1):
            hear(1 - at, sides[at].outgoing())
    assert sides[0].idle
    assert sides[1].idle
    assert sides[0]._unread == sides[1]._unread == 0
