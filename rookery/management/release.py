"""Accounts that nobody uses are given back to the pool, so that after a restart of a backend load returns to it."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from rookery.base.clock import Clock
from rookery.base.ids import AccountId

UNUSED = 300.0  # seconds without a session
EVERY = 10.0
AT_ONCE = 100  # given back by one look


class Placed(Protocol):
    """What is asked of placement."""

    def hosted(self) -> dict[AccountId, int]: ...

    async def release(self, account: AccountId) -> None: ...


class Releases:
    """`in_use`: whether an account has sessions here."""

    def __init__(self, placement: Placed, in_use: Callable[[AccountId], bool], clock: Clock) -> None:
        self._placement = placement
        self._in_use = in_use
        self._clock = clock
        self._since: dict[AccountId, float] = {}

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> int:
        """Give back what has been without a session for long; returns how many."""
        now = self._clock.monotonic()
        hosted = self._placement.hosted()
        self._since = {a: self._since.get(a, now) for a in hosted if not self._in_use(a)}
        unused = [account for account, since in self._since.items() if now - since >= UNUSED][:AT_ONCE]
        for account in unused:
            await self._placement.release(account)
        return len(unused)
