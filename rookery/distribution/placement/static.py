"""Where one backend has all accounts of the pool: the same questions, and always the same answers."""

from collections.abc import Mapping
from types import MappingProxyType

from rookery.base.ids import AccountId
from rookery.distribution.placement.values import Backend, Here, Location, MovedTo


class StaticPlacement:
    """The store's folder is locked, so no other process has it open. `moved`: accounts that went to other pools."""

    def __init__(
        self, backend: str = "", address: str = "", moved: Mapping[AccountId, int] = MappingProxyType({})
    ) -> None:
        self._backend = backend
        self._address = address
        self._moved = moved

    def may_read(self) -> bool:
        return True

    async def fresh(self) -> None:
        return

    def here(self, account: AccountId) -> bool:
        return account not in self._moved

    async def locate(self, account: AccountId) -> Location:
        """Raises MovedTo."""
        if account in self._moved:
            raise MovedTo(self._moved[account])
        return Here(0)

    async def release(self, account: AccountId) -> None:
        return

    async def drain(self) -> None:
        return

    async def leave(self) -> None:
        return

    def undrain(self) -> None:
        return

    @property
    def draining(self) -> bool:
        return False

    def hosted(self) -> dict[AccountId, int]:
        return {}

    def living(self) -> set[str]:
        return {self._backend}

    def takers(self) -> list[tuple[str, str]]:
        return [(self._backend, self._address)]

    async def backends(self) -> list[Backend]:
        return [Backend(self._backend, 0, self._address, False, 0.0, 0)]


EVERYTHING_HERE = StaticPlacement()
