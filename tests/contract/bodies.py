"""Bodies for tests, and places for them beside the database."""

from pathlib import Path

from obstore.store import ObjectStore

from rookery.base.ids import BlobId
from rookery.storage.bodies import Blobs
from rookery.storage.folder_blobs import FolderBlobs
from rookery.storage.object_blobs import ObjectBlobs
from rookery.storage.staging import Staged


def body_id(n: int) -> BlobId:
    return BlobId(n.to_bytes(16, "big"))


def octets(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def in_folder(tmp_path: Path) -> FolderBlobs:
    (tmp_path / "shared").mkdir(exist_ok=True)
    blobs = FolderBlobs(tmp_path / "shared", tmp_path / "staging")
    blobs.claim("this store", fresh=True)
    return blobs


def in_bucket(objects: ObjectStore, tmp_path: Path) -> ObjectBlobs:
    blobs = ObjectBlobs(objects, "the bucket", tmp_path / "staging")
    blobs.claim("this store", fresh=True)
    return blobs


def staged(blobs: Blobs, data: bytes) -> Staged:
    staging = blobs.stage()
    for start in range(0, len(data), 100_000):
        staging.write(data[start : start + 100_000])
    return staging.finish()
