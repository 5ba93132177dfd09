"""A store belongs to one process: an exclusive lock on its folder, and an identity with a generation.

The generation rises when a mirror of the store is promoted; a host that meets a higher one than its own stops.
"""

import fcntl
import os
from pathlib import Path

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import RandomBytes
from rookery.storage.files import Files


class Identity(msgspec.Struct, frozen=True):
    """`store`: 32 hexadecimal digits, for life. `generation`: from 1."""

    store: str
    generation: int


class FolderLock:
    """Held until `release` or the end of the process, however it ends. Raises RookeryError(IN_USE)."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "LOCK"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"{self.path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            who = f"process {owner}" if owner else "another process"
            raise RookeryError(Cause.IN_USE, f"{folder} is in use by {who}") from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:  # a full or read-only disk: the lock holds all the same, only its owner is not written down
            pass

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def identity(folder: Path, files: Files, random: RandomBytes) -> Identity:
    """The identity of the store in `folder`, made when it has none. Raises RookeryError(CORRUPT)."""
    path = folder / "IDENTITY"
    if path.name in files.names(folder):
        file = files.open_read(path)
        try:
            return msgspec.json.decode(file.read_at(0, 4096), type=Identity)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RookeryError(Cause.CORRUPT, f"{path} is not an identity: {error}") from error
        finally:
            file.close()
    made = Identity(random(16).hex(), 1)
    write_identity(folder, files, made)
    return made


def write_identity(folder: Path, files: Files, made: Identity) -> None:
    """Replace it whole or not at all."""
    new = folder / "IDENTITY.new"
    files.unlink(new)
    file = files.create(new)
    try:
        file.append([msgspec.json.encode(made)])
        file.flush()
    finally:
        file.close()
    files.rename(new, folder / "IDENTITY")
    files.sync_folder(folder)
