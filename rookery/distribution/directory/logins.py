"""Last logins, gathered and written at most once a second for all accounts together."""

import asyncio
from collections.abc import Callable

from rookery.base.ids import AccountId
from rookery.distribution.directory.values import LastLogin

INTERVAL = 1.0  # seconds between two writes
WAITING_LIMIT = 10_000  # accounts; when more log in within a second, the write comes early


class LoginBatch:
    """Holds each account's newest login until `write` has been called with it."""

    __slots__ = ("_timer", "_waiting", "_write")

    def __init__(self, write: Callable[[tuple[tuple[AccountId, LastLogin], ...]], None]) -> None:
        self._write = write
        self._waiting: dict[AccountId, LastLogin] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, account: AccountId, login: LastLogin) -> None:
        self._waiting[account] = login
        if len(self._waiting) >= WAITING_LIMIT:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self.flush)

    def get(self, account: AccountId) -> LastLogin | None:
        """The login that is not written yet."""
        return self._waiting.get(account)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            self._write(tuple(waiting.items()))
