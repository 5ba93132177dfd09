"""A consistent copy of the store while it works: the index as of one moment, and every body that it names.

Bodies are durable before the index names them and nothing is removed meanwhile (the caller holds upkeep still), so the
copy of the index is taken first and all that it needs is there afterwards. Sealed segments and large bodies never
change: they are linked, where the file system can, and copied otherwise. `restore` is a copy back.
"""

import os
import shutil
from pathlib import Path

from rookery.base.errors import Cause, RookeryError
from rookery.storage.blobs import BlobStore
from rookery.storage.sqlite import SqliteDatabase

_COPY = 1 << 20


def take_snapshot(store: Path, database: SqliteDatabase, blobs: BlobStore, target: Path) -> None:
    """Of the store in the folder `store`. Blocking; `target` must not exist. Raises EXISTS, DISK_FULL, UNAVAILABLE."""
    try:
        target.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise RookeryError(Cause.EXISTS, f"{target} exists") from None
    except OSError as error:
        raise RookeryError(Cause.UNAVAILABLE, f"{target} cannot be made: {error.strerror}") from error
    database.backup(target / "index.db")
    current = blobs.current
    segments, large = blobs.paths()
    try:
        for folder in (segments, large):
            copy = target / folder.name
            copy.mkdir(mode=0o700)
            for entry in sorted(os.listdir(folder)):
                growing = folder == segments and entry == f"{current:08d}.seg"
                _take(folder / entry, copy / entry, link=not growing)
        shutil.copy2(store / "IDENTITY", target / "IDENTITY")
        _flush(target)
    except OSError as error:
        raise RookeryError(Cause.UNAVAILABLE, f"the snapshot failed: {error.strerror}") from error


def _take(source: Path, target: Path, *, link: bool) -> None:
    if link:
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without links
            pass
        else:
            return
    with source.open("rb") as old, target.open("xb") as new:
        left = os.fstat(old.fileno()).st_size
        while left:
            piece = old.read(min(_COPY, left))
            if not piece:
                break
            new.write(piece)
            left -= len(piece)
        new.flush()
        os.fsync(new.fileno())


def _flush(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        if path.is_dir():
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
