"""Errors, ids, clocks and number sets: the words used everywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.base.clock import ManualClock, SystemClock
from rookery.base.errors import Cause, Fault, RookeryError
from rookery.base.ids import account_from_text, account_text, new_account_id, new_blob_id, short_id
from rookery.base.numberset import NumberSet

sets = st.sets(st.integers(1, 60))


def test_every_cause_has_a_fault() -> None:
    assert all(isinstance(cause.fault, Fault) for cause in Cause)
    assert Cause.UNAVAILABLE.temporary
    assert not Cause.NOT_FOUND.temporary


def test_an_error_carries_its_refusal() -> None:
    error = RookeryError(Cause.TOO_BIG, "51 MB, at most 50")
    assert (error.cause, error.what, str(error)) == (Cause.TOO_BIG, "51 MB, at most 50", "too-big: 51 MB, at most 50")


def test_ids() -> None:
    account = new_account_id(lambda n: bytes(range(n)))
    assert account_from_text(account_text(account)) == account
    with pytest.raises(ValueError):
        account_from_text("00")
    assert len(short_id()) == 12
    clock = ManualClock()
    first = new_blob_id(clock)
    clock.advance(0.001)
    assert len(first) == 16
    assert first < new_blob_id(clock), "later blobs sort later"


def test_clocks() -> None:
    clock = ManualClock()
    clock.advance(2)
    clock.step(-100)
    assert clock.monotonic() == 2
    assert SystemClock().wall() > 1_600_000_000


@given(sets)
def test_sets_come_back_from_text(numbers: set[int]) -> None:
    made = NumberSet.of(numbers)
    assert NumberSet.parse(str(made)) == made == NumberSet.of_sorted(sorted(numbers))
    assert list(made) == sorted(numbers)
    assert len(made) == len(numbers)
    assert hash(made) == hash(NumberSet.of(numbers))
    if numbers:
        assert (made.least, made.greatest) == (min(numbers), max(numbers))


@given(sets, sets)
def test_sets_do_what_sets_do(a: set[int], b: set[int]) -> None:
    left, right = NumberSet.of(a), NumberSet.of(b)
    assert set(left | right) == a | b
    assert set(left & right) == a & b
    assert set(left - right) == a - b
    assert [n for n in range(62) if n in left] == sorted(a)


@pytest.mark.parametrize("text", ["a", "1,", "1:", ":1", "1:*", "-1", "1:2:3", "١"])
def test_not_number_sets(text: str) -> None:
    with pytest.raises(ValueError):
        NumberSet.parse(text)
