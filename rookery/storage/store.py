"""The store of one backend: index, blobs, the writer, and the accounts that are open.

This is the object that others hold. It decides nothing itself: what a write does is in the rules, when it becomes
durable is in the writer, who may write to an account is in the fence, what is tidied up is in upkeep.py.
"""

import asyncio
from collections import ChainMap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId, BlobId, RandomBytes, account_text, new_blob_id
from rookery.base.log import logger
from rookery.storage import embedded
from rookery.storage.accounts import CreateAccount, RemoveAccount, SetLimits
from rookery.storage.append import Append, AppendItem
from rookery.storage.batch import Progress
from rookery.storage.blobs import LookAgain
from rookery.storage.elsewhere import Elsewhere
from rookery.storage.engine import Reader, Transaction
from rookery.storage.expunge import Expunge
from rookery.storage.fence import FencedBatching, Hosting, StaticHosting, StoreBatching
from rookery.storage.files import DiskFiles, Files
from rookery.storage.flags import SetFlags
from rookery.storage.gate import Gate
from rookery.storage.mailboxes import DeleteMailbox
from rookery.storage.open_account import OpenAccount
from rookery.storage.operations import (
    APPEND,
    CREATE_ACCOUNT,
    OPERATIONS,
    REMOVE_ACCOUNT,
    SET_LIMITS,
    Operation,
)
from rookery.storage.parts import DEFAULTS, Parts, StoreSettings
from rookery.storage.segments import Place
from rookery.storage.staging import Staged, Staging
from rookery.storage.upkeep import Upkeep
from rookery.storage.values import Appended, Flag
from rookery.storage.verify import Report, verify
from rookery.storage.writer import Rule, Writer

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

log = logger("store")

OCTETS_PER_MESSAGE = 160  # what touching one message weighs beside the octets of a body: a batch is bounded by weight


__all__ = ["Store", "StoreSettings"]

NOT_HERE = Refusal(Cause.UNAVAILABLE, "the account is not at this backend now")
READERS = 4  # threads that read from a shared database


