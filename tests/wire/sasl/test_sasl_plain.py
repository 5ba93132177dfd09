"""PLAIN and LOGIN: what they take, what they refuse, and that nothing makes them raise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.wire.sasl.plain import LoginEngine, PlainEngine
from rookery.wire.sasl.steps import MESSAGE_LIMIT, Challenge, CheckPassword, Failed


def test_plain_with_an_initial_response() -> None:
    assert PlainEngine().start(b"\0alice\0secret") == CheckPassword("", "alice", "secret")


def test_plain_without_one_asks_with_an_empty_challenge() -> None:
    engine = PlainEngine()
    assert engine.start(None) == Challenge(b"")
    assert engine.answer(b"boss\0alice@example.test\0p w") == CheckPassword("boss", "alice@example.test", "p w")


def test_plain_takes_utf8() -> None:
    assert PlainEngine().start("\0ålice\0pässwörd".encode()) == CheckPassword("", "ålice", "pässwörd")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"alice",
        b"\0alice",
        b"\0\0secret",
        b"\0alice\0",
        b"\0alice\0sec\0ret",  # NUL inside the password: not a longer password, not a shorter one
        b"\0alice\0\xff\xfe",
        b"\0ali\xc0\x80ce\0secret",  # overlong NUL
        b"\0alice\0" + b"x" * MESSAGE_LIMIT,
    ],
)
def test_plain_refuses(message: bytes) -> None:
    assert isinstance(PlainEngine().start(message), Failed)


def test_an_engine_ends_once() -> None:
    engine = PlainEngine()
    engine.start(b"\0alice\0secret")
    assert isinstance(engine.answer(b"\0alice\0secret"), Failed)


def test_login_in_two_prompts() -> None:
    engine = LoginEngine()
    assert engine.start(None) == Challenge(b"Username:")
    assert engine.answer(b"alice") == Challenge(b"Password:")
    assert engine.answer(b"secret") == CheckPassword("", "alice", "secret")
    assert isinstance(engine.answer(b"secret"), Failed)


def test_login_with_the_name_as_initial_response() -> None:
    engine = LoginEngine()
    assert engine.start(b"alice") == Challenge(b"Password:")
    assert engine.answer(b"secret") == CheckPassword("", "alice", "secret")


@pytest.mark.parametrize("message", [b"", b"a\0b", b"\xff", b"x" * (MESSAGE_LIMIT + 1)])
def test_login_refuses(message: bytes) -> None:
    engine = LoginEngine()
    engine.start(None)
    assert isinstance(engine.answer(message), Failed)


@given(st.lists(st.binary(max_size=64), max_size=4))
def test_no_octets_make_them_raise(messages: list[bytes]) -> None:
    for engine in (PlainEngine(), LoginEngine()):
        engine.start(None)
        for message in messages:
            step = engine.answer(message)
            if isinstance(step, CheckPassword):
                assert step.login
                assert step.password
                assert "\0" not in step.login + step.password + step.authzid


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(_TEXT, _TEXT)
def test_what_goes_in_comes_out(name: str, password: str) -> None:
    assert PlainEngine().start(f"\0{name}\0{password}".encode()) == CheckPassword("", name, password)
