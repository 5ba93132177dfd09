"""Stands for placement: says where accounts are, and whether what is in memory may be told."""

import asyncio

from rookery.base.errors import RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.placement.values import Elsewhere, Here, Location

THERE = Elsewhere("b2", "127.0.0.12:143", 7)


class Hosts:
    """All accounts are `held`, but for those in `away`; `known` False: a read must wait for `verdict`."""

    def __init__(self) -> None:
        self.away: dict[AccountId, Location | RookeryError] = {}
        self.held = True
        self.known = True
        self.asked = asyncio.Event()
        self.verdict: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def here(self, account: AccountId) -> bool:
        return self.held and account not in self.away

    async def locate(self, account: AccountId) -> Location:
        found = self.away.get(account, Here(1))
        if isinstance(found, RookeryError):
            raise found
        return found

    def may_read(self) -> bool:
        return self.known

    async def fresh(self) -> None:
        self.asked.set()
        await asyncio.shield(self.verdict)
