"""Whether a mailbox has room, asked before a message is taken: one that is full is refused at RCPT.

The sender's host keeps the message then. Taken, it would wait here and bounce to whoever a forged sender names.
"""

from collections.abc import Awaitable
from typing import Protocol

from rookery.base.errors import RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.directory.asked import Asked
from rookery.distribution.directory.values import AccountRecord, Resolution, Resolved
from rookery.distribution.placement.static import EVERYTHING_HERE
from rookery.distribution.placement.values import Here, Location
from rookery.storage.store import Store


class Accounts(Protocol):
    """What is asked of the directory."""

    def resolve(self, address: str) -> Resolution: ...

    def account_by_id(self, account: AccountId) -> AccountRecord | None: ...


class Hosts(Protocol):
    """What is asked of placement."""

    async def locate(self, account: AccountId) -> Location: ...


class Fullness:
    """Looks at accounts only; what stands behind an alias or group is found out by delivery."""

    __slots__ = ("_directory", "_hosts", "_store")

    def __init__(self, directory: Asked[Accounts], store: Store, hosts: Hosts = EVERYTHING_HERE) -> None:
        self._directory = directory
        self._store = store
        self._hosts = hosts

    def __call__(self, address: str, size: int) -> Awaitable[bool] | None:
        """Whether the account has no room for `size` octets more (0: unknown); None at once when nothing limits it."""
        found = self._directory.ask(lambda directory: _limited(directory, address))
        if found is None:
            return None
        return self._full(found.account, size) if isinstance(found, AccountRecord) else self._look_up(found, size)

    async def _look_up(self, asked: Awaitable[AccountRecord | None], size: int) -> bool:
        found = await asked
        return found is not None and await self._full(found.account, size)

    async def _full(self, account: AccountId, size: int) -> bool:
        try:
            if not isinstance(await self._hosts.locate(account), Here):
                return False  # its own host will say
            opened = await self._store.open_account(account)
        except RookeryError:
            return False  # delivery will say what is wrong
        try:
            usage = opened.usage()
        except RookeryError:
            return False
        finally:
            opened.release()
        if usage.message_limit and usage.messages >= usage.message_limit:
            return True
        return bool(usage.size_limit) and usage.size + max(size, 1) > usage.size_limit


def _limited(directory: Accounts, address: str) -> AccountRecord | None:
    """The account at this address, if its mailbox has limits; nobody's address has none."""
    try:
        found = directory.resolve(address)
        if not isinstance(found, Resolved) or found.through or len(found.targets) != 1:
            return None
        record = directory.account_by_id(found.targets[0].account)
    except RookeryError:
        return None
    return record if record is not None and (record.size_limit or record.message_limit) else None
