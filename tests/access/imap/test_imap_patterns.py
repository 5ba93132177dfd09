"""Name patterns against a slow oracle, and in time that does not depend on how wild they are."""

import re

from hypothesis import given
from hypothesis import strategies as st

from rookery.access.imap.patterns import matcher

TEXT = st.text("ab/%*", max_size=12)
NAME = st.text("ab/", min_size=1, max_size=12)


def _oracle(pattern: str, name: str) -> bool:
    parts = {"*": ".*", "%": "[^/]*"}
    return re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), name) is not None


@given(TEXT, NAME)
def test_patterns_match_like_the_oracle(pattern: str, name: str) -> None:
    assert matcher("", [pattern])(name) == _oracle(pattern, name)


@given(TEXT, TEXT, NAME)
def test_the_reference_comes_before_the_pattern(reference: str, pattern: str, name: str) -> None:
    assert matcher(reference, [pattern])(name) == _oracle(reference + pattern, name)


def test_inbox_has_no_case() -> None:
    for pattern in ("inbox", "INBOX", "iNb%", "in*", "*box", "%"):
        assert matcher("", [pattern])("INBOX"), pattern
    assert matcher("", ["inbox/%"])("INBOX/x")
    assert not matcher("", ["trash"])("Trash")


def test_any_of_several_patterns() -> None:
    matches = matcher("", ["a", "b/%"])
    assert matches("a")
    assert matches("b/c")
    assert not matches("b/c/d")


def test_wild_patterns_take_no_more_time() -> None:
    matches = matcher("", ["*%" * 900 + "x", "%*a" * 900])
    assert not matches("a" * 999 + "b"), "and this test ends"


def test_endless_patterns_match_nothing() -> None:
    assert not matcher("", ["*" * 5000])("a")
