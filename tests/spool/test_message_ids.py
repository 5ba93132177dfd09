"""Ids of messages: they rise, they sort as their numbers do, and they come back from text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.spool.ids import LENGTH, MessageIds, message_number, message_text

_numbers = st.integers(0, (1 << 60) - 1)


@given(_numbers)
def test_round_trip(number: int) -> None:
    text = message_text(number)
    assert len(text) == LENGTH
    assert message_number(text) == number
    assert message_number(text.upper()) == number


@given(_numbers, _numbers)
def test_text_sorts_as_numbers_do(a: int, b: int) -> None:
    assert (a < b) == (message_text(a) < message_text(b))


def test_ids_rise_even_when_the_clock_does_not() -> None:
    clock = ManualClock()
    ids = MessageIds(clock, lambda n: bytes(n))
    made = [ids.new() for _ in range(3)]
    clock.step(-3600)
    made += [ids.new() for _ in range(3)]
    clock.advance(7200)
    made.append(ids.new())
    assert made == sorted(set(made))


def test_ids_go_on_behind_the_last_known() -> None:
    last = 1 << 59
    assert message_number(MessageIds(ManualClock(), last=last).new()) == last + 1


@pytest.mark.parametrize(
    "text", ["", "0", "0" * 11, "0" * 13, "ilou" * 3, "00000000000é", "00000000000 ", "-00000000001"]
)
def test_nonsense_is_invalid(text: str) -> None:
    with pytest.raises(RookeryError) as caught:
        message_number(text)
    assert caught.value.cause is Cause.INVALID


def test_ids_of_nodes_never_meet() -> None:
    clock = ManualClock()
    first, second = MessageIds(clock, mark=7), MessageIds(clock, mark=8)
    made = [ids.new() for _ in range(500) for ids in (first, second)]
    assert len(set(made)) == 1000
    assert {message_number(text) % 256 for text in made} == {7, 8}
    assert [made[0::2], made[1::2]] == [sorted(made[0::2]), sorted(made[1::2])]
