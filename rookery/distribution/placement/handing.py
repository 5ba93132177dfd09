"""Giving accounts away no faster than others take them over.

Whose session ends connects elsewhere at once and proves there who it is, which takes a processor some 30 ms. After a
thousand at once the last would wait for half a minute; so there are only as many on their way as arrive briskly, more
of them where many processors wait. Whoever has not come back after a moment is not waited for: many mail programs are
in no hurry.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

from rookery.base.ids import AccountId

AT_FIRST, MOST = 2.0, 64.0  # accounts on their way; never less than one
BRISK = 0.06  # seconds from host to host
LOOK = 0.01  # seconds between two looks at which have arrived
MOMENT = 0.25  # seconds


class Handing:
    """`taken`: which of these accounts another backend has by now."""

    def __init__(
        self,
        taken: Callable[[Sequence[AccountId]], Awaitable[Collection[AccountId]]],
        now: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._taken, self._now, self._pause = taken, now, pause
        self._on_their_way: dict[AccountId, float] = {}  # since when
        self._at_once = AT_FIRST

    async def given(self, account: AccountId) -> None:
        """Returns when the next may be."""
        waiting = self._on_their_way
        waiting[account] = self._now()
        while len(waiting) >= int(self._at_once):
            await self._pause(LOOK)
            for arrived in await self._taken(list(waiting)):
                self._learn(self._now() - waiting.pop(arrived))
            late = self._now() - MOMENT
            for account in [one for one, since in waiting.items() if since <= late]:
                del waiting[account]

    def _learn(self, seconds: float) -> None:
        """One more for each round of brisk arrivals, half as many after a slow one."""
        if seconds <= BRISK:
            self._at_once = min(MOST, self._at_once + 1 / self._at_once)
        else:
            self._at_once = max(1.0, self._at_once / 2)
