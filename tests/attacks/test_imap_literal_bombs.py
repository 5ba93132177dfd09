"""Literals announced to make a server hold memory, or to smuggle commands past it."""

import pytest

from rookery.wire.engine import Wants
from rookery.wire.imap import commands as c
from rookery.wire.imap.engine import Engine
from rookery.wire.imap.events import LiteralChunk, LiteralStart, Malformed, Request
from rookery.wire.imap.limits import AFTER_LOGIN, BEFORE_LOGIN
from tests.wire.imap.imap_driver import feed, new_engine


@pytest.mark.parametrize("size", [4097, 1 << 31, 1 << 32, 1 << 64, 10**19, 99999999999999999999])
@pytest.mark.parametrize("plus", [b"", b"+"])
@pytest.mark.parametrize("state", ["new", "selected"])
def test_a_huge_literal_is_never_asked_for(size: int, plus: bytes, state: str) -> None:
    engine = new_engine(state)
    if state == "selected":
        size = max(size, AFTER_LOGIN.literal + 1)
    verb = b"LOGIN" if state == "new" else b"SELECT"
    events = feed(engine, b"a %b {%d%b}\r\n" % (verb, size, plus))
    assert len(events) == 1
    assert isinstance(events[0], Malformed)
    assert b"BAD [TOOBIG]" in events[0].answer
    assert engine.outgoing() == b""
    limits = BEFORE_LOGIN if state == "new" else AFTER_LOGIN
    assert (engine.wants is Wants.CLOSE) == (bool(plus) and size > limits.skip)


def test_before_login_nothing_gathers() -> None:
    engine = Engine()
    for _ in range(20):
        feed(engine, b"a LOGIN {4000+}\r\n" + b"x" * 4000)
        feed(engine, b" {4000+}\r\n" + b"y" * 4000 + b" {4000+}\r\n" + b"z" * 4000 + b"\r\n")
        assert len(engine.leftover()) <= BEFORE_LOGIN.command + BEFORE_LOGIN.line
        if engine.wants is Wants.CLOSE:
            return
    pytest.fail("endless nonsense was borne")


def test_append_is_not_open_to_strangers() -> None:
    (event,) = feed(Engine(), b"a APPEND INBOX {10}\r\n")
    assert isinstance(event, Malformed)


def test_a_message_that_is_streamed_is_never_held() -> None:
    engine = new_engine()
    (start,) = engine.receive(b"a APPEND x {%d+}\r\n" % (1 << 40))
    assert isinstance(start, LiteralStart)
    engine.accept_literal()
    for _ in range(100):
        (chunk,) = engine.receive(b"y" * 65536)
        assert isinstance(chunk, LiteralChunk)
        assert engine.leftover() == b""


def test_many_small_literals_are_one_command_too_large() -> None:
    engine = new_engine()
    events = feed(engine, b"a SEARCH" + b" TEXT {1+}\r\nx" * 100_000 + b"\r\n")
    assert isinstance(events[0], Malformed)
    assert len(engine.leftover()) <= AFTER_LOGIN.command + AFTER_LOGIN.line


@pytest.mark.parametrize(
    "announcement",
    [
        b"{5-}",
        b"{+5}",
        b"{ 5}",
        b"{5 }",
        b"{0x5}",
        b"{-5}",
        b"{5++}",
        b"~~{5}",
        b"{}",
        b"{5",
        b"x{5}",
        b"x{5+}",
        b'"x"{5+}',
        b"{5}x",
    ],
)
def test_what_only_looks_like_a_literal_swallows_nothing(announcement: bytes) -> None:
    """Else what one reader takes for a literal is a command to the next."""
    events = feed(new_engine(), b"a SELECT " + announcement + b"\r\nb NOOP\r\n")
    assert isinstance(events[0], Malformed)
    assert events[1:] == [Request(b"b", c.Noop())]


def test_a_literal_inside_a_quoted_string_is_still_read_past() -> None:
    """The line ends in an announcement, so the client may send it whatever the quotes say; it is no command then."""
    events = feed(new_engine(), b'a SELECT "x {8+}\r\nb NOOP\r\n\r\nc NOOP\r\n')
    assert [type(event) for event in events] == [Malformed, Request]
    assert events[-1] == Request(b"c", c.Noop())
