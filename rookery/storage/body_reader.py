"""Bodies by their ids: the index says where each is, and the blobs have it.

Compaction may move a body between the two questions; then its place is asked for once more.
"""

from collections.abc import Iterator, Sequence

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import BlobId
from rookery.storage.blobs import LookAgain
from rookery.storage.bodies import Blobs
from rookery.storage.engine import Database
from rookery.storage.segments import Place


class BodyReader:
    """Any thread."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def read(self, blob: BlobId, offset: int = 0, length: int | None = None) -> bytes:
        """A body or a part of one. Raises CORRUPT, NOT_FOUND, UNAVAILABLE."""
        try:
            return self._blobs.read(blob, self.place(blob), offset, length)
        except LookAgain:
            pass
        try:
            return self._blobs.read(blob, self.place(blob), offset, length)
        except LookAgain as gone:
            raise RookeryError(Cause.CORRUPT, f"blob {blob.hex()}: its file {gone} is missing") from gone

    def read_many(self, blobs: Sequence[BlobId]) -> list[bytes]:
        """Whole bodies in the order of `blobs`. Raises as `read`, for the first that cannot be read."""
        columns = ("blob", "segment", "offset", "length", "codec")
        with self._database.read() as reader:
            rows = reader.select_many("blob", columns, ("blob",), [(blob,) for blob in blobs])
        places = {row[0]: Place(*row[1:]) for row in rows}
        try:
            return self._blobs.read_many([(blob, places[blob]) for blob in blobs])
        except (KeyError, LookAgain):  # one by one, so that each is looked up once more or named
            return [self.read(blob) for blob in blobs]

    def chunks(self, blob: BlobId, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """[start, stop) in pieces; see `BlobStore.chunks`. Raises as `read`, perhaps after some of them."""
        place = self.place(blob)
        try:
            for piece in self._blobs.chunks(blob, place, start, stop):
                yield piece
                start += len(piece)
        except LookAgain:  # compacted, perhaps when some of it had been handed out
            yield self.read(blob, start, None if stop is None else stop - start)

    def place(self, blob: BlobId) -> Place:
        with self._database.read() as reader:
            row = reader.row("SELECT segment, offset, length, codec FROM blob WHERE blob = ?", blob)
        if row is None:
            raise RookeryError(Cause.NOT_FOUND, f"blob {blob.hex()} is not in this store")
        return Place(*row)
