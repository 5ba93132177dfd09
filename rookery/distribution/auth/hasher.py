"""The threads that hash passwords: few, because each takes 19 MiB, and a bounded number waits for them.

argon2, bcrypt and PBKDF2 let go of the GIL, so the event loop goes on meanwhile.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.auth import schemes

THREADS = 2
WAITING_LIMIT = 1_000  # checks waiting; beyond it BUSY

T = TypeVar("T")

# A hash that no password is known for: whoever names an account that does not exist pays the same time.
DUMMY = "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$LHFO9L3I0DSu5OuhSAGYKw$r/5kedLKlUdxP3hcczmGVHF50Zn1dZ9BmIKd/caHXb0"


class Hasher:
    """Runs pure functions of passwords in its own threads."""

    __slots__ = ("_limit", "_pool", "_waiting")

    def __init__(self, threads: int = THREADS, waiting: int = WAITING_LIMIT) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hasher")
        self._limit = waiting + threads
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Pieces of work begun or waiting now; for the metrics."""
        return self._waiting

    async def run(self, work: Callable[[], T]) -> T:
        """Raises RookeryError(BUSY) at once when too many wait. Work whose caller was cancelled is not begun."""
        if self._waiting >= self._limit:
            raise RookeryError(Cause.BUSY, "too many passwords are being checked")
        self._waiting += 1
        future = self._pool.submit(work)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._left))
        return await asyncio.wrap_future(future)

    def _left(self) -> None:
        self._waiting -= 1

    async def make(self, password: str) -> str:
        """An argon2id hash with its prefix. Raises as `run` does."""
        data = password.encode()
        return await self.run(lambda: schemes.make(data))

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
