"""The embedded store of one backend: index, blobs, the writer, and the accounts that are open.

This is the object that others hold. It decides nothing itself: what a write does is in the rules, when it becomes
durable is in the writer, what is tidied up is in upkeep.py.

    DIR/index.db     accounts, mailboxes, messages, change log     DIR/segments, DIR/large   bodies
    DIR/derived.db   may be lost                                   DIR/staging               bodies on their way in
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId, BlobId, RandomBytes, account_text, new_blob_id
from rookery.base.log import logger
from rookery.storage.accounts import CreateAccount, RemoveAccount, SetLimits
from rookery.storage.append import Append, AppendItem
from rookery.storage.ballast import Ballast
from rookery.storage.batch import Progress
from rookery.storage.blobs import BlobStore, LookAgain
from rookery.storage.derived import DERIVED_MIGRATIONS, DerivedStore
from rookery.storage.engine import Reader, Transaction
from rookery.storage.expunge import Expunge
from rookery.storage.fence import StoreBatching
from rookery.storage.files import DiskFiles, Files
from rookery.storage.flags import SetFlags
from rookery.storage.gate import Gate
from rookery.storage.lock import FolderLock, Identity, identity
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
from rookery.storage.schema import MIGRATIONS
from rookery.storage.segments import Place
from rookery.storage.sqlite import SqliteDatabase
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


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """keep_expunged: seconds until the body of an expunged message goes. waiting: octets of work, beyond it callers
    wait. changes_days, changes_rows: how far an account's change log reaches back. deliveries_days: delivery ids are
    forgotten then, whatever the queue says. idle, idle_accounts: seconds an account stays in memory without a session,
    and how many such at most. ballast: octets of disk kept back for removing."""

    keep_expunged: int = 86_400
    waiting: int = 256 << 20
    changes_days: int = 90
    changes_rows: int = 100_000
    deliveries_days: int = 30
    idle: float = 300.0
    idle_accounts: int = 5_000
    ballast: int = 16 << 20


class Store:
    """Made by `open`. All members belong to the event loop."""

    def __init__(
        self,
        folder: Path,
        lock: FolderLock,
        owner: Identity,
        database: SqliteDatabase,
        blobs: BlobStore,
        derived: DerivedStore,
        ballast: Ballast,
        *,
        clock: Clock,
        random: RandomBytes,
        gate: Gate,
        settings: StoreSettings,
        observe: Callable[[float, int], None] | None = None,
    ) -> None:
        self.folder = folder
        self.identity = owner
        self.database = database
        self.blobs = blobs
        self.derived = derived
        self.clock = clock
        self.settings = settings
        self._lock = lock
        self._random = random
        self._ballast = ballast
        self._open: dict[AccountId, OpenAccount] = {}
        self._idle: dict[AccountId, OpenAccount] = {}  # those without a session, the longest idle first
        self._lost: set[AccountId] = set()
        self._shared: dict[int, tuple[BlobId, int]] = {}  # bodies in flight, by id() of what is staged: blob, uses
        self._batching = StoreBatching(clock, self._open, self._advance, self._lose)
        self._rules: dict[str, Rule[Any, Any]] = {name: self._batching.rule(op) for name, op in OPERATIONS.items()}
        self._append = self._rules[APPEND.name]
        self.writer = Writer(
            database,
            blobs,
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
        settings: StoreSettings = StoreSettings(),
        vfs: str | None = None,
        observe: Callable[[float, int], None] | None = None,
    ) -> "Store":
        """Open or make the store in `folder`. Raises IN_USE, UNSUPPORTED (a newer store), CORRUPT, UNAVAILABLE.

        `observe` is told seconds and items of each batch; `vfs` is for tests.
        """
        files = files or DiskFiles()
        parts = await asyncio.to_thread(_open_parts, folder, files, random, vfs, settings.ballast)
        return cls(folder, *parts, clock=clock, random=random, gate=gate, settings=settings, observe=observe)

    async def close(self) -> None:
        """Finish what waits, then let go of everything."""
        await self.upkeep.pause()
        await self.writer.close()
        await asyncio.to_thread(self.derived.close)
        self.blobs.close()
        self.database.close()
        self._lock.release()

    # --- accounts ------------------------------------------------------------------------------------------------

    async def create_account(self, account: AccountId, *, limits: tuple[int, int] = (0, 0)) -> None:
        """Make it with its usual mailboxes, unless it exists. `limits`: octets and messages, 0 for none."""
        await self.perform(CREATE_ACCOUNT, CreateAccount(account, *limits))

    async def remove_account(self, account: AccountId) -> None:
        """Sessions find it gone at once; its mail is removed in the background."""
        await self.perform(REMOVE_ACCOUNT, RemoveAccount(account))

    async def set_limits(self, account: AccountId, size: int, messages: int) -> None:
        await self.perform(SET_LIMITS, SetLimits(account, size, messages))

    async def open_account(self, account: AccountId) -> OpenAccount:
        """The one OpenAccount that all sessions of the account share; `release` it. Raises NOT_FOUND."""
        found = self._open.get(account)
        if found is None:
            # A batch that ran before this and is committed after it reports without details, and is read again.
            found = self._open[account] = OpenAccount(self, account)
        elif found.removed:
            raise RookeryError(Cause.NOT_FOUND, "no such account in this store")
        self._idle.pop(account, None)
        found.holders += 1
        return found

    def release_account(self, account: OpenAccount) -> None:
        account.holders -= 1
        if account.holders > 0:
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
        opened = self._open
        if self._lost:
            self._find_again()
        if not opened:
            return
        for account in made.keys() & opened.keys():
            try:
                opened[account].advance(made[account])
            except RookeryError as error:
                self._lose({account})
                log.warning("account-lost", account=account_text(account), cause=error.cause.value, what=error.what)

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

    # --- for open accounts ---------------------------------------------------------------------------------------

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

    @property
    def ballast(self) -> Ballast:
        return self._ballast

    async def maintain(self) -> None:
        """Some slices of upkeep; call it every second or so."""
        if self._lost:
            self._find_again()
        self.close_idle_accounts()
        await self.upkeep.step()

    async def snapshot(self, target: Path) -> None:
        """A consistent copy in the new folder `target`, while work goes on. Raises EXISTS, UNAVAILABLE."""
        await self.upkeep.snapshot(target)

    async def verify(self) -> Report:
        """Compare index and blobs; see verify.py."""
        return await verify(self)

    def backup(self, target: Path) -> None:
        """The index as of now, as a file of its own. Any thread."""
        self.database.backup(target)

    def problems(self) -> list[str]:
        """What the database's own check finds wrong. Any thread."""
        return self.database.problems()


