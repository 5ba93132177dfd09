"""Name patterns against a slow oracle, and in a number of searches that wildness does not multiply."""

import re
from itertools import repeat

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rookery.access.imap import patterns
from rookery.access.imap.patterns import SLICE_STEPS, Patterns
from rookery.base.errors import Cause, RookeryError

TEXT = st.text("ab/%*", max_size=12)
NAME = st.text("ab/", min_size=1, max_size=14)


def _matches(pattern: str, name: str, reference: str = "") -> bool:
    return Patterns(reference, [pattern]).matches(name)


def _oracle(pattern: str, name: str) -> bool:
    parts = {"*": ".*", "%": "[^/]*"}
    return re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), name) is not None


@given(TEXT, NAME)
@example("*a%/b%a", "aa/ba/bb/ba")
@example("*%a/%b*", "a/a/b")
@example("a%a*a", "aa")
def test_patterns_match_like_the_oracle(pattern: str, name: str) -> None:
    assert _matches(pattern, name) == _oracle(pattern, name)


@given(st.lists(st.sampled_from(["*", "%", "/", "a", "/a", "a/", "a/a", "b"]), max_size=9), NAME)
def test_literals_across_levels(pieces: list[str], name: str) -> None:
    assert _matches("".join(pieces), name) == _oracle("".join(pieces), name)


@given(TEXT, TEXT, NAME)
def test_the_reference_comes_before_the_pattern(reference: str, pattern: str, name: str) -> None:
    assert _matches(pattern, name, reference) == _oracle(reference + pattern, name)


@given(st.lists(TEXT, max_size=5), NAME)
def test_any_of_several_patterns(wanted: list[str], name: str) -> None:
    assert Patterns("", wanted).matches(name) == any(_oracle(pattern, name) for pattern in wanted)


def test_inbox_has_no_case() -> None:
    for pattern in ("inbox", "INBOX", "iNb%", "in*", "*box", "%"):
        assert _matches(pattern, "INBOX"), pattern
    assert _matches("inbox/%", "INBOX/x")
    assert not _matches("trash", "Trash")


def test_wild_patterns_take_few_searches() -> None:
    """One search for each literal and level at most."""
    wild = Patterns("", ["*%" * 10 + "x", "%*a" * 10])
    assert not wild.matches("a" * 999 + "b")
    assert wild.steps < 50
    levels = Patterns("", ["*" + "a%/" * 9 + "%b%c"])
    assert not levels.matches("a/" * 63 + "b")
    assert levels.steps <= 64 * 20


def test_endless_patterns_match_nothing() -> None:
    assert not _matches("*" * 5000, "a")


def test_a_long_search_pauses_and_a_longer_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "STEP_LIMIT", 2 * SLICE_STEPS)
    names, some = repeat("name"), Patterns("", ["*x*", "na%"])
    while some.steps <= patterns.STEP_LIMIT:
        found, more = some.some(names)
        assert more
        assert SLICE_STEPS / 8 < len(found) < SLICE_STEPS
    with pytest.raises(RookeryError) as raised:
        some.some(names)
    assert raised.value.cause is Cause.TOO_MANY


def test_the_last_slice_says_so() -> None:
    assert Patterns("", ["%"]).some(iter(["a", "a/b", "c"])) == (["a", "c"], False)
