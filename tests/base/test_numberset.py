"""Number sets behave as sets of integers do, whatever the ranges."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.base.numberset import NumberSet

RANGES = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=8)


def _model(ranges: list[tuple[int, int]]) -> set[int]:
    return {n for a, b in ranges for n in range(min(a, b), max(a, b) + 1)}


@given(RANGES)
def test_members_are_those_of_the_ranges(ranges: list[tuple[int, int]]) -> None:
    made, model = NumberSet(ranges), _model(ranges)
    assert list(made) == sorted(model)
    assert len(made) == len(model)
    assert bool(made) == bool(model)
    assert all((n in made) == (n in model) for n in range(62))
    if model:
        assert (made.least, made.greatest) == (min(model), max(model))


@given(RANGES)
def test_ranges_are_sorted_and_do_not_touch(ranges: list[tuple[int, int]]) -> None:
    made = NumberSet(ranges).ranges
    assert all(low <= high for low, high in made)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(made))


@given(RANGES, RANGES)
def test_algebra(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    a, b = NumberSet(left), NumberSet(right)
    assert set(a | b) == _model(left) | _model(right)
    assert set(a & b) == _model(left) & _model(right)
    assert set(a - b) == _model(left) - _model(right)
    assert (a - b) | (a & b) == a


@given(RANGES)
def test_text_round_trip(ranges: list[tuple[int, int]]) -> None:
    made = NumberSet(ranges)
    assert NumberSet.parse(str(made)) == made
    assert hash(NumberSet.parse(str(made))) == hash(made)


@given(st.sets(st.integers(1, 200)))
def test_of_and_of_sorted_agree(numbers: set[int]) -> None:
    assert NumberSet.of(numbers) == NumberSet.of_sorted(sorted(numbers))


@pytest.mark.parametrize("text", ["*", "1:*", "1,", ",1", "a", "1:", ":1", "1:2:3", "-1", "1 2", "١"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a number set"):
        NumberSet.parse(text)


def test_not_a_number_is_no_member() -> None:
    assert "1" not in NumberSet([(1, 2)])
    assert NumberSet() != object()


def test_least_of_nothing() -> None:
    with pytest.raises(IndexError):
        _ = NumberSet().least
