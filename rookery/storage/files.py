"""The one small file interface of store and spool, so that a test can drop, tear and refuse whatever is not flushed.

Paths are absolute. Every member may raise OSError. SQLite does its own file I/O; its tests hand in a VFS.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class File(Protocol):
    """One open file."""

    def append(self, pieces: Sequence[bytes]) -> None:
        """Write all pieces at the end, in order; not durable before `flush`."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Fewer octets than asked at the end of the file."""
        ...

    def flush(self) -> None:
        """Make everything appended durable (fdatasync)."""
        ...

    def truncate(self, size: int) -> None: ...

    def size(self) -> int: ...

    def close(self) -> None: ...


class Files(Protocol):
    """A file system."""

    def create(self, path: Path) -> File:
        """A new file for appending; FileExistsError when it exists. Its name is durable after `sync_folder`."""
        ...

    def open_append(self, path: Path) -> File: ...

    def open_read(self, path: Path) -> File: ...

    def rename(self, old: Path, new: Path) -> None: ...

    def unlink(self, path: Path) -> None:
        """Absent already is well."""
        ...

    def names(self, folder: Path) -> list[str]: ...

    def make_folder(self, folder: Path) -> None:
        """With those above it, durably; one that is there is well."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Make names created, renamed and unlinked in `folder` durable."""
        ...

    def free_octets(self, folder: Path) -> int: ...


class DiskFile:
    """A descriptor; `read_at` is safe from any thread."""

    __slots__ = ("_descriptor", "_size")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    def append(self, pieces: Sequence[bytes]) -> None:
        waiting = [memoryview(piece) for piece in pieces if piece]
        while waiting:
            written = os.writev(self._descriptor, waiting[:_IOV_MOST])
            self._size += written
            while waiting and written >= len(waiting[0]):
                written -= len(waiting.pop(0))
            if written:
                waiting[0] = waiting[0][written:]

    def read_at(self, offset: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        while len(data) < length:
            more = os.pread(self._descriptor, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def flush(self) -> None:
        os.fdatasync(self._descriptor)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)
        self._size = size

    def size(self) -> int:
        return self._size

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


_IOV_MOST = 512  # pieces for one writev; the kernel takes 1024


class DiskFiles:
    """The real one."""

    __slots__ = ()

    def create(self, path: Path) -> File:
        return DiskFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600))

    def open_append(self, path: Path) -> File:
        return DiskFile(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC))

    def open_read(self, path: Path) -> File:
        return DiskFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def names(self, folder: Path) -> list[str]:
        return sorted(os.listdir(folder))

    def make_folder(self, folder: Path) -> None:
        missing = [part for part in (folder, *folder.parents) if not part.exists()]
        for part in reversed(missing):
            part.mkdir(exist_ok=True, mode=0o700)
            self.sync_folder(part.parent)

    def sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free_octets(self, folder: Path) -> int:
        facts = os.statvfs(folder)
        return facts.f_bavail * facts.f_frsize
