"""Giving accounts away no faster than others take them over.

Whose session ends connects elsewhere at once and proves there who it is, which takes a processor some 30 ms. After a
thousand at once the last would wait for half a minute; so only a few are on their way at a time. Whoever has not come
back after a moment is not waited for: many mail programs are in no hurry.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

from rookery.base.ids import AccountId

AT_ONCE = 2  # accounts on their way
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
        self._on_their_way: dict[AccountId, float] = {}  # since when, the longest first

    async def given(self, account: AccountId) -> None:
        """Returns when the next may be."""
        waiting = self._on_their_way
        waiting[account] = self._now()
        while len(waiting) >= AT_ONCE:
            await self._pause(LOOK)
            for arrived in await self._taken(list(waiting)):
                del waiting[arrived]
            late = self._now() - MOMENT
            for account in [one for one, since in waiting.items() if since <= late]:
                del waiting[account]
