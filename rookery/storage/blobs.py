"""Blobs: octets under a random id, small ones in segment files, large ones in files of their own.

`put_batch` runs in the writer thread and makes any number of bodies durable with one flush; only then may an index name
them. Reading is safe from any thread. Which blobs are alive is the index's business (see compaction).
"""

import contextlib
import errno
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import BlobId
from rookery.base.log import logger
from rookery.storage.engine import Transaction
from rookery.storage.files import File, Files
from rookery.storage.segments import (
    DEFLATE,
    HEADER,
    IDENTITY,
    MAGIC,
    Health,
    Place,
    Record,
    check,
    checksum,
    good_end,
    header,
    scan,
    sound_after,
)
from rookery.storage.staging import CHUNK, Staged, Staging, StagingArea

__all__ = ["BLOB_TABLE", "BlobStore", "Health", "LookAgain", "Place", "Record"]

BLOB_TABLE = (
    "CREATE TABLE blob (blob BLOB PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL,"
    " length INTEGER NOT NULL, codec INTEGER NOT NULL, size INTEGER NOT NULL, refs INTEGER NOT NULL, ended INTEGER)"
    " WITHOUT ROWID"
)

LARGE = 1024 * 1024  # octets from which a body stays a file of its own
SEGMENT_LIMIT = 128 * 1024 * 1024  # octets after which the next segment is begun
OPEN_FILES = 64
CHECKED = 256  # large blobs of which it is remembered that they are good
GAP = 16 * 1024  # octets between two wanted records that are read along rather than passed over
RUN = 1024 * 1024  # octets of several records read in one piece

log = logger("blobs")


class LookAgain(Exception):
    """The segment is gone: it was compacted since the place was looked up. Look the place up once more."""


