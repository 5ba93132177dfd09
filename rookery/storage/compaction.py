"""Giving back the room of dead bodies: segments that are mostly dead are emptied and deleted.

Live records are copied to the current segment like any new bodies (durable first), then the index is told their new
places, and only when no row names the old segment any more is it unlinked. A crash at any moment leaves the old record,
or both; never neither. A reader that comes too late looks its place up once more. A segment with a record that does not
read well is never deleted.
"""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import BlobId
from rookery.base.log import logger
from rookery.storage.blobs import LookAgain
from rookery.storage.engine import Row, Transaction
from rookery.storage.segments import HEADER, Place
from rookery.storage.staging import Staged

if TYPE_CHECKING:
    from rookery.storage.store import Store

DEAD_SHARE = 0.5  # of a segment's octets, from which it is emptied
OCTETS_PER_SLICE = 2 << 20
RECORDS_PER_SLICE = 500

_RECORDS = "SELECT blob, offset, length, codec FROM blob WHERE segment = ? AND offset > ? ORDER BY offset LIMIT ?"

log = logger("compaction")


class Moved(msgspec.Struct, frozen=True):
    blob: BlobId
    old: Place
    staged: Staged


class Compaction:
    """Looks at one segment after another. `step` does a slice and says whether it found work."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._waiting: list[int] | None = None  # segments still to be looked at in this round
        self._segment: int | None = None  # being emptied
        self._after = -1  # offset behind which its live records are still to be moved
        self._damaged: set[int] = set()
        self._another = False  # something was removed since the round began

    def again(self) -> None:
        """Something was removed: begin a round, once the present one is over."""
        self._another = True

    async def step(self) -> bool:
        if self._segment is None:
            return await self._choose()
        if not await self._move(self._segment):
            await self._drop(self._segment)
            self._segment = None
        return True

    async def _choose(self) -> bool:
        if self._waiting is None:
            self._waiting = await asyncio.to_thread(self._store.blobs.segments)
        if not self._waiting:
            if not self._another:
                return False
            self._another, self._waiting = False, None
            return True
        segment = self._waiting.pop(0)
        if segment != self._store.blobs.current and segment not in self._damaged:
            dead = await asyncio.to_thread(self._dead_share, segment)
            if dead >= DEAD_SHARE:
                self._segment, self._after = segment, -1
        return True

    def _dead_share(self, segment: int) -> float:
        size = self._store.blobs.segment_size(segment)
        with self._store.read() as reader:
            row = reader.row("SELECT count(*), sum(length) FROM blob WHERE segment = ?", segment)
        live = row[0] * HEADER.size + int(row[1] or 0) if row else 0
        return 1.0 - live / size if size else 1.0

    async def _move(self, segment: int) -> bool:
        """Copy some live records; False when there are none left to move."""
        rows = await asyncio.to_thread(self._next_records, segment)
        if not rows:
            return False
        moved: list[Moved] = []
        try:
            for blob, offset, length, codec in rows:
                one = self._read(BlobId(blob), Place(segment, offset, length, codec))
                if one is not None:
                    moved.append(one)
            bodies = [(one.blob, one.staged) for one in moved]
            if bodies:
                await self._store.exclusive(lambda tx: self._repoint(tx, moved), bodies=bodies)
            self._after = rows[-1][1]
        finally:
            for one in moved:
                one.staged.release()
        return True

    def _next_records(self, segment: int) -> list[Row]:
        with self._store.read() as reader:
            rows = reader.rows(_RECORDS, segment, self._after, RECORDS_PER_SLICE)
        octets = 0
        for index, row in enumerate(rows):
            octets += row[2]
            if octets > OCTETS_PER_SLICE:
                return rows[: index + 1]
        return rows

    def _read(self, blob: BlobId, place: Place) -> Moved | None:
        try:
            data = self._store.blobs.read(blob, place)
        except RookeryError as error:
            if error.cause is not Cause.CORRUPT:
                raise
            self._damaged.add(place.segment)
            log.error("record-rotten", what=error.what, segment=place.segment)
            return None
        except LookAgain:
            return None
        staging = self._store.stage()
        try:
            staging.write(data)
        except OSError as error:
            staging.discard()
            raise RookeryError(Cause.DISK_FULL, "no room to move a record") from error
        return Moved(blob, place, staging.finish())

    def _repoint(self, tx: Transaction, moved: list[Moved]) -> int:
        """Rows that are still as they were read get the new place; what was removed meanwhile stays removed."""
        columns = ("blob", "segment", "offset")
        known = {row[0]: row[1:] for row in tx.select_many("blob", columns, ("blob",), [(one.blob,) for one in moved])}
        rows: list[tuple[bytes | int, ...]] = []
        for one in moved:
            if known.get(one.blob) == (one.old.segment, one.old.offset):
                new = self._store.place_in_batch(one.blob)
                rows.append((one.blob, new.segment, new.offset, new.length, new.codec))
        tx.update_many("blob", ("blob",), ("segment", "offset", "length", "codec"), rows)
        return len(rows)

    async def _drop(self, segment: int) -> None:
        def empty(tx: Transaction) -> bool:
            return tx.row("SELECT 1 FROM blob WHERE segment = ? LIMIT 1", segment) is None

        if await self._store.exclusive(empty):
            self._store.blobs.delete_segment(segment)
            log.info("segment-deleted", segment=segment)
        else:
            self._damaged.add(segment)
