"""SASLprep: the examples of RFC 4013 section 3, and what holds for every text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.wire.sasl.saslprep import saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("pass\u00a0word", "pass word"),
        ("", ""),
        ("pencil 😀", "pencil 😀"),  # younger than Unicode 3.2
    ],
)
def test_examples(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "a\u0000b", "\ud800", "\ue000", "\u0627a\u0628"])
def test_prohibited(text: str) -> None:
    with pytest.raises(ValueError):
        saslprep(text)


@given(st.text(max_size=40))
def test_it_answers_or_says_no(text: str) -> None:
    try:
        prepared = saslprep(text)
    except ValueError:
        return
    assert "\0" not in prepared
