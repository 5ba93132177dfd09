"""rookery.storage.files.Files on a FaultyDisk."""

import errno
from collections.abc import Sequence
from pathlib import Path

from rookery.storage.files import DiskFiles, File
from tests.faults.disk import FaultyDisk, Inode

_REAL = DiskFiles()


class FaultyFile:
    """A real file, and its model."""

    def __init__(self, disk: FaultyDisk, file: File, inode: Inode | None, what: str) -> None:
        self._disk = disk
        self._file = file
        self._inode = inode  # None: opened for reading only
        self._what = what

    def append(self, pieces: Sequence[bytes]) -> None:
        """On a full disk half of it arrives before the error, as it may on a real one."""
        data = b"".join(pieces)
        assert self._inode is not None
        try:
            self._disk.write(self._inode, self._file.size(), data, self._what)
        except OSError as error:
            if error.errno == errno.ENOSPC and len(data) > 1:
                self._inode.pending.append((self._file.size(), data[: len(data) // 2]))
                self._file.append([data[: len(data) // 2]])
            raise
        self._file.append([data])

    def read_at(self, offset: int, length: int) -> bytes:
        return self._file.read_at(offset, length)

    def flush(self) -> None:
        assert self._inode is not None
        self._disk.flush(self._inode, self._what)

    def truncate(self, size: int) -> None:
        assert self._inode is not None
        self._disk.truncate(self._inode, size, self._what)
        self._file.truncate(size)

    def size(self) -> int:
        return self._file.size()

    def close(self) -> None:
        self._file.close()


class FaultyFiles:
    """Hand it to BlobStore, Store, Spool. All paths must lie under the disk's root."""

    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk
        self.free = 1 << 40  # what `free_octets` says

    def create(self, path: Path) -> FaultyFile:
        if path.exists():
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        inode = self._disk.create(path)
        return FaultyFile(self._disk, _REAL.create(path), inode, path.name)

    def open_append(self, path: Path) -> FaultyFile:
        return FaultyFile(self._disk, _REAL.open_append(path), self._disk.inode(path), path.name)

    def open_read(self, path: Path) -> FaultyFile:
        return FaultyFile(self._disk, _REAL.open_read(path), None, path.name)

    def rename(self, old: Path, new: Path) -> None:
        self._disk.rename(old, new)
        _REAL.rename(old, new)

    def unlink(self, path: Path) -> None:
        if path.exists():
            self._disk.unlink(path)
            _REAL.unlink(path)

    def names(self, folder: Path) -> list[str]:
        return _REAL.names(folder)

    def make_folder(self, folder: Path) -> None:
        """As DiskFiles: the folder's own name is synced, too."""
        missing = [part for part in (folder, *folder.parents) if not part.exists()]
        for part in reversed(missing):
            self._disk.make_folder(part)
            part.mkdir()
            self._disk.sync_folder(part.parent)

    def sync_folder(self, folder: Path) -> None:
        self._disk.sync_folder(folder)

    def free_octets(self, folder: Path) -> int:
        return self.free
