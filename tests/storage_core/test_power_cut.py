"""Power cuts at every step of blob store, database and group commit: what was acknowledged is there, whole."""

import asyncio
import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Refusal, RookeryError
from rookery.base.ids import BlobId
from rookery.storage.blobs import BLOB_TABLE, BlobStore, Place
from rookery.storage.engine import Transaction
from rookery.storage.files import DiskFiles
from rookery.storage.gate import Gate
from rookery.storage.group_commit import Plain, Rule
from rookery.storage.migrations import Migration
from rookery.storage.sqlite import SqliteDatabase
from rookery.storage.staging import Staged
from rookery.storage.writer import Writer
from tests.faults.disk import Fate, FaultyDisk
from tests.faults.driver import at_every_step, faulty_vfs
from tests.faults.files import FaultyFiles

LARGE = 1 << 20


def _blob(number: int) -> BlobId:
    return BlobId(number.to_bytes(16, "big"))


def _body(number: int) -> bytes:
    size = LARGE + 70_000 if number % 5 == 4 else 700 + 911 * number
    return (f"message {number} ".encode() * (size // 10 + 1))[:size]


def _stage(blobs: BlobStore, data: bytes) -> Staged:
    staging = blobs.stage()
    for start in range(0, len(data), 100_000):
        staging.write(data[start : start + 100_000])
    return staging.finish()


def _put(blobs: BlobStore, numbers: Sequence[int]) -> list[tuple[int, Place]]:
    staged = [(_blob(n), _stage(blobs, _body(n))) for n in numbers]
    places = blobs.put_batch(staged)
    for _, body in staged:
        body.release()
    return [(n, places[_blob(n)]) for n in numbers]


def test_blobs_put_are_there(tmp_path: Path) -> None:
    def scenario(disk: FaultyDisk) -> None:
        blobs = BlobStore(disk.root / "store", FaultyFiles(disk))
        for numbers in ([0, 1], [2], [3, 4, 5]):
            disk.promises.extend(_put(blobs, numbers))
        blobs.close()
        blobs = BlobStore(disk.root / "store", FaultyFiles(disk))
        disk.promises.extend(_put(blobs, [6]))

    def check(folder: Path, promises: Sequence[object]) -> None:
        blobs = BlobStore(folder / "store", DiskFiles())
        for number, place in promises:  # type: ignore[misc]
            assert blobs.read(_blob(number), place) == _body(number)
        for number, place in _put(blobs, [10, 11, 14]):
            assert blobs.read(_blob(number), place) == _body(number)
        for number, place in promises:  # type: ignore[misc]
            assert b"".join(blobs.chunks(_blob(number), place)) == _body(number)
        blobs.close()

    assert at_every_step(scenario, check, tmp_path) > 20


MIGRATIONS = (Migration(1, (BLOB_TABLE, "CREATE TABLE pair (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT")),)


def test_commits_are_durable_and_whole(tmp_path: Path) -> None:
    def scenario(disk: FaultyDisk) -> None:
        with faulty_vfs(disk) as vfs, SqliteDatabase(disk.root / "test.db", MIGRATIONS, vfs=vfs) as database:
            for number in range(4):
                with database.write() as tx:
                    tx.insert_many("pair", ("name", "value"), [(f"a{number}", number), (f"b{number}", number)])
                disk.promises.append(number)
                if number == 2:
                    database.checkpoint()

    def check(folder: Path, promises: Sequence[object]) -> None:
        database = SqliteDatabase(folder / "test.db", MIGRATIONS)
        with database.read() as reader:
            found = dict(reader.rows("SELECT name, value FROM pair"))
        assert set(promises) <= set(found.values())
        assert all(f"a{n}" in found and f"b{n}" in found for n in found.values()), "half a transaction"
        assert database.problems() == []
        database.close()

    assert at_every_step(scenario, check, tmp_path) > 20


def _insert(places: Plain) -> Rule[tuple[BlobId, int], BlobId]:
    def apply(tx: Transaction, items: Sequence[tuple[BlobId, int]]) -> Sequence[BlobId | Refusal]:
        rows = []
        for blob, size in items:
            place = places.places[blob]
            rows.append((blob, place.segment, place.offset, place.length, place.codec, size, 1, None))
        columns = ("blob", "segment", "offset", "length", "codec", "size", "refs", "ended")
        tx.insert_many("blob", columns, rows)
        return [blob for blob, _ in items]

    return Rule("insert", apply)


async def _deliver(disk: FaultyDisk, database: SqliteDatabase) -> None:
    blobs = BlobStore(disk.root, FaultyFiles(disk))
    plain = Plain()
    rule = _insert(plain)
    writer = Writer(database, blobs, Gate(), limit_bytes=1 << 20, clock=ManualClock(), batching=plain)
    try:
        for number in range(6):
            staged = _stage(blobs, _body(number))
            await writer.run(rule, (_blob(number), staged.size), bodies=[(_blob(number), staged)])
            disk.promises.append(number)
            staged.release()
    finally:
        await writer.close()


def test_group_commit_keeps_what_it_answered(tmp_path: Path) -> None:
    def scenario(disk: FaultyDisk) -> None:
        with faulty_vfs(disk) as vfs, SqliteDatabase(disk.root / "index.db", MIGRATIONS, vfs=vfs) as database:
            asyncio.run(_deliver(disk, database))

    def check(folder: Path, promises: Sequence[object]) -> None:
        database = SqliteDatabase(folder / "index.db", MIGRATIONS)
        blobs = BlobStore(folder, DiskFiles())
        with database.read() as reader:
            rows = {
                row[0]: Place(*row[1:]) for row in reader.rows("SELECT blob, segment, offset, length, codec FROM blob")
            }
        assert {_blob(n) for n in promises} <= set(rows)  # type: ignore[arg-type]
        for blob, place in rows.items():  # nothing is named that is not there
            assert blobs.read(blob, place) == _body(int.from_bytes(blob, "big"))
        blobs.close()
        database.close()

    assert at_every_step(scenario, check, tmp_path) > 30


@pytest.mark.parametrize("failures", [1, 3])
def test_after_a_failed_flush_later_commits_last(tmp_path: Path, failures: int) -> None:
    """The log must not go on behind frames that the kernel gave up: a power cut would end it there."""
    disk = FaultyDisk(tmp_path / "running")

    async def commits(vfs: str) -> None:
        database = SqliteDatabase(disk.root / "index.db", MIGRATIONS, vfs=vfs)
        writer = Writer(database, None, Gate(), limit_bytes=1 << 20, clock=ManualClock())
        await writer.exclusive(lambda tx: tx.run("INSERT INTO pair (name, value) VALUES ('before', 1)"))
        disk.trouble(errno.EIO, "flush")
        for n in range(failures):
            with pytest.raises(RookeryError):
                await writer.exclusive(lambda tx, n=n: tx.run("INSERT INTO pair VALUES (?, 1)", f"lost{n}"))
        disk.heal()
        await writer.exclusive(lambda tx: tx.run("INSERT INTO pair (name, value) VALUES ('after', 1)"))
        disk.recover(tmp_path / "left", Fate.DROPPED)
        await writer.close()
        database.close()

    with faulty_vfs(disk) as vfs:
        asyncio.run(commits(vfs))
    left = SqliteDatabase(tmp_path / "left" / "index.db", MIGRATIONS)
    with left.read() as reader:
        assert {row[0] for row in reader.rows("SELECT name FROM pair")} >= {"before", "after"}
    assert left.problems() == []
    left.close()


class TestTheDiskItself:
    """The model is a test tool: a flush forgotten must show."""

    def test_an_unflushed_write_is_lost(self, tmp_path: Path) -> None:
        def scenario(disk: FaultyDisk) -> None:
            files = FaultyFiles(disk)
            file = files.create(disk.root / "a")
            files.sync_folder(disk.root)
            file.append([b"x" * 5000])
            disk.promises.append("written")

        def check(folder: Path, promises: Sequence[object]) -> None:
            if promises:
                assert (folder / "a").read_bytes() == b"x" * 5000

        with pytest.raises(AssertionError) as caught:
            at_every_step(scenario, check, tmp_path)
        assert "dropped" in caught.value.__notes__[0]

    def test_an_unsynced_name_is_lost(self, tmp_path: Path) -> None:
        disk = FaultyDisk(tmp_path / "running")
        files = FaultyFiles(disk)
        file = files.create(disk.root / "a")
        file.append([b"x"])
        file.flush()
        assert not (disk.recover(tmp_path / "left", Fate.DROPPED) / "a").exists()
        assert (disk.recover(tmp_path / "left", Fate.KEPT) / "a").read_bytes() == b"x"
        files.sync_folder(disk.root)
        assert (disk.recover(tmp_path / "left", Fate.DROPPED) / "a").read_bytes() == b"x"

    def test_torn_is_repeatable_and_torn(self, tmp_path: Path) -> None:
        disk = FaultyDisk(tmp_path / "running")
        files = FaultyFiles(disk)
        file = files.create(disk.root / "a")
        files.sync_folder(disk.root)
        file.append([bytes(range(256)) * 64])
        one = (disk.recover(tmp_path / "left", Fate.TORN, 1) / "a").read_bytes()
        again = (disk.recover(tmp_path / "left", Fate.TORN, 1) / "a").read_bytes()
        other = (disk.recover(tmp_path / "left", Fate.TORN, 2) / "a").read_bytes()
        assert one == again != other
        assert one != bytes(range(256)) * 64

    def test_a_database_that_does_not_flush_loses_its_commit(self, tmp_path: Path) -> None:
        disk = FaultyDisk(tmp_path / "running")
        with faulty_vfs(disk) as vfs:
            database = SqliteDatabase(disk.root / "t.db", MIGRATIONS, vfs=vfs, synchronous="OFF")
            with database.write() as tx:
                tx.run("INSERT INTO pair (name, value) VALUES ('a', 1)")
            left = disk.recover(tmp_path / "left", Fate.DROPPED)
            database.close()
        after = SqliteDatabase(left / "t.db", MIGRATIONS)
        with after.read() as reader:
            assert reader.rows("SELECT name FROM pair") == []
        after.close()
