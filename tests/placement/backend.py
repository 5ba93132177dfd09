"""A backend of a pool for tests: its placement, and what it was told of the accounts that it has in memory."""

import asyncio

from rookery.base.ids import AccountId
from rookery.distribution.placement.heartbeat import Surroundings
from rookery.distribution.placement.placement import Placement
from rookery.distribution.placement.values import Here, Location, Pool
from tests.placement.conftest import Moments, numbered


class Sessions:
    """What has accounts in memory: remembers only what it was told to drop."""

    def __init__(self) -> None:
        self.dropped: list[AccountId] = []
        self.all = 0
        self.open: set[AccountId] = set()

    def drop_account(self, account: AccountId) -> None:
        self.dropped.append(account)

    def drop_all(self) -> None:
        self.all += 1

    def in_memory(self, account: AccountId) -> bool:
        return account in self.open


class Backend:
    """A registered placement that beats and claims when told."""

    def __init__(self, pool: Pool, name: str, first: int, moments: Moments) -> None:
        self.sessions = Sessions()
        self.names: list[str] = []
        self.moments = moments
        self.placement = Placement(
            pool, backend=name, address=f"{name}:993", around=Surroundings(now=moments.now, pause=moments.pause),
            random=numbered(first), renamed=self.names.append,
        )  # fmt: skip
        self.placement.attach(self.sessions)

    async def beat(self, count: int = 1) -> None:
        for _ in range(count):
            self.moments.at += 0.2
            await self.placement.heart.once()

    async def locate(self, *accounts: AccountId) -> list[Location]:
        asked = [asyncio.ensure_future(self.placement.locate(account)) for account in accounts]
        await asyncio.sleep(0)
        while not all(one.done() for one in asked):
            await self.placement.claim_some()
            await asyncio.sleep(0)
        return [one.result() for one in asked]

    async def epoch(self, account: AccountId) -> int:
        (found,) = await self.locate(account)
        assert isinstance(found, Here)
        assert self.placement.epoch(account) == found.epoch
        return found.epoch
