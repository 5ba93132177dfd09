"""Where one backend has all accounts of the pool: the same questions, and always the same answers."""

from rookery.base.ids import AccountId
from rookery.distribution.placement.values import Backend, Here, Location


class StaticPlacement:
    """The store's folder is locked, so no other process has it open."""

    def __init__(self, backend: str = "", address: str = "") -> None:
        self._backend = backend
        self._address = address

    def may_read(self) -> bool:
        return True

    async def fresh(self) -> None:
        return

    def here(self, account: AccountId) -> bool:
        return True

    async def locate(self, account: AccountId) -> Location:
        return Here(0)

    async def release(self, account: AccountId) -> None:
        return

    async def drain(self) -> None:
        return

    def undrain(self) -> None:
        return

    def hosted(self) -> dict[AccountId, int]:
        return {}

    def living(self) -> set[str]:
        return {self._backend}

    async def backends(self) -> list[Backend]:
        return [Backend(self._backend, 0, self._address, False, 0.0, 0)]


EVERYTHING_HERE = StaticPlacement()
