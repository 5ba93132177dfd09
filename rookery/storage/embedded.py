"""The embedded store's parts: a folder that belongs to one process.

DIR/index.db     accounts, mailboxes, messages, change log     DIR/segments, DIR/large   bodies
DIR/derived.db   may be lost                                   DIR/staging               bodies on their way in
"""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import RandomBytes
from rookery.storage.ballast import Ballast
from rookery.storage.blobs import BlobStore
from rookery.storage.derived import open_derived
from rookery.storage.files import Files
from rookery.storage.lock import FolderLock, identity
from rookery.storage.parts import Parts
from rookery.storage.schema import MIGRATIONS
from rookery.storage.snapshot import take_snapshot
from rookery.storage.sqlite import SqliteDatabase


def open_parts(folder: Path, files: Files, random: RandomBytes, vfs: str | None, ballast_octets: int) -> Parts:
    """Blocking. Raises IN_USE, UNSUPPORTED (a newer store), CORRUPT, UNAVAILABLE."""
    with ExitStack() as opened:
        try:
            files.make_folder(folder)
            lock = FolderLock(folder)
            opened.callback(lock.release)
            owner = identity(folder, files, random)
            database = SqliteDatabase(folder / "index.db", MIGRATIONS, vfs=vfs)
            opened.callback(database.close)

            def known_end(segment: int) -> int:
                with database.read() as reader:
                    row = reader.row("SELECT max(offset + length) FROM blob WHERE segment = ?", segment)
                return row[0] or 0 if row else 0

            blobs = BlobStore(folder, files, known_end=known_end)
            derived = open_derived(folder)
            ballast = Ballast(folder, files, ballast_octets)
            ballast.restore()
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"{folder} cannot be opened: {error.strerror}") from error
        opened.pop_all()
    snapshot = partial(take_snapshot, folder, database, blobs)
    return Parts(folder, owner, database, blobs, derived, ballast, snapshot, database.problems, _nameless, lock.release)


def _nameless(application: str) -> None:
    """A file has no sessions."""
