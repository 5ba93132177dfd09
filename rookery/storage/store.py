"""The store of one backend: index, blobs, the writer, and the accounts that are open.

This is the object that others hold. It decides nothing itself: what a write does is in the rules, when it becomes
durable is in the writer, who may write to an account is in the fence, which accounts are in memory in open_accounts.py,
how messages come in and are read in deliveries.py and body_reader.py, what is tidied up in upkeep.py.
"""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId, BlobId, RandomBytes
from rookery.storage import embedded
from rookery.storage.accounts import CreateAccount, RemoveAccount, SetLimits, SetState
from rookery.storage.append import Append, AppendItem
from rookery.storage.body_reader import BodyReader
from rookery.storage.deliveries import Deliveries
from rookery.storage.elsewhere import Elsewhere
from rookery.storage.engine import Database, Reader, Transaction
from rookery.storage.expunge import Expunge
from rookery.storage.fence import FencedBatching, Hosting, StaticHosting, StoreBatching
from rookery.storage.files import DiskFiles, Files
from rookery.storage.flags import SetFlags
from rookery.storage.gate import Gate
from rookery.storage.group_commit import Rule
from rookery.storage.mailboxes import DeleteMailbox
from rookery.storage.open_account import OpenAccount
from rookery.storage.open_accounts import OpenAccounts
from rookery.storage.operations import (
    APPEND,
    CREATE_ACCOUNT,
    OPERATIONS,
    REMOVE_ACCOUNT,
    SET_LIMITS,
    SET_STATE,
    Operation,
)
from rookery.storage.parts import DEFAULTS, Parts, StoreSettings
from rookery.storage.schema import ACTIVE, MOVED
from rookery.storage.segments import Place
from rookery.storage.staging import Staged, Staging
from rookery.storage.upkeep import Upkeep
from rookery.storage.values import Appended, Flag
from rookery.storage.verify import Report, verify
from rookery.storage.writer import Writer

__all__ = ["Store", "StoreSettings"]

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

OCTETS_PER_MESSAGE = 160  # what touching one message weighs beside the octets of a body: a batch is bounded by weight
READERS = 4  # threads that read from a shared database


