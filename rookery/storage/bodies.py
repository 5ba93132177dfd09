"""What writer, store and spool ask of whatever keeps their blobs: segment files (blobs.py), rows (postgres_blobs.py),
files in a shared folder (folder_blobs.py), objects (object_blobs.py).

The order never changes: a blob is durable before, or with, the first row that names it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from rookery.base.ids import BlobId
from rookery.storage.engine import Transaction
from rookery.storage.segments import Place, Record
from rookery.storage.staging import Staged, Staging


class NoSegments:
    """That half of `Blobs` for what keeps nothing in segments."""

    current = 0

    def segments(self) -> list[int]:
        return []

    def segment_size(self, segment: int) -> int:
        return 0

    def scan(self, segment: int) -> Iterator[Record]:
        return iter(())

    def delete_segment(self, segment: int) -> None:
        return


class Blobs(Protocol):
    """with_index: they are kept in the database of the index, so that one transaction has both.

    patient: putting has time-outs of its own, and seconds of it do not mean that the writer hangs.
    """

    @property
    def with_index(self) -> bool: ...

    @property
    def patient(self) -> bool: ...

    def stage(self) -> Staging: ...

    # --- one writing thread; on a shared store each of several ---

    def put_batch(self, items: Sequence[tuple[BlobId, Staged]]) -> Mapping[BlobId, Place]:
        """Make all durable, or ready to become so by `write`. Raises RookeryError; then none is."""
        ...

    def write(self, tx: Transaction, items: Sequence[tuple[BlobId, Staged]]) -> None:
        """Last but for counters, in the transaction whose rows name these blobs, after `put_batch`."""
        ...

    def drop(self, tx: Transaction, blobs: Sequence[BlobId]) -> None:
        """In the transaction that removes what named them: what is kept with the index goes with it."""
        ...

    def delete_many(self, blobs: Sequence[BlobId]) -> None:
        """After that transaction, or of blobs that nothing ever named; those that are gone already are well."""
        ...

    def seal(self) -> None:
        """Trust nothing that was not finished."""
        ...

    # --- any thread ---

    def read(self, blob: BlobId, place: Place, offset: int = 0, length: int | None = None) -> bytes:
        """A blob or a part of it, checked: CORRUPT names a rotten one. Raises LookAgain, RookeryError."""
        ...

    def read_many(self, items: Sequence[tuple[BlobId, Place]]) -> list[bytes]:
        """Whole blobs, checked, in the order of `items`."""
        ...

    def chunks(self, blob: BlobId, place: Place, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """[start, stop) in pieces of at most 256 kB."""
        ...

    @property
    def shelves(self) -> int: ...

    def shelf(self, number: int) -> list[BlobId]:
        """Some of the blobs with a place of their own, not in a segment; for finding those that nothing names. All
        shelves, from 0, have all; 0 where `strays` finds them. May take seconds.
        """
        ...

    def strays(self, index: str, before: bytes) -> list[BlobId]:
        """Some blobs with ids below `before` that no row of the table `index` names; [] where they cannot be."""
        ...

    # --- upkeep; where nothing is kept in segments, there are none ---

    @property
    def current(self) -> int: ...

    def segments(self) -> list[int]: ...

    def segment_size(self, segment: int) -> int: ...

    def scan(self, segment: int) -> Iterator[Record]:
        """All records of a segment, as far as they can be told apart."""
        ...

    def delete_segment(self, segment: int) -> None: ...

    def close(self) -> None: ...
