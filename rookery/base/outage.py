"""A failure that goes on is told when it begins, every ten seconds, and when it is over: not a thousand times."""

from collections.abc import Callable
from typing import cast

from rookery.base.log import Field, Level, Logger

AGAIN = 10.0  # seconds


class Outage:
    """One kind of failure, `event` in the log. `now`: seconds of a monotonic clock. Any thread, one at a time."""

    __slots__ = ("_began", "_cause", "_event", "_log", "_now", "_tell", "_times", "_told", "_untold")

    def __init__(self, log: Logger, event: str, now: Callable[[], float], level: Level = Level.ERROR) -> None:
        self._log = log
        self._tell = cast(Callable[..., None], getattr(log, level.name.lower()))
        self._event = event
        self._now = now
        self._cause = ""
        self._began = self._told = 0.0
        self._times = self._untold = 0

    def failed(self, cause: str, /, **fields: Field) -> None:
        """A line, at once if it works otherwise or fails for another cause; else counted, for metrics too."""
        now = self._now()
        if not self._times:
            self._began = now
        self._times += 1
        if cause == self._cause and now - self._told < AGAIN:
            self._untold += 1
            self._log.counts[self._event] = self._log.counts.get(self._event, 0) + 1
            return
        counted: dict[str, Field] = {"more": self._untold} if self._untold else {}
        self._cause, self._told, self._untold = cause, now, 0
        self._tell(self._event, cause=cause, **fields, **counted)

    def over(self) -> None:
        """It works. Says so if something was counted and not told."""
        if not self._times:
            return
        if self._untold:
            seconds = round(self._now() - self._began, 1)
            self._log.info("recovered", after=self._event, times=self._times, seconds=seconds)
        self._cause, self._times, self._untold = "", 0, 0
