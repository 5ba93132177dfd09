"""Who hosts an account, whichever pool it is in: the directory knows the pool, the pool's own placement the backend.

What the directory says of another pool may be old; that pool's backends decide, and refer again. An account of this
pool that its store does not know yet was made by a node of another pool, and is made here when it is first asked for.
"""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Protocol

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.directory.values import Pool
from rookery.distribution.placement.values import Elsewhere, Location

KNOWN = 65_536  # accounts that were found in the store


class Hosts(Protocol):
    """What is asked of the placement of one pool, and of all of them."""

    def here(self, account: AccountId) -> bool: ...

    async def locate(self, account: AccountId) -> Location: ...

    def may_read(self) -> bool: ...

    async def fresh(self) -> None: ...


class AcrossPools:
    """`elsewhere`: the pool of an account that is not in this one; raises RookeryError while nobody knows.
    `made`: whether the store may have it already. `make`: see to it that it has.
    """

    __slots__ = ("_elsewhere", "_found", "_made", "_make", "_own", "_turn")

    def __init__(
        self,
        own: Hosts,
        elsewhere: Callable[[AccountId], Pool | None],
        *,
        made: Callable[[AccountId], bool],
        make: Callable[[AccountId], Awaitable[None]],
    ) -> None:
        self._own = own
        self._elsewhere = elsewhere
        self._made = made
        self._make = make
        self._found: set[AccountId] = set()
        self._turn = count()

    def may_read(self) -> bool:
        return self._own.may_read()

    async def fresh(self) -> None:
        await self._own.fresh()

    def here(self, account: AccountId) -> bool:
        """Without asking anybody; what is not known is not here."""
        try:
            return account in self._found and self._elsewhere(account) is None and self._own.here(account)
        except RookeryError:
            return False

    async def locate(self, account: AccountId) -> Location:
        """Of another pool, one backend after the other is named: nobody here knows which of them live."""
        pool = self._elsewhere(account)
        if pool is not None:
            return self._there(pool)
        if account not in self._found:
            if not self._made(account):
                await self._make(account)
            if len(self._found) >= KNOWN:
                self._found.clear()
            self._found.add(account)
        try:
            return await self._own.locate(account)
        except RookeryError as error:
            if error.cause is not Cause.NOT_FOUND:
                raise
        await self._make(account)
        return await self._own.locate(account)

    def _there(self, pool: Pool) -> Elsewhere:
        if not pool.addresses:
            raise RookeryError(
                Cause.UNAVAILABLE,
                f"no node of pool {pool.name} has said where it is reached; start one, or say it:"
                f" `rookery pool change {pool.name} --address HOST:PORT --lmtp HOST:PORT`",
            )
        address = pool.addresses[next(self._turn) % len(pool.addresses)]
        return Elsewhere("", address, 0, pool.name, pool.lmtp_addresses)