def no_space(error: OSError) -> RookeryError:
    """What a failed file operation means to the caller."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RookeryError(Cause.DISK_FULL, "the disk of the message store is full")
    return RookeryError(Cause.UNAVAILABLE, f"the message store cannot be written now: {error.strerror}")


class BlobStore:
    """`known_end(segment)`: how far the index knows the segment; nothing before it is ever cut."""

    with_index = False
    patient = False
    shelves = 1

    def __init__(
        self, folder: Path, files: Files, *, known_end: Callable[[int], int] | None = None, compress: bool = False
    ) -> None:
        self._files = files
        self._segments = folder / "segments"
        self._large = folder / "large"
        self._compress = compress
        for made in (folder, self._segments, self._large):
            files.make_folder(made)
        self._area = StagingArea(folder / "staging", files)
        self._open: OrderedDict[str, File] = OrderedDict()
        self._checked: OrderedDict[BlobId, None] = OrderedDict()  # large ones, whose checksum was right
        self._lock = threading.Lock()
        numbers = self.segments()
        self._number = numbers[-1] if numbers else 0
        self._current: File | None = None
        if numbers:
            self._cut_torn_tail(known_end(self._number) if known_end is not None else 0)

    def _name(self, number: int) -> Path:
        return self._segments / f"{number:08d}.seg"

    def _cut_torn_tail(self, known: int) -> None:
        """Go on behind the last good record of the newest segment, unless it is full, damaged or cannot be written."""
        try:
            file = self._files.open_append(self._name(self._number))
        except OSError:
            return
        end = good_end(file, self._number, min(known, file.size()))
        try:
            if end < file.size():
                if sound_after(file, end):  # not a torn tail but damage: what lies behind it may be somebody's mail
                    log.error("segment-damaged", segment=self._number, offset=end)
                    file.close()
                    return
                log.info("tail-cut", segment=self._number, octets=file.size() - end)
                file.truncate(end)
                file.flush()
        except OSError:
            file.close()
            return
        self._current = file

    # --- writing (one thread) ---

    def stage(self) -> Staging:
        return Staging(self._area)

    def put_batch(self, items: Sequence[tuple[BlobId, Staged]]) -> Mapping[BlobId, Place]:
        """Make all durable, with one flush for those in segments. Raises RookeryError; then none is."""
        places: dict[BlobId, Place] = {}
        small: list[tuple[BlobId, Staged]] = []
        try:
            for blob, staged in items:
                if staged.size >= LARGE:
                    places[blob] = self._put_large(blob, staged)
                else:
                    small.append((blob, staged))
            if small:
                self._put_small(self._appendable(), small, places)
        except OSError as error:
            raise no_space(error) from error
        return places

    def _put_small(self, file: File, items: Sequence[tuple[BlobId, Staged]], places: dict[BlobId, Place]) -> None:
        pieces: list[bytes] = []
        before = offset = file.size()
        for blob, staged in items:
            body, codec = staged.pieces(), IDENTITY
            if self._compress:
                body, codec = [zlib.compress(b"".join(body), 1)], DEFLATE
            length = sum(map(len, body))
            pieces.append(header(blob, codec, length, checksum(codec, blob, body)))
            pieces += body
            places[blob] = Place(self._number, offset + HEADER.size, length, codec)
            offset += HEADER.size + length
        try:
            file.append(pieces)
        except OSError:
            try:
                file.truncate(before)  # not flushed, not known to anybody
            except OSError:
                self.seal()
            raise
        try:
            file.flush()
        except OSError:
            # The kernel may have dropped what it could not write: this segment is never appended to again. What was
            # acknowledged in it is durable and stays readable.
            self.seal()
            raise

    def _appendable(self) -> File:
        if self._current is not None and self._current.size() >= SEGMENT_LIMIT:
            self.seal()
        if self._current is None:
            self._number = max([self._number, *self.segments()], default=0) + 1
            file = self._files.create(self._name(self._number))
            self._files.sync_folder(self._segments)
            self._current = file
        return self._current

    def _put_large(self, blob: BlobId, staged: Staged) -> Place:
        path = self._large / blob.hex()
        file = self._files.create(path)
        try:
            file.append([header(blob, IDENTITY, staged.size, checksum(IDENTITY, blob, staged.chunks()))])
            for chunk in staged.chunks():
                file.append([chunk])
            file.flush()
            self._files.sync_folder(self._large)
        except OSError:
            with contextlib.suppress(OSError):
                self._files.unlink(path)
            raise
        finally:
            file.close()
        return Place(0, HEADER.size, staged.size, IDENTITY)

    def write(self, tx: Transaction, items: Sequence[tuple[BlobId, Staged]]) -> None:
        return  # `put_batch` has made them durable

    def drop(self, tx: Transaction, blobs: Sequence[BlobId]) -> None:
        return

    def seal(self) -> None:
        """Never append to the current segment again."""
        if self._current is not None:
            with contextlib.suppress(OSError):
                self._current.close()
            self._current = None

    @property
    def current(self) -> int:
        """The segment that is being written; never compacted or deleted."""
        return self._number if self._current is not None else 0

    # --- reading (any thread) ---

    def read(self, blob: BlobId, place: Place, offset: int = 0, length: int | None = None) -> bytes:
        """A blob or a part of it, checked: CORRUPT names a rotten one. Raises LookAgain, RookeryError."""
        if place.codec == DEFLATE:
            return _part(self._whole(blob, place), offset, length)
        if place.segment:
            body = self._whole(blob, place)
            return body if offset == 0 and (length is None or length >= place.length) else _part(body, offset, length)
        if offset == 0 and (length is None or length >= place.length):
            return self._whole(blob, place)
        self._check_large(blob, place)
        wanted = place.length - offset if length is None else min(length, place.length - offset)
        return self._at(blob, place, place.offset + offset, max(0, wanted))

    def read_many(self, items: Sequence[tuple[BlobId, Place]]) -> list[bytes]:
        """Whole blobs, checked, in the order of `items`; those that lie near each other are read in one piece."""
        found = [b""] * len(items)
        order = sorted(range(len(items)), key=lambda index: (items[index][1].segment, items[index][1].offset))
        at = 0
        while at < len(order):
            blob, place = items[order[at]]
            start, end = place.offset - HEADER.size, place.offset + place.length
            stop = at + 1
            while stop < len(order) and place.segment:
                following = items[order[stop]][1]
                limit = following.offset + following.length
                if following.segment != place.segment or following.offset - end > GAP or limit - start > RUN:
                    break
                end = max(end, limit)
                stop += 1
            data = self._at(blob, place, start, end - start)
            for index in order[at:stop]:
                blob, place = items[index]
                first = place.offset - HEADER.size - start
                found[index] = self._body(blob, place, data[first : first + HEADER.size + place.length])
            at = stop
        return found

    def chunks(self, blob: BlobId, place: Place, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """[start, stop) in pieces of 256 kB.

        Of the whole blob the checksum is compared before the last piece is handed out. A part of a large one is not
        checked here: whoever wants several parts has read one, or all, with `read` before.
        """
        if place.codec == DEFLATE or place.length <= CHUNK or (place.segment and (start or stop is not None)):
            body = self.read(blob, place)
            end = len(body) if stop is None else min(stop, len(body))
            for offset in range(start, end, CHUNK):
                yield body[offset : min(offset + CHUNK, end)]
        elif stop is None and not start:
            yield from self._pieces(blob, place)
        else:
            end = place.length if stop is None else min(stop, place.length)
            for offset in range(start, end, CHUNK):
                yield self._at(blob, place, place.offset + offset, min(CHUNK, end - offset))

    def _pieces(self, blob: BlobId, place: Place) -> Iterator[bytes]:
        head = self._at(blob, place, place.offset - HEADER.size, HEADER.size)
        if len(head) < HEADER.size:
            raise self._rotten(blob, place, "it ends too early")
        magic, codec, crc, length, owner = HEADER.unpack(head)
        if magic != MAGIC or owner != blob or length != place.length:
            raise self._rotten(blob, place, "its header does not fit")
        value = zlib.crc32(blob, codec)
        for offset in range(0, place.length, CHUNK):
            piece = self._at(blob, place, place.offset + offset, min(CHUNK, place.length - offset))
            value = zlib.crc32(piece, value)
            if offset + CHUNK >= place.length and value != crc:
                raise self._rotten(blob, place, "its checksum is wrong")
            yield piece

    def _check_large(self, blob: BlobId, place: Place) -> None:
        """A large blob is checked as a whole before the first part of it is handed out, and then for a while not."""
        if blob in self._checked:
            return
        for _ in self._pieces(blob, place):
            pass
        with self._lock:
            self._checked[blob] = None
            if len(self._checked) > CHECKED:
                self._checked.popitem(last=False)

    def _whole(self, blob: BlobId, place: Place) -> bytes:
        return self._body(blob, place, self._at(blob, place, place.offset - HEADER.size, HEADER.size + place.length))

    def _body(self, blob: BlobId, place: Place, data: bytes) -> bytes:
        """The blob in its record, checked."""
        wrong = check(data, blob, place.length)
        if wrong is not None:
            raise self._rotten(blob, place, wrong)
        body = data[HEADER.size :]
        return zlib.decompress(body) if place.codec == DEFLATE else body

    def _rotten(self, blob: BlobId, place: Place, wrong: str) -> RookeryError:
        where = f"segment {place.segment} at {place.offset}" if place.segment else f"file large/{blob.hex()}"
        return RookeryError(Cause.CORRUPT, f"blob {blob.hex()} in {where}: {wrong}")

    def _at(self, blob: BlobId, place: Place, offset: int, length: int) -> bytes:
        path = self._name(place.segment) if place.segment else self._large / blob.hex()
        with self._lock:
            file = self._open.pop(path.name, None)
        try:
            if file is None:
                file = self._files.open_read(path)
            data = file.read_at(offset, length)
        except FileNotFoundError:
            raise LookAgain(path.name) from None
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"{path.name} cannot be read: {error.strerror}") from error
        with self._lock:
            if path.name in self._open or len(self._open) >= OPEN_FILES:
                file.close()
            else:
                self._open[path.name] = file
            while len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        return data

    # --- upkeep (writer thread, or a stopped store) ---

    def segments(self) -> list[int]:
        return [int(name[:-4]) for name in self._files.names(self._segments) if name.endswith(".seg")]

    def large(self) -> list[BlobId]:
        return [BlobId(bytes.fromhex(name)) for name in self._files.names(self._large) if len(name) == 32]

    def shelf(self, number: int) -> list[BlobId]:
        return self.large()

    def segment_size(self, segment: int) -> int:
        file = self._files.open_read(self._name(segment))
        try:
            return file.size()
        finally:
            file.close()

    def scan(self, segment: int) -> Iterator[Record]:
        file = self._files.open_read(self._name(segment))
        try:
            yield from scan(file, segment)
        finally:
            file.close()

    def delete_segment(self, segment: int) -> None:
        """The caller has seen that no index row names it."""
        self._forget(self._name(segment))

    def delete_large(self, blob: BlobId) -> None:
        self._forget(self._large / blob.hex())

    def strays(self, index: str, before: bytes) -> list[BlobId]:
        return []  # segments are compacted by what the index names, large files are compared with it

    def delete_many(self, blobs: Sequence[BlobId]) -> None:
        for blob in blobs:
            self.delete_large(blob)

    def _forget(self, path: Path) -> None:
        with self._lock:
            file = self._open.pop(path.name, None)
        if file is not None:
            file.close()
        self._files.unlink(path)

    @property
    def free_octets(self) -> int:
        return self._files.free_octets(self._segments)

    def paths(self) -> tuple[Path, Path]:
        """The folders of segments and of large blobs, for snapshots."""
        return self._segments, self._large

    def close(self) -> None:
        self.seal()
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def _part(body: bytes, offset: int, length: int | None) -> bytes:
    return body[offset : None if length is None else offset + length]
