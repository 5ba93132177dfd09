"""A file that holds room on the disk: given up when the disk is full, so that EXPUNGE and compaction still can work.

Deleting needs space too (the database's log grows before it shrinks). The ballast comes back when there is room for it
several times over.
"""

import contextlib
from pathlib import Path

from rookery.storage.files import Files

OCTETS = 16 * 1024 * 1024
ROOM = 4  # times its size that must be free before it is made again
_BLOCK = b"\0" * (1024 * 1024)


class Ballast:
    __slots__ = ("_files", "_octets", "_path")

    def __init__(self, folder: Path, files: Files, octets: int = OCTETS) -> None:
        self._path = folder / "ballast"
        self._files = files
        self._octets = octets

    @property
    def held(self) -> bool:
        return self._path.name in self._files.names(self._path.parent)

    def drop(self) -> bool:
        """Give the room up; True when there was some."""
        if not self.held:
            return False
        self._files.unlink(self._path)
        return True

    def restore(self) -> bool:
        """Make it again if there is plenty of room; True when it is held."""
        if self.held:
            return True
        folder = self._path.parent
        with contextlib.suppress(OSError):
            if self._files.free_octets(folder) < self._octets * ROOM:
                return False
            file = self._files.create(self._path)
            try:
                for _ in range(self._octets // len(_BLOCK)):
                    file.append([_BLOCK])
                file.flush()
            finally:
                file.close()
            return True
        with contextlib.suppress(OSError):
            self._files.unlink(self._path)
        return False
