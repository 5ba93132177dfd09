"""Opening a spool: the folder's lock, database, bodies, a new incarnation, the writer."""

from contextlib import ExitStack
from pathlib import Path

from rookery.base.clock import Clock
from rookery.base.ids import RandomBytes, system_random
from rookery.distribution.spool import admin, incarnations
from rookery.distribution.spool.schema import MIGRATIONS
from rookery.distribution.spool.spool import Spool, SpoolSettings
from rookery.storage.blobs import BlobStore, no_space
from rookery.storage.engine import Database
from rookery.storage.files import DiskFiles, Files
from rookery.storage.gate import Gate
from rookery.storage.group_commit import Plain
from rookery.storage.lock import FolderLock
from rookery.storage.sqlite import SqliteDatabase
from rookery.storage.writer import Writer


async def open_spool(
    folder: Path,
    *,
    clock: Clock,
    gate: Gate,
    random: RandomBytes = system_random,
    files: Files | None = None,
    settings: SpoolSettings | None = None,
    vfs: str | None = None,
) -> Spool:
    """Opens or makes the spool in `folder`, as a new incarnation: what earlier ones had claimed is due again.

    Raises RookeryError: IN_USE, UNSUPPORTED (a newer schema), CORRUPT, DISK_FULL, UNAVAILABLE.
    """
    disk = files or DiskFiles()
    settings = settings or SpoolSettings()
    with ExitStack() as opened:
        disk.make_folder(folder)
        lock = FolderLock(folder)
        opened.callback(lock.release)
        database = SqliteDatabase(folder / "spool.db", MIGRATIONS, vfs=vfs)
        opened.callback(database.close)
        incarnation = _begin(database, int(clock.wall()))
        blobs = _open_blobs(folder, disk, database)
        opened.pop_all()
    places = Plain()
    writer = Writer(
        database, blobs, gate, limit_bytes=settings.waiting, clock=clock, batching=places, name="spool-writer"
    )
    return Spool(
        database, writer, blobs, places, clock=clock, random=random, incarnation=incarnation, settings=settings,
        lock=lock,
    )  # fmt: skip


def _begin(database: Database, now: int) -> int:
    """Whoever holds the folder's lock is the only one that lives."""
    with database.write() as tx:
        incarnations.end(tx, [other.incarnation for other in incarnations.living(tx)], now)
        incarnation = incarnations.begin(tx, "", now)
        while incarnations.release(tx, now) == incarnations.SLICE:
            pass
    return incarnation


def _open_blobs(folder: Path, files: Files, database: Database) -> BlobStore:
    """Raises RookeryError(DISK_FULL, UNAVAILABLE)."""
    with database.read() as reader:
        ends = admin.segment_ends(reader)
        needed = admin.large_bodies(reader)
    try:
        blobs = BlobStore(folder, files, known_end=lambda segment: ends.get(segment, 0))
        for blob in blobs.large():
            if blob not in needed:  # a crash came between a commit and the unlinking, or before a commit
                blobs.delete_large(blob)
    except OSError as error:
        raise no_space(error) from error
    return blobs
