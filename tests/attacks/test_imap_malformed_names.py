"""Mailbox names that are not what they seem: malformed modified UTF-7 and UTF-8, overlong forms, surrogates, NUL."""

import pytest

from rookery.wire.imap import commands as c
from rookery.wire.imap.events import Malformed, Request
from tests.wire.imap.imap_driver import feed, new_engine

COMMANDS = (b"SELECT %b", b"CREATE %b", b"RENAME a %b", b'LIST "" %b', b"STATUS %b (MESSAGES)", b"APPEND %b {1+}")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "name",
    [b"&", b"&AGE-", b"&Jjo", b"&2D0-", b"&3gA-", b"&AC8-", b"&AAo", b"&U,BTFw-&ZeVnLIqe-", b'"caf\xe9"', b'"\xc0\xaf"',
     b'"&\xc3\xa4-"'],
)  # fmt: skip
def test_malformed_utf7_names_nothing(command: bytes, name: bytes) -> None:
    events = feed(new_engine(), b"a " + command % name + b"\r\n")
    assert isinstance(events[0], Malformed)
    assert events[0].answer.startswith(b"a NO [CANNOT] ")
    assert events[0].answer.isascii()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "name",
    [b'"\xff"', b'"\xc0\xaf"', b'"\xe0\x80\xaf"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xc3"', b'"a\x80b"',
     b"{2+}\r\n\xc0\xaf"],
)  # fmt: skip
def test_malformed_utf8_names_nothing(command: bytes, name: bytes) -> None:
    """Overlong forms, surrogates, numbers beyond Unicode, cut sequences (RFC 3629 section 10)."""
    engine = new_engine()
    engine.utf8 = True
    events = feed(engine, b"a " + command % name + b"\r\n")
    assert isinstance(events[0], Malformed)
    assert events[0].answer.startswith(b"a BAD ")
    assert events[0].answer.isascii()


@pytest.mark.parametrize("name", [b"a\x00b", b'"a\x00b"', b"{3+}\r\na\x00b", b'"a\rb"', b"a\x07b", b"a\x7fb"])
def test_control_characters_do_not_get_through_as_octets(name: bytes) -> None:
    events = feed(new_engine(), b"a SELECT " + name + b"\r\n")
    assert isinstance(events[0], Malformed)


def test_what_is_coded_reaches_the_store_as_what_it_is_and_is_judged_there() -> None:
    """A line end in base64 is well-formed UTF-7: the store refuses such names, so the name must arrive undisguised."""
    (event,) = feed(new_engine(), b"a CREATE a&AA0ACg-b\r\n")
    assert event == Request(b"a", c.Create("a\r\nb"))


def test_no_answer_repeats_what_was_sent() -> None:
    """An answer that quoted its input could be made to look like another response."""
    for line in (
        b"a SELECT {11+}\r\n\r\n* BYE you \x00",
        b"a FETCH 1 EVIL",
        b"EVIL",
        b"a EVIL",
        b"a SEARCH CHARSET EVIL ALL",
    ):
        for event in feed(new_engine(), line + b"\r\n"):
            assert isinstance(event, Malformed)
            assert event.answer.removeprefix(b"EVIL ").upper().count(b"EVIL") == 0
            assert b"you" not in event.answer