class Store:
    """Made by `open` or `open_shared`. All members belong to the event loop."""

    def __init__(
        self,
        parts: Parts,
        *,
        clock: Clock,
        random: RandomBytes,
        gate: Gate,
        hosting: Hosting | None = None,
        settings: StoreSettings = DEFAULTS,
        observe: Callable[[float, int], None] | None = None,
    ) -> None:
        self.parts = parts
        self.folder = parts.folder
        self.identity = parts.identity
        self.database = parts.database
        self.blobs = parts.blobs
        self.derived = parts.derived
        self.clock = clock
        self.settings = settings
        self.hosting: Hosting = hosting or StaticHosting()
        self.moved = {} if parts.database.shared else _moved(parts.database)  # of a static pool: by account, to which
        self._readers = ThreadPoolExecutor(READERS, "store-reader") if parts.database.shared else None
        self.bodies = BodyReader(parts.database, parts.blobs)
        self._accounts = accounts = OpenAccounts(self, self.hosting, clock, settings)
        self._batching = (
            FencedBatching(clock, accounts.watched, accounts.advance, accounts.lose, self.hosting)
            if parts.database.shared
            else StoreBatching(clock, accounts.watched, accounts.advance, accounts.lose)
        )
        self._rules: dict[str, Rule[Any, Any]] = {name: self._batching.rule(op) for name, op in OPERATIONS.items()}
        self.writer = Writer(
            parts.database,
            parts.blobs,
            gate,
            limit_bytes=settings.waiting,
            clock=clock,
            batching=self._batching,
            name="store",
            observe=observe,
        )
        self.upkeep = Upkeep(self)
        appending: Rule[AppendItem, Appended] = self._rules[APPEND.name]
        self._deliveries = Deliveries(self.writer, appending, self.hosting, self.upkeep, clock, random)
        self.append_soon = self._deliveries.append_soon  # without a call in between: much mail comes here

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        files: Files | None = None,
        clock: Clock,
        random: RandomBytes,
        gate: Gate,
        settings: StoreSettings = DEFAULTS,
        vfs: str | None = None,
        observe: Callable[[float, int], None] | None = None,
    ) -> "Store":
        """Open or make the store in `folder`. Raises IN_USE, UNSUPPORTED (a newer store), CORRUPT, UNAVAILABLE.

        `observe` is told seconds and items of each batch; `vfs` is for tests.
        """
        files = files or DiskFiles()
        parts = await asyncio.to_thread(embedded.open_parts, folder, files, random, vfs, settings.ballast)
        return cls(parts, clock=clock, random=random, gate=gate, settings=settings, observe=observe)

    @classmethod
    async def open_shared(
        cls,
        conninfo: str,
        folder: Path,
        *,
        application: str,
        hosting: Hosting,
        clock: Clock,
        random: RandomBytes,
        gate: Gate,
        settings: StoreSettings = DEFAULTS,
        observe: Callable[[float, int], None] | None = None,
        schema: str = "store",
        bodies: Elsewhere | None = None,
    ) -> "Store":
        """Open or make the store in a schema of a PostgreSQL database, as one of many backends.

        folder: this process's own. application: what its sessions call themselves (hosting.application). bodies: where
        they are when not in the database.
        Raises IN_USE (the folder), UNSUPPORTED (a newer store), BUSY, DISK_FULL, UNAVAILABLE.
        """
        from rookery.storage import shared  # needs psycopg, which an embedded store does without

        opening = partial(shared.open_parts, clock=clock, schema=schema, application=application, bodies=bodies)
        parts = await asyncio.to_thread(opening, conninfo, folder, random)
        return cls(parts, clock=clock, random=random, gate=gate, hosting=hosting, settings=settings, observe=observe)

    async def close(self) -> None:
        """Finish what waits, then let go of everything."""
        await self.upkeep.pause()
        await self.writer.close()
        self.drop_all()
        if self._readers is not None:
            await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self.derived.close)
        self.blobs.close()
        self.database.close()
        self.parts.release()

    # --- accounts ------------------------------------------------------------------------------------------------

    async def create_account(
        self, account: AccountId, *, limits: tuple[int, int] = (0, 0), state: int = ACTIVE
    ) -> None:
        """Make it with its usual mailboxes, unless it exists. `limits`: octets and messages, 0 for none."""
        await self.perform(CREATE_ACCOUNT, CreateAccount(account, *limits, state=state))

    async def set_state(self, account: AccountId, state: int, pool: int = 0) -> None:
        """See schema.py. `pool`: to which it has MOVED. Raises CONFLICT for a state that cannot follow."""
        await self.perform(SET_STATE, SetState(account, state, pool, self.hosting.epoch(account) or None))
        if state == MOVED and not self.database.shared:
            self.moved[account] = pool

    async def remove_account(self, account: AccountId) -> None:
        """Sessions find it gone at once; its mail is removed in the background."""
        await self.perform(REMOVE_ACCOUNT, RemoveAccount(account, self.hosting.epoch(account) or None))
        self.moved.pop(account, None)

    async def set_limits(self, account: AccountId, size: int, messages: int) -> None:
        await self.perform(SET_LIMITS, SetLimits(account, size, messages, self.hosting.epoch(account) or None))

    async def open_account(self, account: AccountId) -> OpenAccount:
        """The one OpenAccount that all sessions of the account share; `release` it.

        Raises NOT_FOUND; UNAVAILABLE when the account is not hosted here, or no longer.
        """
        return await self._accounts.open(account)

    def in_memory(self, account: AccountId) -> bool:
        """Sessions have it open, had it open lately, or are about to."""
        return account in self._accounts

    @property
    def accounts_in_memory(self) -> int:
        return len(self._accounts)

    def drop_account(self, account: AccountId) -> None:
        """Forget what is in memory: the account is not hosted here any more. Its sessions end, nothing is claimed."""
        self._accounts.drop(account)

    def drop_all(self) -> None:
        self._accounts.drop_all()

    def release_account(self, account: OpenAccount) -> None:
        self._accounts.release(account)

    def close_idle_accounts(self) -> int:
        """Forget what nobody has used for a while; returns how many are still in memory."""
        return self._accounts.close_idle()

    def rename(self, application: str) -> None:
        """Sessions at the database's server go by this name soon: after a new beginning of this backend."""
        if self._readers is not None:
            self._readers.submit(self.parts.rename, application)

    # --- messages ------------------------------------------------------------------------------------------------

    def stage(self) -> Staging:
        """For a body that is going to arrive."""
        return self.blobs.stage()

    async def append(self, item: Append) -> Appended:
        """Store one message; durable when this returns. The caller releases `item.staged` afterwards."""
        return await self._deliveries.append(item)

    async def room(self) -> None:
        """Wait while too much is waiting to be written."""
        await self.writer.room()

    async def forget_deliveries(self, below: str, giver: str = "") -> None:
        """The queue has settled every delivery id that sorts below `below`."""
        await self.upkeep.forget_deliveries(below, giver)

    async def away(self, work: Callable[[], T]) -> T:
        """Reading that may have to wait for a server: in a thread. Where the index is a file, at once."""
        if self._readers is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    # --- for open accounts ---------------------------------------------------------------------------------------

    @property
    def remote(self) -> bool:
        return self._readers is not None

    def read(self) -> AbstractContextManager[Reader]:
        return self.database.read()

    async def read_behind(self, work: Callable[[], T]) -> T:
        """As `away`; before it returns, every batch that had begun before the call is done with."""
        begun = self.writer.begun
        found = await self.away(work)
        await self.writer.resolved(begun)
        return found

    async def perform(self, operation: Operation[A, R], item: A, *, messages: int = 0) -> R:
        """Carry out one operation of about so many messages; raises RookeryError when it is refused."""
        rule: Rule[A, R] = self._rules[operation.name]
        weight = 512 + messages * OCTETS_PER_MESSAGE
        try:
            return await self.writer.run(rule, item, weight=weight)
        except RookeryError as error:
            if error.cause is not Cause.DISK_FULL or not _makes_room(item) or not self.upkeep.make_way():
                raise
        return await self.writer.run(rule, item, weight=weight)

    async def exclusive(self, work: Callable[[Transaction], T], *, bodies: Collection[tuple[BlobId, Staged]] = ()) -> T:
        """A piece of upkeep in the writer, grouped with whatever else waits."""
        return await self.writer.exclusive(work, bodies=tuple(bodies))

    def place_in_batch(self, blob: BlobId) -> Place:
        """Inside `exclusive`: where one of its bodies went."""
        return self._batching.place(blob)

    def place(self, blob: BlobId) -> Place:
        """Where a body is. Raises NOT_FOUND."""
        return self.bodies.place(blob)

    # --- upkeep --------------------------------------------------------------------------------------------------

    async def maintain(self) -> None:
        """Some slices of upkeep; call it every second or so."""
        self._accounts.find_again()
        self.close_idle_accounts()
        await self.upkeep.step()

    async def snapshot(self, target: Path) -> None:
        """A consistent copy in the new folder `target`, while work goes on. Raises EXISTS, UNAVAILABLE, UNSUPPORTED."""
        await self.upkeep.snapshot(target)

    async def verify(self) -> Report:
        """Compare index and blobs; see verify.py."""
        return await verify(self)

    def problems(self) -> list[str]:
        """What the database's own check finds wrong. Any thread."""
        return self.parts.problems()


def _moved(database: Database) -> dict[AccountId, int]:
    with database.read() as reader:
        rows = reader.rows("SELECT m.id, m.pool FROM moved m JOIN account a ON a.id = m.id WHERE a.state = ?", MOVED)
    return {AccountId(account): pool for account, pool in rows}


def _makes_room(item: object) -> bool:
    """What must go on when the disk is full: removing messages, and marking them to be removed."""
    return isinstance(item, Expunge | DeleteMailbox | RemoveAccount) or (
        isinstance(item, SetFlags) and bool(item.flags & Flag.DELETED)
    )