class _Opening:
    """An account that is being read. `made`: what batches did to it meanwhile."""

    __slots__ = ("made", "task")

    def __init__(self) -> None:
        self.made: list[Progress] = []
        self.task: asyncio.Task[OpenAccount] | None = None


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
        self._random = random
        self._readers = ThreadPoolExecutor(READERS, "store-reader") if parts.database.shared else None
        self._open: dict[AccountId, OpenAccount] = {}
        self._opening: dict[AccountId, _Opening] = {}
        self._idle: dict[AccountId, OpenAccount] = {}  # those without a session, the longest idle first
        self._lost: set[AccountId] = set()
        self._shared: dict[int, tuple[BlobId, int]] = {}  # bodies in flight, by id() of what is staged: blob, uses
        watched = ChainMap[AccountId, object](self._open, self._opening)  # type: ignore[arg-type]
        self._batching = (
            FencedBatching(clock, watched, self._advance, self._lose, self.hosting)
            if parts.database.shared
            else StoreBatching(clock, self._open, self._advance, self._lose)
        )
        self._rules: dict[str, Rule[Any, Any]] = {name: self._batching.rule(op) for name, op in OPERATIONS.items()}
        self._append = self._rules[APPEND.name]
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

    async def create_account(self, account: AccountId, *, limits: tuple[int, int] = (0, 0)) -> None:
        """Make it with its usual mailboxes, unless it exists. `limits`: octets and messages, 0 for none."""
        await self.perform(CREATE_ACCOUNT, CreateAccount(account, *limits))

    async def remove_account(self, account: AccountId) -> None:
        """Sessions find it gone at once; its mail is removed in the background."""
        await self.perform(REMOVE_ACCOUNT, RemoveAccount(account, self.hosting.epoch(account) or None))

    async def set_limits(self, account: AccountId, size: int, messages: int) -> None:
        await self.perform(SET_LIMITS, SetLimits(account, size, messages, self.hosting.epoch(account) or None))

    async def open_account(self, account: AccountId) -> OpenAccount:
        """The one OpenAccount that all sessions of the account share; `release` it.

        Raises NOT_FOUND; UNAVAILABLE when the account is not hosted here, or no longer.
        """
        found = self._open.get(account)
        if found is None:
            if self._readers is not None:
                found = await self._read_account(account)
            else:
                # A batch that ran before this and is committed after it reports without details, and is read again.
                found = self._open[account] = OpenAccount(self, account, self._epoch(account))
        if found.removed:
            raise RookeryError(Cause.NOT_FOUND, "no such account in this store")
        self._idle.pop(account, None)
        found.holders += 1
        return found

    async def _read_account(self, account: AccountId) -> OpenAccount:
        opening = self._opening.get(account)
        if opening is None:
            epoch = self._epoch(account)
            opening = self._opening[account] = _Opening()
            opening.task = asyncio.create_task(self._opened(account, epoch, opening))
            opening.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be waiting
        assert opening.task is not None
        found = await asyncio.shield(opening.task)
        if found.lost:
            raise RookeryError(NOT_HERE.cause, NOT_HERE.what)
        return found

    async def _opened(self, account: AccountId, epoch: int | None, opening: _Opening) -> OpenAccount:
        """Read it, and then take over what was committed meanwhile, as far as it was not read."""
        try:
            found = await self.away(lambda: OpenAccount(self, account, epoch))
            if self._opening.get(account) is not opening:
                raise RookeryError(NOT_HERE.cause, NOT_HERE.what)
            self._open[account] = self._idle[account] = found
            found.idle_since = self.clock.monotonic()
        finally:
            if self._opening.get(account) is opening:
                del self._opening[account]
        for made in opening.made:
            self._advance_one(found, made)
        return found

    def _epoch(self, account: AccountId) -> int | None:
        """Under which it is hosted here; None where that does not matter. Raises UNAVAILABLE when it is not."""
        epoch = self.hosting.epoch(account)
        if epoch is None:
            raise RookeryError(NOT_HERE.cause, NOT_HERE.what)
        return epoch or None

    def drop_account(self, account: AccountId) -> None:
        """Forget what is in memory: the account is not hosted here any more. Its sessions end, nothing is claimed."""
        self._opening.pop(account, None)
        found = self._open.pop(account, None)
        self._idle.pop(account, None)
        self._lost.discard(account)
        if found is not None:
            found.lose()

    def in_memory(self, account: AccountId) -> bool:
        """Sessions have it open, had it open lately, or are about to."""
        return account in self._open or account in self._opening

    def drop_all(self) -> None:
        for account in [*self._opening, *self._open]:
            self.drop_account(account)

    def release_account(self, account: OpenAccount) -> None:
        account.holders -= 1
        if account.holders > 0 or account.lost:
            return
        account.idle_since = self.clock.monotonic()
        self._idle[account.account] = account
        if account.removed:
            self._forget(account)
        elif len(self._idle) > self.settings.idle_accounts:
            self._forget(next(iter(self._idle.values())))

    def _forget(self, account: OpenAccount) -> None:
        self._idle.pop(account.account, None)
        self._open.pop(account.account, None)

    def close_idle_accounts(self) -> int:
        """Forget what nobody has used for a while; returns how many are still in memory."""
        oldest = self.clock.monotonic() - self.settings.idle
        for account in list(self._idle.values()):  # in order of their last use
            if account.idle_since > oldest:
                break
            self._forget(account)
        return len(self._open)

    def _advance(self, made: dict[AccountId, Progress]) -> None:
        opened, opening = self._open, self._opening
        if self._lost:
            self._find_again()
        if opened:
            for account in made.keys() & opened.keys():
                self._advance_one(opened[account], made[account])
        if opening:
            for account in made.keys() & opening.keys():
                opening[account].made.append(made[account])

    def _advance_one(self, account: OpenAccount, made: Progress) -> None:
        if account.epoch is not None and account.epoch != made.epoch:
            return  # of before this process lost the account and had it again: that was read
        try:
            account.advance(made)
        except RookeryError as error:
            self._lose({account.account})
            name = account_text(account.account)
            log.warning("account-lost", account=name, cause=error.cause.value, what=error.what)

    def _lose(self, accounts: set[AccountId]) -> None:
        """What a batch did to these is not known: read them again, or with the next batch."""
        self._lost |= accounts & self._open.keys()
        self._find_again()

    def _find_again(self) -> None:
        for account in list(self._lost):
            try:
                if account in self._open:
                    self._open[account].reload()
            except RookeryError:
                return  # the database is away; asked again with the next batch or upkeep
            self._lost.discard(account)

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
        await self.writer.room()
        future: asyncio.Future[Appended | Refusal] = asyncio.get_running_loop().create_future()

        def done(result: Appended | Refusal) -> None:
            if not future.done():
                future.set_result(result)

        self.append_soon(item, done)
        result = await future
        if isinstance(result, Refusal):
            raise RookeryError(result.cause, result.what)
        return result

    def append_soon(self, item: Append, done: Callable[[Appended | Refusal], None]) -> None:
        """The same without a future: `done` is called on the loop, once. Ask `room` first when there is much."""
        if self.upkeep.full:
            done(Refusal(Cause.DISK_FULL, "the disk of the message store is full"))
            return
        hosted = self.hosting.epoch
        epoch = item.epoch if item.epoch is not None else hosted(item.account)
        if epoch is None:
            done(NOT_HERE)
            return
        staged = item.staged
        key = id(staged)
        blob, uses = self._shared.get(key, (None, 0))
        bodies: tuple[tuple[BlobId, Staged], ...] = ()
        if blob is None:
            blob = new_blob_id(self.clock, self._random)
            bodies = ((blob, staged),)
        self._shared[key] = (blob, uses + 1)

        def answered(result: Appended | Refusal) -> None:
            self._unshare(key)
            if epoch and hosted(item.account) != epoch:  # it was lost meanwhile: nothing is claimed
                done(NOT_HERE)
                return
            if not bodies and isinstance(result, Refusal) and result.cause is Cause.NOT_FOUND:
                # The message that brought the body was refused, so nobody has it: this one brings its own.
                self.append_soon(item, done)
                return
            done(result)

        argument = AppendItem(
            item.account,
            blob,
            staged.size,
            item.received or int(self.clock.wall()),
            item.mailbox,
            item.flags,
            item.keywords,
            item.delivery_id,
            epoch or None,
        )
        self.writer.submit(self._append, argument, done=answered, bodies=bodies, weight=staged.size + 512)

    def _unshare(self, key: int) -> None:
        blob, uses = self._shared[key]
        if uses == 1:
            del self._shared[key]
        else:
            self._shared[key] = (blob, uses - 1)

    async def room(self) -> None:
        """Wait while too much is waiting to be written."""
        await self.writer.room()

    async def forget_deliveries(self, below: str) -> None:
        """The queue has settled every delivery id that sorts below `below`."""
        await self.upkeep.forget_deliveries(below)

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

    def blob(self, blob: BlobId, offset: int = 0, length: int | None = None) -> bytes:
        """A body or a part of one. Raises CORRUPT, NOT_FOUND, UNAVAILABLE."""
        try:
            return self.blobs.read(blob, self.place(blob), offset, length)
        except LookAgain:
            pass
        try:
            return self.blobs.read(blob, self.place(blob), offset, length)
        except LookAgain as gone:
            raise RookeryError(Cause.CORRUPT, f"blob {blob.hex()}: its file {gone} is missing") from gone

    def blobs_many(self, blobs: Sequence[BlobId]) -> list[bytes]:
        """Whole bodies in the order of `blobs`. Raises as `blob`, for the first that cannot be read."""
        columns = ("blob", "segment", "offset", "length", "codec")
        with self.database.read() as reader:
            rows = reader.select_many("blob", columns, ("blob",), [(blob,) for blob in blobs])
        places = {row[0]: Place(*row[1:]) for row in rows}
        try:
            return self.blobs.read_many([(blob, places[blob]) for blob in blobs])
        except (KeyError, LookAgain):  # one by one, so that each is looked up once more or named
            return [self.blob(blob) for blob in blobs]

    def blob_chunks(self, blob: BlobId, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """[start, stop) in pieces; see `BlobStore.chunks`. Raises as `blob`, perhaps after some of them."""
        place = self.place(blob)
        try:
            for piece in self.blobs.chunks(blob, place, start, stop):
                yield piece
                start += len(piece)
        except LookAgain:  # compacted, perhaps when some of it had been handed out
            yield self.blob(blob, start, None if stop is None else stop - start)

    def place(self, blob: BlobId) -> Place:
        with self.database.read() as reader:
            row = reader.row("SELECT segment, offset, length, codec FROM blob WHERE blob = ?", blob)
        if row is None:
            raise RookeryError(Cause.NOT_FOUND, f"blob {blob.hex()} is not in this store")
        return Place(*row)

    def derived_get(self, number: int, kind: str, emails: Collection[int]) -> dict[int, bytes]:
        return self.derived.get(number, kind, emails)

    def derived_put(self, number: int, kind: str, values: Mapping[int, bytes]) -> None:
        self.derived.put(number, kind, values)

    # --- upkeep --------------------------------------------------------------------------------------------------

    async def maintain(self) -> None:
        """Some slices of upkeep; call it every second or so."""
        if self._lost:
            self._find_again()
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


def _makes_room(item: object) -> bool:
    """What must go on when the disk is full: removing messages, and marking them to be removed."""
    return isinstance(item, Expunge | DeleteMailbox | RemoveAccount) or (
        isinstance(item, SetFlags) and bool(item.flags & Flag.DELETED)
    )
