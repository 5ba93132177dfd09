"""Sequence sets as clients write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.base.numberset import NumberSet
from rookery.wire.imap.sequence import RANGE_LIMIT, SAVED, STAR, SequenceSet, parse_sequence


@pytest.mark.parametrize(
    ("text", "largest", "meant"),
    [
        (b"1", 10, "1"),
        (b"2:4,*", 10, "2:4,10"),
        (b"4:2", 10, "2:4"),
        (b"5:*", 3, "3:5"),  # RFC 9051 section 9: the order does not matter
        (b"*:5", 3, "3:5"),
        (b"*:*", 3, "3"),
        (b"*", 0, ""),
        (b"1:*", 0, ""),
        (b"7", 0, "7"),
        (b"$", 5, ""),
    ],
)
def test_what_they_mean(text: bytes, largest: int, meant: str) -> None:
    assert str(parse_sequence(text).resolve(largest)) == meant


@pytest.mark.parametrize(
    "text", [b"", b"0", b"01", b"1:", b":1", b"1,", b",", b"1::2", b"-1", b"1:2:3", b"a", b"**", b"99999999999"]
)
def test_what_is_none(text: bytes) -> None:
    with pytest.raises(ValueError, match="sequence set"):
        parse_sequence(text)


def test_ranges_are_limited() -> None:
    assert len(parse_sequence(b",".join([b"1"] * RANGE_LIMIT)).ranges) == RANGE_LIMIT
    with pytest.raises(ValueError, match="ranges"):
        parse_sequence(b",".join([b"1"] * (RANGE_LIMIT + 1)))


ENDS = st.integers(1, 2**32 - 1) | st.just(STAR)


@given(st.lists(st.tuples(ENDS, ENDS), min_size=1, max_size=10))
def test_text_round_trip(ranges: list[tuple[int, int]]) -> None:
    made = SequenceSet(tuple(ranges))
    assert parse_sequence(str(made).encode()) == made
    assert made.stars == any(STAR in pair for pair in ranges)
    assert isinstance(made.resolve(7), NumberSet)
    assert str(SAVED) == "$"
