"""Blobs outside of the index's database, each a record of its own: what a shared folder and an object store have in
common. The index is on a server, and many backends on several machines write and read.

    HEADER (segments.py)   a CRC-32 of each part of 256 kB (parted.py)   the octets

A blob is durable before the transaction whose rows name it begins; it goes after the index has forgotten it. A crash in
between leaves one that nothing names: all are listed now and then, shelf by shelf. Names end with the blob's id, whose
end is random: it says on which of 256 shelves the blob is.

A place belongs to one store, whose name is in its mark: what this store's index does not name would be removed.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import BlobId
from rookery.base.log import logger
from rookery.storage.blobs import LookAgain, no_space
from rookery.storage.bodies import NoSegments
from rookery.storage.engine import Transaction
from rookery.storage.files import DiskFiles, Files
from rookery.storage.parted import PART, head, head_size, part_checksum, read_head
from rookery.storage.segments import IDENTITY, Place
from rookery.storage.staging import Staged, Staging, StagingArea

MARK = "ROOKERY-STORE"  # the name of the mark
AT_ONCE = 32  # blobs that are written, or read, at the same time
STRIDE = 8  # parts that are read in one piece

log = logger("blobs")


class PartedBlobs(NoSegments, ABC):
    """Implements bodies.Blobs. `staging`: on this machine, and of no use after its process.

    `where`: for messages; of no secrets.
    """

    with_index = False
    patient = False
    shelves = 256

    def __init__(self, where: str, staging: Path, files: Files | None = None) -> None:
        self.where = where
        self._files = files or DiskFiles()
        self._area = StagingArea(staging, self._files)
        self._pool = ThreadPoolExecutor(AT_ONCE, "blobs")

    # --- the place; any thread. All may raise RookeryError and OSError

    @abstractmethod
    def _put(self, blob: BlobId, size: int, octets: Iterator[bytes]) -> None:
        """Durable when it returns."""

    @abstractmethod
    def _get(self, blob: BlobId, start: int, stop: int) -> bytes:
        """Octets [start, stop), fewer at the end. Raises FileNotFoundError."""

    @abstractmethod
    def _remove(self, blobs: Sequence[BlobId]) -> None:
        """Those that are gone already are well."""

    @abstractmethod
    def shelf(self, number: int) -> list[BlobId]:
        """All blobs whose ids end with this octet, with what an interrupted writing left of them."""

    @abstractmethod
    def _read_mark(self) -> str | None: ...

    @abstractmethod
    def _write_mark(self, text: str) -> None: ...

    @abstractmethod
    def _probe(self, name: str) -> None:
        """Write something durably, and remove it."""

    def probe(self, name: str) -> None:
        """See whether it can be used. `name`: nobody else's. Raises UNAVAILABLE."""
        with self._failing("written"):
            self._probe(name)

    def claim(self, owner: str, *, fresh: bool) -> None:
        """Make sure that the place is this store's. `fresh`: it may be a new one, for there is no mail yet.

        Raises IN_USE: it is another's. UNAVAILABLE: not to be reached, or not what it was, as a folder not mounted.
        """
        with self._failing("used"):
            found = self._read_mark()
            if found is None and fresh:
                self._write_mark(owner)
                found = self._read_mark()
        if found is None:
            what = f"no mark of this store is in {self.where}: is it mounted, and where the mail has been so far?"
            raise RookeryError(Cause.UNAVAILABLE, what)
        if found != owner:
            raise RookeryError(Cause.IN_USE, f"{self.where} keeps the bodies of another store ({found[:32]})")

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            said = error.strerror or "it is not there"
            raise RookeryError(Cause.UNAVAILABLE, f"{self.where} cannot be {what}: {said}") from error

    # --- writing ---

    def stage(self) -> Staging:
        return Staging(self._area)

    def put_batch(self, items: Sequence[tuple[BlobId, Staged]]) -> Mapping[BlobId, Place]:
        """Some at a time; after the first that fails no more are begun, and none is kept."""
        tasks = [self._pool.submit(self._put_one, blob, staged) for blob, staged in items]
        _, waiting = wait(tasks, return_when=FIRST_EXCEPTION)
        for task in waiting:
            task.cancel()
        wait(waiting)
        error = next(filter(None, map(_error, tasks)), None)
        if error is not None:
            begun = [blob for (blob, _), task in zip(items, tasks, strict=True) if not task.cancelled()]
            self._pool.submit(self.delete_many, begun)  # if that fails, they are found on their shelves
            raise _told("written", error) from error
        return {blob: Place(0, head_size(staged.size), staged.size, IDENTITY) for blob, staged in items}

    def _put_one(self, blob: BlobId, staged: Staged) -> None:
        def octets() -> Iterator[bytes]:
            yield head(blob, staged)
            yield from staged.chunks()

        self._put(blob, head_size(staged.size) + staged.size, octets())

    def write(self, tx: Transaction, items: Sequence[tuple[BlobId, Staged]]) -> None:
        return  # `put_batch` has made them durable

    def drop(self, tx: Transaction, blobs: Sequence[BlobId]) -> None:
        return

    def delete_many(self, blobs: Sequence[BlobId]) -> None:
        if blobs:
            with self._failing("written"):
                self._remove(blobs)

    def seal(self) -> None:
        return

    # --- reading (any thread) ---

    def read(self, blob: BlobId, place: Place, offset: int = 0, length: int | None = None) -> bytes:
        """The parts that the range touches are read and checked."""
        end = place.length if length is None else min(place.length, offset + length)
        if offset >= end and (offset or place.length):
            return b""
        first, last = offset // PART, max(0, end - 1) // PART
        _, data = self._parts(blob, place, first, last)
        return data[offset - first * PART : end - first * PART]

    def _parts(
        self, blob: BlobId, place: Place, first: int, last: int, checksums: list[int] | None = None
    ) -> tuple[list[int], bytes]:
        """The octets of these parts, and what `checksums` are, if they are not known."""
        start, stop = place.offset + first * PART, place.offset + min(place.length, (last + 1) * PART)
        if checksums is None:
            together = first == 0
            data = self._at(blob, 0, stop if together else place.offset)
            found = read_head(data, blob, place.length)
            if isinstance(found, str):
                raise self._rotten(blob, found)
            checksums = found
            data = data[place.offset :] if together else self._at(blob, start, stop)
        else:
            data = self._at(blob, start, stop)
        if len(data) != stop - start:
            raise self._rotten(blob, "it ends too early")
        for part in range(first, last + 1):
            at = (part - first) * PART
            if part_checksum(blob, part, data[at : at + PART]) != checksums[part]:
                raise self._rotten(blob, f"the checksum of part {part} is wrong")
        return checksums, data

    def _at(self, blob: BlobId, start: int, stop: int) -> bytes:
        try:
            with self._failing("read"):
                try:
                    return self._get(blob, start, stop)
                except FileNotFoundError:
                    if self._read_mark() is None:
                        raise  # all of it is gone: nothing is known of this one
        except RookeryError as error:
            raise _told("read", error) from error
        raise LookAgain(blob.hex())

    def _rotten(self, blob: BlobId, wrong: str) -> RookeryError:
        return RookeryError(Cause.CORRUPT, f"blob {blob.hex()} in {self.where}: {wrong}")

    def read_many(self, items: Sequence[tuple[BlobId, Place]]) -> list[bytes]:
        if len(items) == 1:
            return [self.read(*items[0])]
        return list(self._pool.map(lambda item: self.read(*item), items))

    def chunks(self, blob: BlobId, place: Place, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """[start, stop), each piece from one part, and checked."""
        end = place.length if stop is None else min(stop, place.length)
        checksums: list[int] | None = None
        for first in range(start // PART, -(-end // PART), STRIDE):
            last = min(first + STRIDE, -(-end // PART)) - 1
            checksums, data = self._parts(blob, place, first, last, checksums)
            for part in range(first, last + 1):
                begin, limit = max(start, part * PART), min(end, (part + 1) * PART)
                yield data[begin - first * PART : limit - first * PART]

    # --- upkeep ---

    def strays(self, index: str, before: bytes) -> list[BlobId]:
        return []

    def close(self) -> None:
        self._pool.shutdown()


def _told(what: str, error: Exception) -> RookeryError:
    """What users are told; addresses and paths are for the log."""
    if isinstance(error, OSError):
        return no_space(error)
    if isinstance(error, RookeryError) and error.cause is not Cause.UNAVAILABLE:
        return error
    log.error("bodies-away", error=type(error).__name__, what=str(error))
    return RookeryError(Cause.UNAVAILABLE, f"the message store cannot be {what} now")


def _error(task: "Future[None]") -> Exception | None:
    if task.cancelled():
        return None
    error = task.exception()
    return error if error is None or isinstance(error, Exception) else RuntimeError(type(error).__name__)


def named(name: str) -> BlobId | None:
    """The blob whose file or object this is; None: it is something else."""
    try:
        return BlobId(bytes.fromhex(name)) if len(name) == 32 else None
    except ValueError:
        return None