def _makes_room(item: object) -> bool:
    """What must go on when the disk is full: removing messages, and marking them to be removed."""
    return isinstance(item, Expunge | DeleteMailbox | RemoveAccount) or (
        isinstance(item, SetFlags) and bool(item.flags & Flag.DELETED)
    )


_Parts = tuple[FolderLock, Identity, SqliteDatabase, BlobStore, DerivedStore, Ballast]


def _open_parts(folder: Path, files: Files, random: RandomBytes, vfs: str | None, octets: int) -> _Parts:
    with ExitStack() as opened:
        try:
            files.make_folder(folder)
            lock = FolderLock(folder)
            opened.callback(lock.release)
            owner = identity(folder, files, random)
            database = SqliteDatabase(folder / "index.db", MIGRATIONS, vfs=vfs)
            opened.callback(database.close)

            def known_end(segment: int) -> int:
                with database.read() as reader:
                    row = reader.row("SELECT max(offset + length) FROM blob WHERE segment = ?", segment)
                return row[0] or 0 if row else 0

            blobs = BlobStore(folder, files, known_end=known_end)
            derived = DerivedStore(
                folder / "derived.db", lambda path: SqliteDatabase(path, DERIVED_MIGRATIONS, synchronous="OFF")
            )
            ballast = Ballast(folder, files, octets)
            ballast.restore()
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"{folder} cannot be opened: {error.strerror}") from error
        opened.pop_all()
    return lock, owner, database, blobs, derived, ballast
