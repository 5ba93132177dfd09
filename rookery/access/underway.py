"""Commands that are being carried out, by account: a host gives an account away between two of them.

A delivery is not waited for: the fence refuses it, and its sender asks the next host with the same delivery id.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rookery.base.ids import AccountId

PATIENCE = 2.0  # seconds; what takes longer ends without an answer, and its client asks the next host


class UnderWay:
    """One for the process."""

    def __init__(self) -> None:
        self._counts: dict[AccountId, int] = {}
        self._waiting: dict[AccountId, asyncio.Future[None]] = {}

    @contextmanager
    def of(self, account: AccountId) -> Iterator[None]:
        self.begin(account)
        try:
            yield
        finally:
            self.end(account)

    def begin(self, account: AccountId) -> None:
        self._counts[account] = self._counts.get(account, 0) + 1

    def end(self, account: AccountId) -> None:
        left = self._counts[account] - 1
        if left:
            self._counts[account] = left
            return
        del self._counts[account]
        waiting = self._waiting.pop(account, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def ended(self, account: AccountId) -> None:
        """Wait until nothing is under way, for a while at most. One waiter for each account."""
        if account not in self._counts:
            return
        waiting = self._waiting[account] = asyncio.get_running_loop().create_future()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await waiting
