"""Who hosts an account, whichever pool it is in: the directory knows the pool, the pool's own placement the backend.

What the directory says of another pool may be old; that pool's backends decide, and refer again. An account of this
pool that its store does not know yet was made by a node of another pool, and is made here when it is first asked for.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Protocol, TypeVar

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.directory.reading import NotInMemory
from rookery.distribution.directory.values import Pool
from rookery.distribution.placement.values import Elsewhere, Location, MovedTo

T = TypeVar("T")

KNOWN = 65_536  # accounts that were found in the store


class Hosts(Protocol):
    """What is asked of the placement of one pool, and of all of them."""

    def here(self, account: AccountId) -> bool: ...

    async def locate(self, account: AccountId) -> Location: ...

    def may_read(self) -> bool: ...

    async def fresh(self) -> None: ...


class Pools(Protocol):
    """What is asked of the directory."""

    def elsewhere(self, account: AccountId) -> Pool | None: ...

    def pools(self) -> Sequence[Pool]: ...


class Directory(Protocol):
    @property
    def remembered(self) -> Pools:
        """Raises NotInMemory where it would have to ask a server."""
        ...

    async def find(self, look: Callable[[Pools], T]) -> T: ...


class AcrossPools:
    """`made`: whether the store may have it already. `make`: see to it that it has."""

    __slots__ = ("_directory", "_found", "_made", "_make", "_own", "_turn")

    def __init__(
        self,
        own: Hosts,
        directory: Directory,
        *,
        made: Callable[[AccountId], bool],
        make: Callable[[AccountId], Awaitable[None]],
    ) -> None:
        self._own = own
        self._directory = directory
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
        if account not in self._found:
            return False
        try:
            return self._directory.remembered.elsewhere(account) is None and self._own.here(account)
        except (RookeryError, NotInMemory):
            return False

    async def locate(self, account: AccountId) -> Location:
        """Of another pool, one backend after the other is named: nobody here knows which of them live. Where the pool's
        own row says that the account has moved, that counts, and not what the directory says of the account.
        """
        pool = await self._directory.find(lambda directory: directory.elsewhere(account))
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
        except MovedTo as moved:
            number = moved.pool
            for pool in await self._directory.find(lambda directory: directory.pools()):
                if pool.id == number:
                    return self._there(pool)
            raise
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
        return Elsewhere("", address, 0, pool.name, pool.lmtp_addresses, pool.cluster_addresses)
