"""The engine beyond single commands: literals, limits, SASL, IDLE, TLS, and any input at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.wire.engine import Wants
from rookery.wire.imap import commands as c
from rookery.wire.imap.engine import Engine
from rookery.wire.imap.events import Done, LiteralChunk, LiteralEnd, LiteralStart, Malformed, Request, SaslResponse
from rookery.wire.imap.limits import AFTER_LOGIN, APPEND_SKIP, BEFORE_LOGIN
from tests.wire.imap.imap_driver import feed, feed_pieces, new_engine, refused, three_ways


def test_one_command_at_a_time() -> None:
    """The answer to one may change how the next is read, so that it must have been given first."""
    engine = new_engine("new")
    (login,) = engine.receive(b"a LOGIN u p\r\nb SELECT INBOX\r\nc FETCH 1 FLAGS\r\n")
    assert isinstance(login, Request)
    engine.log_in()
    (select,) = engine.receive(b"")
    assert select == Request(b"b", c.Select("INBOX", False))
    engine.select()
    (fetch,) = engine.receive(b"")
    assert isinstance(fetch, Request)
    assert engine.receive(b"") == []
    assert not engine.unfinished


def test_a_synchronizing_literal_is_asked_for_when_its_turn_comes() -> None:
    engine = new_engine("new")
    assert engine.receive(b"a LOGIN {1}\r\n") == []
    assert engine.outgoing() == b"+ OK\r\n"
    assert engine.receive(b"u {1}\r\n") == []
    assert engine.outgoing() == b"+ OK\r\n"
    assert engine.receive(b"p\r\n") == [Request(b"a", c.Login(b"u", b"p"))]
    assert engine.outgoing() == b""


def test_a_synchronizing_literal_over_the_limit_is_refused_before_it_is_sent() -> None:
    answer = b"a BAD LOGIN: a literal of more than 4096 octets (at octet 9) [x]"
    malformed = refused(b"a LOGIN {4097}", "new")
    assert malformed.answer == answer.replace(b" [x]", b"\r\n").replace(b"LOGIN:", b"[TOOBIG] LOGIN:")
    assert not malformed.close
    engine = new_engine("new")
    feed(engine, b"a LOGIN {4097}\r\n")
    assert engine.outgoing() == b""
    assert feed(engine, b"b NOOP\r\n") == [Request(b"b", c.Noop())]


def test_a_literal_that_comes_unasked_is_read_past_or_ends_the_connection() -> None:
    events, output = three_ways(b"a LOGIN {5000+}\r\n" + b"x" * 5000 + b" {3+}\r\nabc\r\nb NOOP\r\n", "new")
    assert isinstance(events[0], Malformed)
    assert events[1:] == [Request(b"b", c.Noop())]
    assert output == b""
    malformed = refused(b"a LOGIN {999999+}", "new")
    assert malformed.close
    assert malformed.answer.endswith(b"* BYE too much that makes no sense\r\n")


def test_an_unknown_command_gets_no_literal() -> None:
    assert refused(b"a BOGUS {5}").answer == b"a BAD unknown command\r\n"
    assert refused(b"a SELECT {5}", "new").answer == b"a BAD SELECT: log in first\r\n"
    events, _ = three_ways(b"a BOGUS {5+}\r\nb NOO\r\nc NOOP\r\n")
    assert [type(event) for event in events] == [Malformed, Request]


def test_literals_together_are_limited() -> None:
    size = AFTER_LOGIN.literal
    engine = new_engine()
    data = b"a SEARCH" + (b" TEXT {%d+}\r\n" % size + b"x" * size) * 5 + b"\r\n"
    (event,) = feed(engine, data)
    assert isinstance(event, Malformed)
    assert b"[TOOBIG]" in event.answer


def test_literal_minus_limits_what_comes_unasked() -> None:
    assert b"[TOOBIG]" in refused(b"a APPEND x {4097+}", literal_minus=True).answer
    events, _ = three_ways(b"a APPEND x {4+}\r\nabcd\r\n", literal_minus=True)
    assert isinstance(events[0], LiteralStart)


def test_append_is_refused_before_the_message_is_sent() -> None:
    engine = new_engine()
    (start,) = engine.receive(b"a APPEND nowhere {1000000}\r\n")
    assert isinstance(start, LiteralStart)
    assert engine.unfinished
    engine.refuse_literal(b"a NO [TRYCREATE] no such mailbox\r\n")
    assert engine.outgoing() == b"a NO [TRYCREATE] no such mailbox\r\n"
    assert feed(engine, b"b NOOP\r\n") == [Request(b"b", c.Noop())]


def test_a_refused_message_that_comes_anyway_is_read_past() -> None:
    engine = new_engine()
    engine.receive(b"a APPEND nowhere {10+}\r\nb NOOP")
    engine.refuse_literal(b"a NO\r\n")
    assert feed(engine, b"\r\n\r\n (\\Seen) {3+}\r\nc N\r\nd NOOP\r\n") == [Request(b"d", c.Noop())]


def test_a_refused_message_too_large_to_read_past() -> None:
    engine = new_engine()
    engine.receive(b"a APPEND nowhere {%d+}\r\n" % (APPEND_SKIP + 1))
    engine.refuse_literal(b"a NO\r\n")
    assert engine.wants is Wants.CLOSE
    assert engine.outgoing().endswith(b"* BYE too much to read past\r\n")


def test_a_message_streams_without_gathering() -> None:
    engine = new_engine()
    engine.receive(b"a APPEND x {300000}\r\n")
    engine.accept_literal()
    for _ in range(4):
        assert engine.receive(b"y" * 70_000) == [LiteralChunk(b"y" * 70_000)]
        assert engine.leftover() == b""
    assert engine.receive(b"y" * 20_000 + b"\r\n") == [
        LiteralChunk(b"y" * 20_000), LiteralEnd(), Request(b"a", c.AppendDone()),
    ]  # fmt: skip


def test_what_follows_a_message_must_be_right() -> None:
    events, _ = three_ways(b"a APPEND x {1+}\r\nyoops\r\nb NOOP\r\n")
    assert isinstance(events[-2], Malformed)
    assert events[-2].tag == b"a"
    assert events[-1] == Request(b"b", c.Noop())


def test_literals_are_answered_only_when_announced() -> None:
    engine = new_engine()
    for answer in (engine.accept_literal, lambda: engine.refuse_literal(b"")):
        with pytest.raises(RuntimeError):
            answer()
    engine.receive(b"a APPEND x {1}\r\n")
    assert engine.receive(b"y") == []  # held until the session has decided


def test_lines_end_in_crlf_only() -> None:
    events, _ = three_ways(b"a NOOP\nb NOOP\r\n")
    assert isinstance(events[0], Malformed)
    assert events[0].answer == b"a BAD a line ended by a lone LF (at octet 7)\r\n"
    assert events[1:] == [Request(b"b", c.Noop())]


@pytest.mark.parametrize("state", ["new", "selected"])
def test_an_endless_line_is_answered_once_and_dropped(state: str) -> None:
    limits = BEFORE_LOGIN if state == "new" else AFTER_LOGIN
    engine = new_engine(state)
    (event,) = feed(engine, b"a NOOP " + b"x" * limits.line)
    assert isinstance(event, Malformed)
    assert event.answer == b"a BAD NOOP: a line of more than %d octets\r\n" % limits.line
    events = feed_pieces(engine, [b"y" * 1000] * (limits.skip // 1000 + 2))
    assert [type(e) for e in events] == [Malformed]
    assert engine.wants is Wants.CLOSE
    assert len(engine.leftover()) < 100


def test_a_long_line_that_ends_is_got_over() -> None:
    events, _ = three_ways(b"a NOOP " + b"x" * BEFORE_LOGIN.line + b"\r\nb NOOP\r\n", "new")
    assert [type(event) for event in events] == [Malformed, Request]


def test_nonsense_ends_the_connection_in_time() -> None:
    events, _ = three_ways(b"HELO x\r\nwhat is this\r\n" * 20, "new")
    assert len(events) == BEFORE_LOGIN.bad
    assert isinstance(events[-1], Malformed)
    assert events[-1].close
    assert not any(event.close for event in events[:-1] if isinstance(event, Malformed))


def test_sasl_exchange() -> None:
    engine = new_engine("new")
    assert engine.receive(b"a AUTHENTICATE PLAIN\r\n") == [Request(b"a", c.Authenticate("PLAIN", None))]
    engine.challenge()
    assert engine.outgoing() == b"+ \r\n"
    assert engine.receive(b"AGEAYg==\r\nb NOOP\r\n") == [SaslResponse(b"a", b"\x00a\x00b")]
    engine.challenge(b"more")
    assert engine.outgoing() == b"+ bW9yZQ==\r\n"
    (wrong,) = engine.receive(b"")
    assert wrong == Malformed(b"a", b"a BAD not base64\r\n", "not base64")
    assert feed(engine, b"c NOOP\r\n") == [Request(b"c", c.Noop())]


def test_sasl_cancelled_empty_and_too_long() -> None:
    engine = new_engine("new")
    for line, data in ((b"*", None), (b"", b"")):
        engine.receive(b"a AUTHENTICATE X\r\n")
        engine.challenge()
        assert engine.receive(line + b"\r\n") == [SaslResponse(b"a", data)]
    engine.receive(b"a AUTHENTICATE X\r\n")
    engine.challenge()
    (event,) = feed(engine, b"A" * 10_000)
    assert isinstance(event, Malformed)
    assert event.tag == b"a"


def test_idle() -> None:
    engine = new_engine()
    engine.receive(b"a IDLE\r\n")
    engine.idle()
    assert engine.outgoing() == b"+ idling\r\n"
    assert not engine.unfinished
    assert feed_pieces(engine, [b"DO", b"NE\r", b"\nb NOOP\r\n"]) == [Done(b"a"), Request(b"b", c.Noop())]
    engine.receive(b"c IDLE\r\n")
    engine.idle()
    assert feed(engine, b"d NOOP\r\n") == [Malformed(b"c", b"c BAD expected DONE\r\n", "expected DONE")]
    assert feed(engine, b"e NOOP\r\n") == [Request(b"e", c.Noop())]


def test_start_tls_forgets_what_was_sent_in_clear() -> None:
    engine = new_engine("new")
    engine.receive(b"a STARTTLS\r\nb LOGIN mallory x\r\n")
    engine.send(b"a OK\r\n")
    engine.start_tls()
    assert engine.wants is Wants.START_TLS
    assert engine.receive(b"") == []
    assert engine.leftover() == b"b LOGIN mallory x\r\n"  # for the pump to see
    engine.tls_started()
    assert engine.receive(b"c NOOP\r\n") == [Request(b"c", c.Noop())]


def test_logout_reads_no_more() -> None:
    engine = new_engine()
    engine.receive(b"a LOGOUT\r\nb NOOP\r\n")
    engine.send(b"* BYE\r\na OK\r\n")
    engine.log_out()
    assert engine.wants is Wants.CLOSE
    assert engine.receive(b"c NOOP\r\n") == []
    assert engine.outgoing() == b"* BYE\r\na OK\r\n"
    assert engine.outgoing() == b""


TEXT = rb"""a NOOP FETCH UID 1:* $ ( ) {3} {3+} ~{2+} {9999+} " \Seen FLAGS BODY[ ] SEARCH OR NOT ALL APPEND INBOX UTF8
LIST * SELECT & AUTHENTICATE PLAIN IDLE DONE LOGIN <1.2> STORE + RETURN HEADER.FIELDS"""
WORDS = st.sampled_from([*TEXT.split(), b" ", b" ", b" ", b"\r\n", b"\r\n", b"\n", b"\x00", b"\xff"])


@given(st.lists(WORDS, max_size=30).map(b"".join) | st.binary(max_size=100), st.sampled_from(["new", "selected"]))
def test_nothing_breaks_it_however_it_comes(data: bytes, state: str) -> None:
    three_ways(data, state)


@given(st.lists(WORDS, max_size=30).map(b"".join))
def test_nothing_breaks_its_other_modes(data: bytes) -> None:
    for begin in (Engine.challenge, Engine.idle):
        engine = new_engine()
        engine.receive(b"a IDLE\r\n")
        begin(engine)
        for event in feed(engine, data + b"\r\n"):
            if isinstance(event, Malformed):
                assert event.answer.endswith(b"\r\n")
                assert event.answer.count(b"\r\n") <= 2
