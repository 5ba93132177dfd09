"""An event loop whose time passes only when there is nothing to do: the same run for the same seed, in no time."""

import asyncio
import gc
import math
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

GRAIN = 1e-4  # seconds


class _Selector(selectors.SelectSelector):
    """Instead of waiting it advances the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen")
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def call_at(self, when: float, *facts: Any, **more: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        """Later by less than GRAIN, so that a turn of the loop has more than one thing to do when much is going on."""
        return super().call_at(math.ceil(when / GRAIN) * GRAIN, *facts, **more)


def run(work: Coroutine[None, None, T]) -> T:
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)  # looking for garbage all the time takes a third of a large run
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(work)
    finally:
        gc.set_threshold(*before)
