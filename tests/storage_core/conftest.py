"""Shared by the tests of the storage core."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rookery.base.errors import Refusal
from rookery.base.ids import BlobId
from rookery.storage.blobs import BLOB_TABLE, BlobStore
from rookery.storage.engine import Transaction
from rookery.storage.group_commit import Plain, Rule
from rookery.storage.migrations import Migration
from rookery.storage.sqlite import SqliteDatabase
from rookery.storage.staging import Staged
from tests.faults.disk import FaultyDisk

MIGRATIONS = (Migration(1, (BLOB_TABLE, "CREATE TABLE pair (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT")),)


def blob_id(number: int) -> BlobId:
    return BlobId(number.to_bytes(16, "big"))


def stage(blobs: BlobStore, data: bytes, chunk: int = 100_000) -> Staged:
    staging = blobs.stage()
    for start in range(0, len(data), chunk):
        staging.write(data[start : start + chunk])
    return staging.finish()


def insert_rule(plain: Plain) -> Rule[tuple[BlobId, int], BlobId]:
    """Names a blob of the batch in the table `blob`."""

    def apply(tx: Transaction, items: Sequence[tuple[BlobId, int]]) -> Sequence[BlobId | Refusal]:
        rows = []
        for blob, size in items:
            place = plain.places[blob]
            rows.append((blob, place.segment, place.offset, place.length, place.codec, size, 1, None))
        columns = ("blob", "segment", "offset", "length", "codec", "size", "refs", "ended")
        tx.insert_many("blob", columns, rows)
        return [blob for blob, _ in items]

    return Rule("insert", apply)


@pytest.fixture
def disk(tmp_path: Path) -> FaultyDisk:
    return FaultyDisk(tmp_path / "disk")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    made = SqliteDatabase(tmp_path / "test.db", MIGRATIONS)
    yield made
    made.close()
