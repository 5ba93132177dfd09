"""Blobs as rows of the index's own database: parts of 256 kB, each with its checksum.

A small body is written by the transaction whose rows name it: one commit carries both. Large ones are committed before
it, one by one, so that the index's locks are held for moments only; a crash between the two leaves a blob that nothing
names, to be found by `strays`. Parts are stored out of line and uncompressed (STORAGE EXTERNAL), as the octets came.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import BlobId
from rookery.storage.blobs import LookAgain
from rookery.storage.bodies import NoSegments
from rookery.storage.engine import Database, Transaction, Value
from rookery.storage.files import DiskFiles, Files
from rookery.storage.migrations import Migration
from rookery.storage.parted import PART, part_checksum, parts
from rookery.storage.segments import IDENTITY, Place
from rookery.storage.staging import Staged, Staging, StagingArea

LARGE = 1024 * 1024  # octets from which a body is committed before the batch
FORGOTTEN = 1000  # blobs deleted by one transaction

_COLUMNS = ("blob", "part", "checksum", "data")


def body_tables(version: int, oldest_release: str = "0.1.0") -> Migration:
    """The step that makes the table of bodies, for the migrations of a database on PostgreSQL."""
    return Migration(
        version,
        (
            "CREATE TABLE IF NOT EXISTS body (blob BYTEA NOT NULL, part BIGINT NOT NULL, checksum BIGINT NOT NULL,"
            " data BYTEA NOT NULL, PRIMARY KEY (blob, part))",
            "ALTER TABLE body ALTER COLUMN data SET STORAGE EXTERNAL",
        ),
        oldest_release,
    )


def _rows(blob: BlobId, staged: Staged) -> Iterator[tuple[Value, ...]]:
    for number, checksum, data in parts(blob, staged):
        yield blob, number, checksum, data


class PostgresBlobs(NoSegments):
    """Implements bodies.Blobs over a database whose migrations have `body_tables`.

    `folder`: where bodies are staged while they arrive; on this machine, and of no use after its process.
    """

    with_index = True
    patient = False
    shelves = 0  # `strays` asks the database

    def __init__(self, database: Database, folder: Path, files: Files | None = None) -> None:
        self._database = database
        self._area = StagingArea(folder, files or DiskFiles())

    def stage(self) -> Staging:
        return Staging(self._area)

    # --- writing (any thread) ---

    def put_batch(self, items: Sequence[tuple[BlobId, Staged]]) -> Mapping[BlobId, Place]:
        """Large ones are durable when this returns, the others when the transaction is that `write` was called in."""
        done: list[BlobId] = []
        try:
            for blob, staged in items:
                if staged.size >= LARGE:
                    done.append(blob)
                    self._put_large(blob, staged)
        except (RookeryError, OSError) as error:
            self._give_up(done)
            if isinstance(error, OSError):
                raise RookeryError(Cause.UNAVAILABLE, f"a staged body cannot be read: {error.strerror}") from error
            raise
        return {blob: Place(0, 0, staged.size, IDENTITY) for blob, staged in items}

    def _put_large(self, blob: BlobId, staged: Staged) -> None:
        with self._database.write() as tx:
            for row in _rows(blob, staged):
                tx.insert_many("body", _COLUMNS, [row])

    def _give_up(self, blobs: Sequence[BlobId]) -> None:
        try:
            self.delete_many(blobs)
        except RookeryError:
            return  # nothing names them: they are found by `strays`

    def write(self, tx: Transaction, items: Sequence[tuple[BlobId, Staged]]) -> None:
        rows: list[tuple[Value, ...]] = []
        for blob, staged in items:
            if staged.size < LARGE:
                rows += _rows(blob, staged)
        tx.insert_later("body", _COLUMNS, rows)

    def drop(self, tx: Transaction, blobs: Sequence[BlobId]) -> None:
        tx.delete_many("body", ("blob",), [(blob,) for blob in blobs])

    def delete_many(self, blobs: Sequence[BlobId]) -> None:
        for start in range(0, len(blobs), FORGOTTEN):
            with self._database.write() as tx:
                self.drop(tx, blobs[start : start + FORGOTTEN])

    def delete_large(self, blob: BlobId) -> None:
        self.delete_many([blob])

    def seal(self) -> None:
        return

    # --- reading (any thread) ---

    def read(self, blob: BlobId, place: Place, offset: int = 0, length: int | None = None) -> bytes:
        """The parts that the range touches are read and checked whole. Raises LookAgain when the blob is gone."""
        end = place.length if length is None else min(place.length, offset + length)
        if offset >= end and (offset or place.length):
            return b""
        first = offset // PART
        last = max(first, (end - 1) // PART)
        with self._database.read() as reader:
            rows = reader.rows(
                "SELECT part, checksum, data FROM body WHERE blob = ? AND part BETWEEN ? AND ? ORDER BY part",
                blob, first, last,
            )  # fmt: skip
        data = self._joined(blob, place, rows, first, last)
        return data[offset - first * PART : end - first * PART]

    def _joined(
        self, blob: BlobId, place: Place, rows: Sequence[tuple[int, int, bytes]], first: int, last: int
    ) -> bytes:
        if not rows:
            raise LookAgain(blob.hex())
        if [row[0] for row in rows] != list(range(first, last + 1)):
            raise self._rotten(blob, "a part of it is missing")
        for part, checksum, data in rows:
            if checksum != part_checksum(blob, part, data) or len(data) != min(PART, place.length - part * PART):
                raise self._rotten(blob, f"the checksum of part {part} is wrong")
        return b"".join(row[2] for row in rows)

    @staticmethod
    def _rotten(blob: BlobId, wrong: str) -> RookeryError:
        return RookeryError(Cause.CORRUPT, f"blob {blob.hex()} in the table body: {wrong}")

    def read_many(self, items: Sequence[tuple[BlobId, Place]]) -> list[bytes]:
        small = {blob: place for blob, place in items if place.length <= PART}
        with self._database.read() as reader:
            keys = [(blob, 0) for blob in small]
            rows = reader.select_many("body", ("blob", "part", "checksum", "data"), ("blob", "part"), keys)
        found = {row[0]: [(row[1], row[2], row[3])] for row in rows}
        return [
            self._joined(blob, place, found.get(blob, []), 0, 0) if blob in small else self.read(blob, place)
            for blob, place in items
        ]

    def chunks(self, blob: BlobId, place: Place, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """[start, stop) part by part, each checked; no reader is held between two."""
        end = place.length if stop is None else min(stop, place.length)
        for offset in range(start - start % PART, end, PART):
            first = max(start, offset)
            yield self.read(blob, place, first, min(offset + PART, end) - first)

    def verify(self, blob: BlobId, place: Place) -> str | None:
        """What is wrong with it; None when it is whole."""
        try:
            for _ in self.chunks(blob, place):  # each part is checked, its length too
                pass
        except LookAgain:
            return f"blob {blob.hex()} is missing"
        except RookeryError as error:
            if error.cause is not Cause.CORRUPT:
                raise
            return error.what
        return None

    # --- upkeep ---

    def strays(self, index: str, before: bytes, limit: int = FORGOTTEN) -> list[BlobId]:
        """Blobs that no row of the table `index` names, with ids below `before`: ids begin with their time, and a
        large one is there for a moment before its row. Delete them with `delete_many`.
        """
        with self._database.read() as reader:
            rows = reader.rows(
                f"SELECT b.blob FROM body b WHERE b.part = 0 AND b.blob < ? AND NOT EXISTS"
                f" (SELECT 1 FROM {index} i WHERE i.blob = b.blob) ORDER BY b.blob LIMIT ?",
                before, limit,
            )  # fmt: skip
        return [BlobId(row[0]) for row in rows]

    def shelf(self, number: int) -> list[BlobId]:
        return []

    def close(self) -> None:
        return
