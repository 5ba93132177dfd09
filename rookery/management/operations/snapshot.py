"""Snapshots: a folder that is a whole site of one moment, made while mail comes and goes; and putting one back.

The order is what makes it consistent. First the spool, then the store, then the directory, then settings and keys:

- A message that moves from spool to mailbox meanwhile is in both copies, never in neither; after a restore the queue
  delivers it again, and the store knows its delivery id and keeps it once. So no delivery id is forgotten in between.
- An account that is made meanwhile may be in the directory and not in the store; a start makes it there. The other way
  round its mail would belong to nobody.

A sealed segment never changes again, so on one file system it is linked, not copied. The one that is still written to
is copied, and so is everything by a restore: two sites never share a file that changes.
"""

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rookery import __version__
from rookery.base.errors import Cause, RookeryError
from rookery.management.durable import sync_folders, write_durably
from rookery.management.operations.registry import operation
from rookery.management.site import CONFIG_NAME, Site, refuse_in_use
from rookery.storage.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from rookery.management.parts import Parts

MARK = "SNAPSHOT.json"  # written last: a folder without it is no snapshot
SPOOL_INDEX = "spool.db"


class SnapshotMark(msgspec.Struct, frozen=True):
    """`began`, `ended`: seconds UTC. Everything acknowledged before `began` is in it."""

    version: str
    domain: str
    began: int
    ended: int
    files: int
    octets: int


class _Copier:
    """Linking and copying of files that others may be deleting."""

    def take(self, source: Path, target: Path, *, link: bool) -> None:
        """Have `target` hold what `source` holds now; one that vanished meanwhile is not missed."""
        try:
            if target.exists():
                if target.stat().st_size == source.stat().st_size:
                    return
                target.unlink()
            if not (link and _link(source, target)):
                _copy(source, target)
        except FileNotFoundError:
            return

    def take_folder(self, source: Path, target: Path, *, last_changes: bool) -> None:
        """All files of a folder of blobs. `last_changes`: the newest is still written to, so it is never linked."""
        if not source.is_dir():
            return
        target.mkdir(mode=0o700, exist_ok=True)
        names = sorted(entry.name for entry in source.iterdir() if entry.is_file())
        for name in names:
            self.take(source / name, target / name, link=not (last_changes and name == names[-1]))

    def take_blobs(self, source: Path, target: Path) -> None:
        self.take_folder(source / "segments", target / "segments", last_changes=True)
        self.take_folder(source / "large", target / "large", last_changes=False)


def _link(source: Path, target: Path) -> bool:
    """False on another file system, or one without links."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing, 1024 * 1024)
        writing.flush()
        os.fsync(writing.fileno())
    target.chmod(0o600)


@operation("snapshot")
async def snapshot(parts: "Parts", folder: str) -> SnapshotMark:
    """Make `folder` (absolute; must not exist or be empty) a snapshot. Raises INVALID, EXISTS, DENIED, DISK_FULL."""
    import asyncio

    if not os.path.isabs(folder) or "\0" in folder:
        raise RookeryError(Cause.INVALID, f"{folder!r} is no absolute path")
    site, target, began = parts.site, Site(Path(folder)), int(parts.clock.wall())
    refuse_in_use(target.folder)
    try:
        for made in (target.folder, target.spool, target.keys, target.tls):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        with parts.delivery_ids.kept():
            await asyncio.to_thread(_copy_spool, site, target)
            await parts.store.snapshot(target.store)
        await parts.directory.snapshot(target.directory)
        mark = await asyncio.to_thread(_finish, parts, target, began)
    except OSError as error:
        raise _translated(error, target.folder) from error
    return mark


def _copy_spool(site: Site, target: Site) -> None:
    """What the index names was durable before it; what is deleted between the first look and the index was linked."""
    copier = _Copier()
    copier.take_blobs(site.spool, target.spool)
    database = SqliteDatabase(site.spool / SPOOL_INDEX, ())
    try:
        database.backup(target.spool / SPOOL_INDEX)
    finally:
        database.close()
    copier.take_blobs(site.spool, target.spool)


def _finish(parts: "Parts", target: Site, began: int) -> SnapshotMark:
    """Settings and keys, and the mark that says that all is there."""
    site, copier = parts.site, _Copier()
    for source, into in ((site.keys, target.keys), (site.tls, target.tls)):
        copier.take_folder(source, into, last_changes=True)
    copier.take(site.config_file, target.config_file, link=False)
    found = [path for path in target.folder.rglob("*") if path.is_file()]
    octets = sum(path.stat().st_size for path in found)
    mark = SnapshotMark(__version__, parts.config.site.domain, began, int(parts.clock.wall()), len(found), octets)
    sync_folders(target.folder)
    write_durably(target.folder / MARK, msgspec.json.format(msgspec.json.encode(mark), indent=2) + b"\n")
    return mark


def restore(snapshot_folder: Path, folder: Path) -> SnapshotMark:
    """Make `folder` (must not exist or be empty) a site from a snapshot. Raises NOT_FOUND, EXISTS, INVALID."""
    mark_file = snapshot_folder / MARK
    if not mark_file.is_file():
        raise RookeryError(
            Cause.NOT_FOUND,
            f"{snapshot_folder} is no whole snapshot: it has no {MARK}; give a folder that `rookery snapshot` made",
        )
    try:
        mark = msgspec.json.decode(mark_file.read_bytes(), type=SnapshotMark)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RookeryError(Cause.INVALID, f"{mark_file}: {error}") from error
    refuse_in_use(folder)
    if folder.resolve().is_relative_to(snapshot_folder.resolve()):
        raise RookeryError(Cause.INVALID, f"{folder} is inside the snapshot; give a folder elsewhere")
    try:
        folders, files = _contents(snapshot_folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in folders:
            (folder / name).mkdir(mode=0o700)
        for name in files:
            if name not in (MARK, CONFIG_NAME):
                _copy(snapshot_folder / name, folder / name)
        # settings come last: a folder in which the copying was interrupted is no site
        _copy(snapshot_folder / CONFIG_NAME, folder / CONFIG_NAME)
        sync_folders(folder)
    except OSError as error:
        raise _translated(error, folder) from error
    return mark


def _contents(snapshot_folder: Path) -> tuple[list[str], list[str]]:
    """Its folders, outer ones first, and its files, relative. Raises INVALID for what leads out of it or never ends."""
    folders: list[str] = []
    files: list[str] = []
    for path in sorted(snapshot_folder.rglob("*")):
        kind = path.lstat().st_mode
        if not stat.S_ISDIR(kind) and not stat.S_ISREG(kind):
            raise RookeryError(Cause.INVALID, f"{path} is a link or a device; a snapshot holds files and folders only")
        (folders if stat.S_ISDIR(kind) else files).append(str(path.relative_to(snapshot_folder)))
    return folders, files


def _translated(error: OSError, folder: Path) -> RookeryError:
    cause = Cause.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else Cause.DENIED
    return RookeryError(cause, f"{error.filename or folder}: {error.strerror or error}")
