"""The text of a join token: what it carries, and what is said of one that was mistyped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.cluster import tokens

TOKEN = tokens.Token("ab" * 16, b"12345678", b"p" * 32, b"s" * 32, ("mail.example.org:7000", "[2001:db8::1]:7000"))
TEXT = TOKEN.text()


def refused(text: str) -> RookeryError:
    with pytest.raises(RookeryError) as caught:
        tokens.parse(text)
    assert len(text) < 40 or text[20:] not in caught.value.what
    return caught.value


def test_there_and_back() -> None:
    assert tokens.parse(TEXT) == TOKEN
    assert tokens.parse(f"  {TEXT[:50].upper()}\r\n\t{TEXT[50:]}\n") == TOKEN
    made = tokens.make("ab" * 16, b"p" * 32, ["Mail.Example.org", "[2001:db8::1]:70"], 7000, lambda size: b"r" * size)
    assert made.addresses == ("mail.example.org:7000", "[2001:db8::1]:70")
    assert tokens.parse(made.text()) == made


def test_the_secret_is_not_shown_by_accident() -> None:
    for text in (repr(TOKEN), str(TOKEN), f"{TOKEN!r}"):
        assert "sss" not in text
        assert TEXT[14:] not in text


@given(st.integers(0, len(TEXT) - 1), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567-:"))
def test_each_wrong_character_is_found(at: int, wrong: str) -> None:
    changed = TEXT[:at] + wrong + TEXT[at + 1 :]
    if changed != TEXT:
        assert refused(changed).cause in (Cause.INVALID, Cause.UNSUPPORTED)
    refused(TEXT[:at] + TEXT[at + 1 :])
    refused(TEXT[:at])


@given(st.text(max_size=300))
def test_what_is_no_token_is_refused(text: str) -> None:
    assert refused(text).cause is Cause.INVALID
    assert refused("rookery-join-1:" + text).cause is Cause.INVALID


def test_what_is_wrong_is_said() -> None:
    assert "copy the whole" in refused(TEXT[:-3]).what
    assert "begins with rookery-join-1:" in refused("hunter2").what
    later = refused(TEXT.replace("join-1:", "join-2:"))
    assert later.cause is Cause.UNSUPPORTED
    assert "another release" in later.what
    assert "far too long" in refused("rookery-join-1:" + "a" * 10_000).what
