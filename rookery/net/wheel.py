"""Coarse timeouts for very many streams: one timer a second for all, and no object for a read.

A stream is listed once, at the second of its due moment at the time. Moving the moment later is one assignment; when
the second comes, the wheel looks and lists again. Moments are kept to within a second, never early.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol
from weakref import WeakKeyDictionary

TICK = 1.0  # seconds
NOT_LISTED = math.inf


class Sleeper(Protocol):
    """`due`: when to call `expire`, 0 for never. `listed` belongs to the wheel; begin with NOT_LISTED."""

    due: float
    listed: float

    def expire(self) -> None: ...


class Wheel:
    """Call `watch` when `due` may be earlier than `listed`; call `forget` when the sleeper is gone."""

    __slots__ = ("_loop", "_slots", "_ticking", "now")

    def __init__(self, now: Callable[[], float], loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Without a loop somebody calls `tick`: for tests with a manual clock."""
        self.now = now
        self._loop = loop
        self._slots: dict[float, set[Sleeper]] = {}
        self._ticking = False

    def watch(self, sleeper: Sleeper) -> None:
        """List it for `sleeper.due`, unless it is listed for a moment before that."""
        if sleeper.due >= sleeper.listed:
            return
        self.forget(sleeper)
        second = float(math.ceil(sleeper.due))
        sleeper.listed = second
        slot = self._slots.get(second)
        if slot is None:
            slot = self._slots[second] = set()
        slot.add(sleeper)
        if not self._ticking and self._loop is not None:
            self._ticking = True
            self._loop.call_later(TICK, self._beat)

    def forget(self, sleeper: Sleeper) -> None:
        slot = self._slots.get(sleeper.listed)
        sleeper.listed = NOT_LISTED
        if slot is not None:
            slot.discard(sleeper)

    def tick(self) -> None:
        """Expire whoever is due by now."""
        now = self.now()
        for second in [second for second in self._slots if second <= now]:
            for sleeper in self._slots.pop(second):
                sleeper.listed = NOT_LISTED
                if sleeper.due > now:
                    self.watch(sleeper)
                elif sleeper.due:
                    sleeper.due = 0.0
                    sleeper.expire()

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def _beat(self) -> None:
        self.tick()
        if self._slots and self._loop is not None:
            self._loop.call_later(TICK, self._beat)
        else:
            self._ticking = False


_wheels: WeakKeyDictionary[asyncio.AbstractEventLoop, Wheel] = WeakKeyDictionary()


def shared_wheel() -> Wheel:
    """The wheel of the running loop."""
    loop = asyncio.get_running_loop()
    wheel = _wheels.get(loop)
    if wheel is None:
        wheel = _wheels[loop] = Wheel(loop.time, loop)
    return wheel
