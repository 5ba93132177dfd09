"""Where the bodies of a shared store are when not in its database: a folder that all machines see, or a bucket."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rookery.base.errors import Cause, RookeryError
from rookery.storage.engine import Database
from rookery.storage.files import Files
from rookery.storage.parted_blobs import PartedBlobs

_KEPT = "bodies"  # in `meta`
_IN_DATABASE, _ELSEWHERE = 0, 1


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """where: the path of a folder, or the URL of a bucket. options: what its service is told, secrets among them."""

    where: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


def open_elsewhere(place: Elsewhere, staging: Path, files: Files | None = None) -> PartedBlobs:
    """Nothing is asked of the place yet. Raises UNSUPPORTED."""
    if "://" not in place.where:
        from rookery.storage.folder_blobs import FolderBlobs

        return FolderBlobs(Path(place.where), staging, files)
    try:
        from rookery.storage.object_blobs import ObjectBlobs, connect
    except ImportError as error:
        raise RookeryError(Cause.UNSUPPORTED, "obstore is missing: install rookery[object-store]") from error
    return ObjectBlobs(connect(place.where, place.options), place.where, staging, files)


def settle(database: Database, blobs: PartedBlobs | None, owner: str) -> None:
    """Make sure that the bodies of this store are where it looks for them; None is its database.

    Raises UNSUPPORTED: there is mail already, and it is on the other side. IN_USE, UNAVAILABLE: of `PartedBlobs.claim`.
    """
    wanted = _IN_DATABASE if blobs is None else _ELSEWHERE
    with database.write() as tx:
        fresh = tx.row("SELECT blob FROM blob LIMIT 1") is None
        tx.insert_many("meta", ("name", "value"), [(_KEPT, wanted if fresh else _IN_DATABASE)], keep_existing=True)
        if fresh:
            tx.update_many("meta", ("name",), ("value",), [(_KEPT, wanted)])
        row = tx.row("SELECT value FROM meta WHERE name = ?", _KEPT)
    if row != (wanted,):
        where = "in its database" if blobs is not None else "in a folder or bucket"
        raise RookeryError(Cause.UNSUPPORTED, f"the bodies of this store are {where}: store.blobs may not change")
    if blobs is not None:
        blobs.claim(owner, fresh=fresh)
