"""Ids of spooled messages: a number that rises with time, written as twelve characters that sort alike.

51 bits of microseconds and eight random ones, so that an id made by another node at the same moment is another one;
nodes that share a spool have marks of their own instead. Delivery ids begin with them; a store may forget all that sort
below the lowest id that is not settled yet.
"""

from typing import NewType

from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import RandomBytes, system_random

MessageNumber = NewType("MessageNumber", int)  # as the database has it

LENGTH = 12
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # sorts as its values do
_VALUES = {c: i for i, c in enumerate(_ALPHABET)}
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_RANDOM_BITS = 8
_GREATEST = (1 << 60) - 1


def message_text(number: int) -> str:
    pairs = _PAIRS
    return (
        pairs[number >> 50]
        + pairs[number >> 40 & 1023]
        + pairs[number >> 30 & 1023]
        + pairs[number >> 20 & 1023]
        + pairs[number >> 10 & 1023]
        + pairs[number & 1023]
    )


def message_number(text: str) -> MessageNumber:
    """Raises RookeryError(INVALID) unless `text` is twelve characters of the alphabet."""
    number = 0
    if len(text) == LENGTH:
        for c in text.lower():
            value = _VALUES.get(c, -1)
            if value < 0:
                break
            number = number << 5 | value
        else:
            return MessageNumber(number)
    raise RookeryError(Cause.INVALID, f"not a message id: {text[:20]!r}")


def number_at(moment: float) -> MessageNumber:
    """The least of an id made then, in seconds UTC."""
    return MessageNumber(max(0, int(moment * 1_000_000)) << _RANDOM_BITS)


class MessageIds:
    """Makes ids; each is greater than all before it, also when the clock steps back.

    `mark`: the last eight bits of all of them, for a spool where several nodes make ids and each has its own; None:
    random ones.
    """

    __slots__ = ("_clock", "_last", "_random", "mark")

    def __init__(
        self, clock: Clock, random: RandomBytes = system_random, last: int = 0, mark: int | None = None
    ) -> None:
        self._clock = clock
        self._random = random
        self._last = last
        self.mark = mark

    @property
    def last(self) -> int:
        return self._last

    def new(self) -> str:
        mark = self._random(1)[0] if self.mark is None else self.mark
        number = int(self._clock.wall() * 1_000_000) << _RANDOM_BITS | mark
        if number <= self._last:
            number = self._last + 1 if self.mark is None else (self._last >> _RANDOM_BITS) + 1 << _RANDOM_BITS | mark
        self._last = number = min(number, _GREATEST)
        return message_text(number)

    def before(self, seconds: float) -> int:
        """The least number of an id made so many seconds ago."""
        return number_at(self._clock.wall() - seconds)
