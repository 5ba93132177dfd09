"""The store's housekeeping: what to do next, in slices that leave the writer to others. Nothing grows without bound.

Each `step` does a little of everything that is due. While a snapshot is taken nothing is removed.

On a shared store every slice is a transaction of its own, by whichever backend has the row UPKEEP at that moment: the
others find it taken and rest. It waits for nobody's locks for long: it would keep its own process from writing.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import BlobId
from rookery.base.log import Level, logger
from rookery.base.outage import Outage
from rookery.storage.changes import Trimmed, trim
from rookery.storage.compaction import Compaction
from rookery.storage.engine import Transaction
from rookery.storage.schema import UPKEEP
from rookery.storage.sweeper import (
    Purged,
    Swept,
    age_deliveries,
    find_strays,
    forget_deliveries,
    purge_dropped,
    sweep_blobs,
    sweep_emails,
)
from rookery.storage.values import given_by

if TYPE_CHECKING:
    from rookery.storage.store import Store

SLICES_PER_STEP = 8  # of each kind
TRIM_EVERY = 3_600.0  # seconds between two passes over all change logs
BALLAST_EVERY = 10.0
ORPHANS_PER_SLICE = 500
STRAYS_EVERY = 86_400.0  # seconds between two passes over all bodies of a shared store; another store has one, at first
STRAY_AGE = 86_400_000  # milliseconds after which a body that nothing names is nobody's
LOCK_WAIT = "200ms"
REST = 10.0  # seconds after a step of a shared store that found nothing, or found another backend at it

T = TypeVar("T")

log = logger("upkeep")


class _Elsewhere(Exception):
    """Another backend is at it."""


class Upkeep:
    """One per store."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._busy = asyncio.Lock()
        self._failing = Outage(log, "upkeep-failed", store.clock.monotonic, Level.WARNING)
        self._paused = False
        self._trim_after: int | None = None
        self._trim_due = 0.0
        self._ballast_due = 0.0
        self._below: dict[str, str] = {}  # by what the ids of a giver begin with, "" for ours
        self._orphans: list[BlobId] = []
        self._shelf: int | None = None
        self._orphans_due = 0.0
        self._strays_after: bytes | None = None
        self._strays_due = 0.0
        self._not_before = 0.0
        self._compaction = Compaction(store)
        self.full = False  # the ballast is given up: new mail is refused so that removing can go on

    async def pause(self) -> None:
        """Finish the slice under way and do no more."""
        self._paused = True
        async with self._busy:
            return

    async def step(self) -> None:
        """A little of everything that is due; errors of the disk are logged and tried again the next time."""
        if self._paused or self._busy.locked() or self._store.clock.monotonic() < self._not_before:
            return
        async with self._busy:
            try:
                if not await self._step() and self._store.database.shared:
                    self._not_before = self._store.clock.monotonic() + REST
            except _Elsewhere:
                self._not_before = self._store.clock.monotonic() + REST
            except RookeryError as error:
                if error.cause is Cause.DISK_FULL:
                    self.make_way()
                self._failing.failed(error.cause.value, what=error.what)
            else:
                self._failing.over()

    async def run(self) -> None:
        """Everything that is due, to its end; for tests and for a stopped store."""
        while await self._step():
            pass

    async def _step(self) -> bool:
        now = int(self._store.clock.wall())
        more = await self._slices(lambda tx: purge_dropped(tx, now), self._purged)
        before = now - self._store.settings.keep_expunged
        more |= await self._slices(lambda tx: self._dropping(tx, sweep_emails(tx, before)), self._swept)
        more |= await self._slices(lambda tx: self._dropping(tx, sweep_blobs(tx, before)), self._swept)
        more |= await self._deliveries(now)
        more |= await self._trim(now)
        if self._store.blobs.with_index:
            return await self._drop_strays() or more
        more |= await self._find_orphans()
        more |= await self._compact()
        self._restore_ballast()
        return more

    async def _exclusive(self, work: Callable[[Transaction], T]) -> T:
        """One slice. Raises _Elsewhere."""
        if not self._store.database.shared:
            return await self._store.exclusive(work)
        return await asyncio.to_thread(self._alone, work)

    def _alone(self, work: Callable[[Transaction], T]) -> T:
        with self._store.database.write() as tx:
            tx.rows(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
            if not tx.take("SELECT name FROM meta WHERE name = ?", UPKEEP):
                raise _Elsewhere
            return work(tx)

    def _dropping(self, tx: Transaction, swept: Swept) -> Swept:
        self._store.blobs.drop(tx, [blob for blob, _ in swept.files])
        return swept

    async def _slices(
        self, work: Callable[[Transaction], Purged | Swept], after: Callable[..., Awaitable[None]]
    ) -> bool:
        for _ in range(SLICES_PER_STEP):
            made = await self._exclusive(work)
            await after(made)
            if not made.more:
                return False
        return True

    async def _purged(self, purged: Purged) -> None:
        if purged.account is not None:
            self._store.derived.forget_account(purged.account)

    async def _swept(self, swept: Swept) -> None:
        """The index has forgotten them for good; now the files may go. A crash in between leaves orphans."""
        if swept.emails:
            self._compaction.again()
            self._store.derived.forget(swept.emails)
        if not self._store.blobs.with_index:
            await self._delete([blob for blob, _ in swept.files])

    async def _delete(self, blobs: Sequence[BlobId]) -> None:
        """From a folder or service that others share: in a thread, for it may take its time."""
        if self._store.database.shared:
            await asyncio.to_thread(self._store.blobs.delete_many, blobs)
        else:
            self._store.blobs.delete_many(blobs)

    async def forget_deliveries(self, below: str, giver: str = "") -> None:
        """`giver`: of another queue than ours."""
        start, end = (given_by(giver, ""), given_by(giver, below)) if giver else ("", below)
        self._below[start] = max(end, self._below.get(start, ""))

    async def _deliveries(self, now: int) -> bool:
        for start, below in list(self._below.items()):
            for _ in range(SLICES_PER_STEP):
                if not await self._exclusive(lambda tx, b=below, s=start: forget_deliveries(tx, b, s)):  # type: ignore[misc]
                    if self._below.get(start) == below:
                        del self._below[start]
                    break
        oldest = now - self._store.settings.deliveries_days * 86_400
        return await self._exclusive(lambda tx: age_deliveries(tx, oldest))

    async def _trim(self, now: int) -> bool:
        settings, clock = self._store.settings, self._store.clock
        if self._trim_after is None:
            if clock.monotonic() < self._trim_due:
                return False
            self._trim_after, self._trim_due = 0, clock.monotonic() + TRIM_EVERY
        after = self._trim_after

        def work(tx: Transaction) -> Trimmed:
            return trim(tx, after, now, days=settings.changes_days, rows=settings.changes_rows)

        self._trim_after = (await self._exclusive(work)).after
        return self._trim_after is not None

    async def _find_orphans(self) -> bool:
        """Blobs with places of their own that a crash left without a row in the index: looked for once after opening,
        on a shared store once a day, and there young ones are left alone: they may be just arriving.
        """
        store = self._store
        if not self._orphans:
            if self._shelf is None:
                if store.clock.monotonic() < self._orphans_due:
                    return False
                self._shelf = 0
                self._orphans_due = store.clock.monotonic() + STRAYS_EVERY if store.database.shared else math.inf
            if self._shelf >= store.blobs.shelves:
                self._shelf = None
                return False
            found = await asyncio.to_thread(store.blobs.shelf, self._shelf)
            self._orphans = [blob for blob in found if blob < self._old] if store.database.shared else found
            self._shelf += 1
        taken = self._orphans[:ORPHANS_PER_SLICE]

        def known(tx: Transaction) -> set[BlobId]:
            return {row[0] for row in tx.select_many("blob", ("blob",), ("blob",), [(b,) for b in taken])}

        if taken:
            gone = sorted(set(taken) - await self._exclusive(known))
            if gone:
                log.warning("orphans", bodies=len(gone))
                await self._delete(gone)
            del self._orphans[:ORPHANS_PER_SLICE]
        return True

    @property
    def _old(self) -> bytes:
        """Blob ids below this are older than STRAY_AGE: they begin with their time."""
        return max(0, int(self._store.clock.wall() * 1000) - STRAY_AGE).to_bytes(6, "big")

    async def _drop_strays(self) -> bool:
        """Bodies without a row in the index, left by a crash or a lost connection: now and then all are looked at."""
        store = self._store
        if self._strays_after is None:
            if store.clock.monotonic() < self._strays_due:
                return False
            self._strays_after, self._strays_due = b"", store.clock.monotonic() + STRAYS_EVERY
        after = self._strays_after
        before = self._old

        def look() -> tuple[list[BlobId], bytes | None]:
            with store.read() as reader:
                return find_strays(reader, after, before)

        found, self._strays_after = await asyncio.to_thread(look)
        if found:
            log.warning("strays", bodies=len(found))
            await self._exclusive(lambda tx: store.blobs.drop(tx, found))
        return self._strays_after is not None

    async def _compact(self) -> bool:
        for _ in range(SLICES_PER_STEP):
            if not await self._compaction.step():
                return False
        return True

    def make_way(self) -> bool:
        """The disk is full: give the ballast up, so that removing can go on. False: it is gone already."""
        ballast = self._store.parts.ballast
        if ballast is None or not ballast.drop():
            return False
        self.full = True
        log.error("disk-full", folder=str(self._store.folder))
        return True

    def _restore_ballast(self) -> None:
        clock, ballast = self._store.clock, self._store.parts.ballast
        if ballast is None or clock.monotonic() < self._ballast_due:
            return
        self._ballast_due = clock.monotonic() + BALLAST_EVERY
        held = ballast.restore()
        if held and self.full:
            self.full = False
            log.info("disk-has-room", folder=str(self._store.folder))

    async def snapshot(self, target: Path) -> None:
        """See snapshot.py; nothing is removed meanwhile."""
        async with self._busy:
            await asyncio.to_thread(self._store.parts.snapshot, target)
