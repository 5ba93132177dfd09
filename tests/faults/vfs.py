"""A SQLite VFS on a FaultyDisk: databases, rollback journals and write-ahead logs.

Shared memory (`-shm`) and temporary files pass by: nothing of them needs to survive. As SQLite's own Unix VFS does, the
first flush of a journal or log syncs its folder, too.
"""

import errno
from itertools import count
from pathlib import Path

import apsw

from tests.faults.disk import FaultyDisk, Inode

_numbers = count()
_SYNCS_FOLDER = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class FaultyVfs(apsw.VFS):
    """Give `name` to `SqliteDatabase(..., vfs=name)`. Files outside the disk's root are left alone. `close` it."""

    def __init__(self, disk: FaultyDisk) -> None:
        self.disk = disk
        self.name = f"faulty-{next(_numbers)}"
        super().__init__(self.name, "")

    def covers(self, path: str | None) -> bool:
        return path is not None and Path(path).is_relative_to(self.disk.root) and not path.endswith("-shm")

    def xOpen(  # noqa: N802  SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if not self.covers(path):
            return apsw.VFSFile("", name, flags)
        assert path is not None
        try:
            inode = self.disk.inode(Path(path))
            if inode is None and flags[0] & apsw.SQLITE_OPEN_CREATE:
                inode = self.disk.create(Path(path))
            return _FaultyVfsFile(self.disk, inode or Inode(), name, flags, Path(path))
        except OSError as error:
            raise apsw.CantOpenError(str(error)) from error

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802
        if self.covers(name):
            try:
                if Path(name).exists():
                    self.disk.unlink(Path(name))
                    if syncdir:
                        self.disk.sync_folder(Path(name).parent)
            except OSError as error:
                raise apsw.IOError(str(error)) from error
        super().xDelete(name, False)

    def close(self) -> None:
        self.unregister()


class _FaultyVfsFile(apsw.VFSFile):
    def __init__(
        self, disk: FaultyDisk, inode: Inode, name: str | apsw.URIFilename | None, flags: list[int], path: Path
    ) -> None:
        self._disk = disk
        self._inode = inode
        self._path = path
        self._name_unsynced = bool(flags[0] & _SYNCS_FOLDER)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        try:
            self._disk.write(self._inode, offset, bytes(data), self._path.name)
        except OSError as error:
            raise _as_sqlite(error) from error
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        try:
            self._disk.truncate(self._inode, size, self._path.name)
        except OSError as error:
            raise _as_sqlite(error) from error
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        try:
            self._disk.flush(self._inode, self._path.name)
            if self._name_unsynced:
                self._disk.sync_folder(self._path.parent)
                self._name_unsynced = False
        except OSError as error:
            raise _as_sqlite(error) from error


def _as_sqlite(error: OSError) -> apsw.Error:
    return apsw.FullError(str(error)) if error.errno in (errno.ENOSPC, errno.EDQUOT) else apsw.IOError(str(error))
