"""Who did not answer lately, and is asked after all others for a while."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from rookery.base.clock import Clock

AWAY = 5.0  # seconds
KEPT = 1_024

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Away(Generic[K]):
    """One question at a time finds out whether somebody is back: `tried` makes the others wait a while longer."""

    __slots__ = ("_clock", "_until")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: OrderedDict[K, float] = OrderedDict()

    def last(self, order: Iterable[T], key: Callable[[T], K]) -> list[T]:
        """The same, those that are away at the end."""
        now = self._clock.monotonic()
        return sorted(order, key=lambda one: self._until.get(key(one), 0.0) > now)

    def away(self, who: K) -> bool:
        return self._until.get(who, 0.0) > self._clock.monotonic()

    def tried(self, who: K) -> None:
        if who in self._until:
            self.failed(who)

    def failed(self, who: K) -> None:
        self._until[who] = self._clock.monotonic() + AWAY
        self._until.move_to_end(who)
        if len(self._until) > KEPT:
            self._until.popitem(last=False)

    def answered(self, who: K) -> None:
        self._until.pop(who, None)
