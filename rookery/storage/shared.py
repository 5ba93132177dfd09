"""The shared store's parts: a schema of a PostgreSQL database that many backends have open, perhaps a folder or bucket
for the bodies, and a folder of this process's own.

    DIR/derived.db   a cache of what was made of messages, may be lost     DIR/staging   bodies on their way in

Which backend may write to an account is the fence's business (fence.py): it is asked at the beginning of each batch.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import RandomBytes
from rookery.storage.bodies import Blobs
from rookery.storage.derived import forget_derived, open_derived
from rookery.storage.elsewhere import Elsewhere, open_elsewhere, settle
from rookery.storage.engine import Database
from rookery.storage.files import DiskFiles, Files
from rookery.storage.hosting import SHARED_MIGRATIONS
from rookery.storage.lock import FolderLock, Identity, identity, write_identity
from rookery.storage.parts import Parts
from rookery.storage.postgres import PostgresDatabase
from rookery.storage.postgres_blobs import PostgresBlobs
from rookery.storage.schema import NEXT_ACCOUNT, UPKEEP

SCHEMA = "store"
_HALVES = ("identity-high", "identity-low")
_NO_SNAPSHOT = (
    "the mail of this site is in PostgreSQL: take pg_dump, or a base backup with archived WAL, of its database;"
    " and a copy of what store.blobs names; `rookery snapshot` has no part of it"
)


def open_parts(
    conninfo: str,
    folder: Path,
    random: RandomBytes,
    *,
    clock: Clock,
    schema: str,
    application: str,
    bodies: Elsewhere | None = None,
) -> Parts:
    """Blocking. Raises IN_USE (the folder), UNSUPPORTED (a newer store), BUSY, DISK_FULL, UNAVAILABLE."""
    database = PostgresDatabase(conninfo, SHARED_MIGRATIONS, schema, application=application, clock=clock)
    return parts_on(database, folder, random, bodies=bodies)


def parts_on(
    database: PostgresDatabase,
    folder: Path,
    random: RandomBytes,
    files: Files | None = None,
    bodies: Elsewhere | None = None,
) -> Parts:
    """On an open database with SHARED_MIGRATIONS, which is closed when the store cannot be opened."""
    files = files or DiskFiles()
    with ExitStack() as opened:
        opened.callback(database.close)
        try:
            files.make_folder(folder)
            lock = FolderLock(folder)
            opened.callback(lock.release)
            owner = _identity(database, random)
            _own(folder, files, owner)
            blobs = _blobs(database, folder / "staging", files, bodies, owner.store)
            opened.callback(blobs.close)
            derived = open_derived(folder)
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"{folder} cannot be opened: {error.strerror}") from error
        opened.pop_all()
    return Parts(folder, owner, database, blobs, derived, None, _no_snapshot, list, database.rename, lock.release)


def _blobs(database: PostgresDatabase, staging: Path, files: Files, bodies: Elsewhere | None, owner: str) -> Blobs:
    if bodies is None:
        settle(database, None, owner)
        return PostgresBlobs(database, staging, files)
    elsewhere = open_elsewhere(bodies, staging, files)
    try:
        settle(database, elsewhere, owner)
    except BaseException:
        elsewhere.close()
        raise
    return elsewhere


def _no_snapshot(target: Path) -> NoReturn:
    raise RookeryError(Cause.UNSUPPORTED, _NO_SNAPSHOT)


def _identity(database: Database, random: RandomBytes) -> Identity:
    """The same for all backends, made by the first; so are the rows of `meta` that are locked or counted up."""
    fresh = [(name, int.from_bytes(random(8), "big", signed=True)) for name in _HALVES]
    rows = [*fresh, (NEXT_ACCOUNT, 1), (UPKEEP, 0)]
    with database.write() as tx:
        tx.insert_many("meta", ("name", "value"), rows, keep_existing=True)
        kept: dict[str, int] = dict(tx.select_many("meta", ("name", "value"), ("name",), [(name,) for name in _HALVES]))
    return Identity(b"".join(kept[name].to_bytes(8, "big", signed=True) for name in _HALVES).hex(), 1)


def _own(folder: Path, files: Files, owner: Identity) -> None:
    """What was made of another store's messages is of no use for this one's."""
    if "IDENTITY" in files.names(folder) and identity(folder, files, bytes) == owner:
        return
    forget_derived(folder)
    write_identity(folder, files, owner)
