"""A file that holds room on the disk: given up when the disk is full, so that EXPUNGE and compaction still can work.

Deleting needs space too (the database's log grows before it shrinks). The ballast comes back when there is room for it
several times over.
"""

import contextlib
import os
from pathlib import Path

from rookery.storage.files import Files

OCTETS = 16 * 1024 * 1024
ROOM = 4  # times its size that must be free before it is made again
_BLOCK = 1024 * 1024


class Ballast:
    __slots__ = ("_files", "_octets", "_path")

    def __init__(self, folder: Path, files: Files, octets: int = OCTETS) -> None:
        self._path = folder / "ballast"
        self._files = files
        self._octets = octets

    @property
    def held(self) -> bool:
        try:
            file = self._files.open_read(self._path)
        except OSError:
            return False
        try:
            return file.size() >= self._octets
        finally:
            file.close()

    def drop(self) -> bool:
        """Give the room up; True when there was some."""
        if not self.held:
            return False
        self._files.unlink(self._path)
        with contextlib.suppress(OSError):
            self._files.sync_folder(self._path.parent)  # a journalling file system frees the room only now
        return True

    def restore(self) -> bool:
        """Make it again if there is plenty of room; True when it is held."""
        if self.held:
            return True
        folder = self._path.parent
        with contextlib.suppress(OSError):
            if self._files.free_octets(folder) < self._octets * ROOM:
                return False
            self._files.unlink(self._path)  # left half-made by a crash
            file = self._files.create(self._path)
            try:
                for written in range(0, self._octets, _BLOCK):  # random: zeros would get no room where disks compress
                    file.append([os.urandom(min(_BLOCK, self._octets - written))])
                file.flush()
            finally:
                file.close()
            return True
        with contextlib.suppress(OSError):
            self._files.unlink(self._path)
        return False
