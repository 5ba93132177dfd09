"""A pool's PostgreSQL database, asked without keeping the event loop: a thread for the heart and one for the claims."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from rookery.base.clock import Clock
from rookery.base.ids import AccountId
from rookery.distribution.placement.beats import Beats, dialler
from rookery.distribution.placement.claims import Claims
from rookery.distribution.placement.values import Answer, Claimed, Peer
from rookery.distribution.placement.worker import Worker
from rookery.storage.hosting import SHARED_MIGRATIONS
from rookery.storage.postgres import PostgresDatabase


class DatabasePool:
    """Implements values.Pool over the schema that also holds the pool's mail."""

    def __init__(
        self, conninfo: str, schema: str, *, clock: Clock, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """Blocks while it makes the schema or brings it up to date. Raises UNSUPPORTED, BUSY, UNAVAILABLE."""
        database = PostgresDatabase(
            conninfo, SHARED_MIGRATIONS, schema, application="rookery claims", clock=clock, pause=pause
        )
        self._claims = Claims(database)
        self._beats = Beats(dialler(conninfo, schema, clock, pause))
        self._heart = Worker("heartbeat")
        self._claiming = Worker("claims")

    async def register(self, backend: str, address: str, incarnation: int, draining: bool) -> str:
        timeline = await self._heart.run(partial(self._beats.register, backend, address, incarnation, draining))
        self._claiming.run(partial(self._claims.rename, incarnation))  # before any claim; who waits there keeps no beat
        return timeline

    async def beat(self, incarnation: int, draining: bool) -> Answer:
        return await self._heart.run(partial(self._beats.beat, incarnation, draining))

    async def end(self, seen: Mapping[int, int | None]) -> set[int]:
        return await self._heart.run(partial(self._beats.end, seen))

    async def claim(self, incarnation: int, accounts: Sequence[AccountId], *, take: bool) -> Claimed:
        return await self._claiming.run(partial(self._claims.claim, incarnation, accounts, take=take))

    async def release(self, incarnation: int, account: AccountId, epoch: int) -> None:
        await self._claiming.run(partial(self._claims.release, incarnation, account, epoch))

    async def living(self) -> list[tuple[Peer, int]]:
        return await self._claiming.run(self._claims.living)

    async def purge(self, ended: Sequence[int]) -> list[int]:
        return await self._claiming.run(partial(self._claims.purge, ended))

    def close(self) -> None:
        """Does not wait for what is under way."""
        self._heart.last(self._beats.close)
        self._claiming.last(self._claims.close)
