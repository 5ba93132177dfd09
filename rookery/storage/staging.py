"""Bodies on their way in: in memory while small, in a temporary file otherwise.

Nothing here is durable; blobs.py makes it so at commit. A `Staged` may go into several databases and to several
accounts; whoever made it releases it when all are done.
"""

from collections.abc import Iterator
from pathlib import Path

from rookery.storage.files import File, Files

MEMORY_EACH = 256 * 1024  # octets of one body kept in memory
MEMORY_TOTAL = 128 * 1024 * 1024  # of all bodies together; beyond it everything goes to files
CHUNK = 256 * 1024


class StagingArea:
    """The folder for temporary files and the budget of memory. Used on the event loop and by the writer."""

    __slots__ = ("_count", "files", "folder", "in_memory")

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder = folder
        self.files = files
        self.in_memory = 0
        self._count = 0
        files.make_folder(folder)
        for name in files.names(folder):  # of an earlier life: nobody was told that they were kept
            files.unlink(folder / name)

    def next_path(self) -> Path:
        self._count += 1
        return self.folder / f"{self._count:08x}"


class Staged:
    """A finished body: `size` octets. Read it as often as needed, then `release` it once."""

    __slots__ = ("_area", "_file", "_holds", "_path", "_pieces", "_released", "size")

    def __init__(self, area: StagingArea, pieces: list[bytes], size: int, file: File | None, path: Path | None) -> None:
        self._area = area
        self._pieces = pieces
        self._file = file
        self._path = path
        self._holds = 0
        self._released = False
        self.size = size

    @property
    def path(self) -> Path | None:
        """The temporary file that holds it, None for a body in memory."""
        return self._path

    def pieces(self) -> list[bytes]:
        """All of a body in memory."""
        return self._pieces if self._file is None else list(self.chunks())

    def read(self) -> bytes:
        return b"".join(self.pieces())

    def chunks(self) -> Iterator[bytes]:
        if self._file is None:
            yield from self._pieces
            return
        for offset in range(0, self.size, CHUNK):
            yield self._file.read_at(offset, min(CHUNK, self.size - offset))

    def flush(self) -> None:
        """Make the temporary file durable. Writer thread."""
        if self._file is not None:
            self._file.flush()

    def hold(self) -> None:
        """A writer has work with this body: it stays until `drop`, whatever its owner does. Event loop."""
        self._holds += 1

    def drop(self) -> None:
        self._holds -= 1
        if self._released and not self._holds:
            self._free()

    def release(self) -> None:
        """The owner is done with it: give memory and file back. A second call does nothing."""
        if not self._released:
            self._released = True
            if not self._holds:
                self._free()

    def _free(self) -> None:
        if self._file is not None:
            self._file.close()
            if self._path is not None:
                self._area.files.unlink(self._path)
            self._file = None
        elif self._pieces:
            self._area.in_memory -= self.size
        self._pieces = []
        self._path = None


class Staging:
    """A body that is arriving. `write` may raise OSError once it has become a file; then `discard` it."""

    __slots__ = ("_area", "_file", "_path", "_pieces", "size")

    def __init__(self, area: StagingArea) -> None:
        self._area = area
        self._pieces: list[bytes] = []
        self._file: File | None = None
        self._path: Path | None = None
        self.size = 0

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self._file is not None:
            self._file.append((chunk,))
            return
        self._pieces.append(chunk)
        self._area.in_memory += len(chunk)
        if self.size > MEMORY_EACH or self._area.in_memory > MEMORY_TOTAL:
            self._spill()

    def _spill(self) -> None:
        self._path = self._area.next_path()
        self._file = self._area.files.create(self._path)
        self._area.in_memory -= self.size
        pieces, self._pieces = self._pieces, []
        self._file.append(pieces)

    def finish(self) -> Staged:
        return Staged(self._area, self._pieces, self.size, self._file, self._path)

    def discard(self) -> None:
        self.finish().release()
        self._file, self._pieces = None, []
