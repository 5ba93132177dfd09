"""What only the embedded engine has: checkpoints, copies, damage, migrations with a copy kept."""

import threading
from pathlib import Path

import apsw
import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.storage import sqlite
from rookery.storage.engine import EngineFailed
from rookery.storage.migrations import Migration
from rookery.storage.sqlite import SqliteDatabase
from rookery.storage.sqlite_statements import translated
from tests.storage_core.conftest import MIGRATIONS


def fill(database: SqliteDatabase, first: int, count: int = 1000) -> None:
    with database.write() as tx:
        tx.insert_many("pair", ("name", "value"), [(f"{n:0200d}", n) for n in range(first, first + count)])


def count(database: SqliteDatabase) -> int:
    with database.read() as reader:
        row = reader.row("SELECT count(*) FROM pair")
    return int(row[0]) if row else 0


def test_every_commit_is_flushed(database: SqliteDatabase) -> None:
    with database.write() as tx:
        assert tx.row("PRAGMA synchronous") == (2,)
        assert tx.row("PRAGMA journal_mode") == ("wal",)


def test_the_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 50)
    monkeypatch.setattr(sqlite, "TRUNCATE_PAGES", 200)
    database = SqliteDatabase(tmp_path / "test.db", MIGRATIONS)
    most = 0
    for n in range(60):
        fill(database, n * 1000)
        most = max(most, (tmp_path / "test.db-wal").stat().st_size)
    database.checkpoint()
    assert (tmp_path / "test.db-wal").stat().st_size == 0
    assert count(database) == 60_000
    database.close()
    assert most < 1500 * 4096, "60 commits wrote about 7,500 pages"


def test_a_reader_does_not_hinder_the_writer(database: SqliteDatabase) -> None:
    fill(database, 0)
    with database.read() as reader:
        assert reader.row("SELECT count(*) FROM pair") == (1000,)
        fill(database, 1000)
        assert reader.row("SELECT count(*) FROM pair") == (1000,)
    assert count(database) == 2000


def test_readers_of_many_threads(database: SqliteDatabase) -> None:
    fill(database, 0)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.extend(count(database) for _ in range(20))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1000] * 240


def test_a_copy_is_of_one_moment(database: SqliteDatabase, tmp_path: Path) -> None:
    fill(database, 0)
    stop = threading.Event()

    def write() -> None:
        n = 1000
        while not stop.is_set():
            fill(database, n, 10)
            n += 10

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for n in range(3):
            database.backup(tmp_path / f"copy{n}.db")
    finally:
        stop.set()
        thread.join()
    for n in range(3):
        copy = SqliteDatabase(tmp_path / f"copy{n}.db", MIGRATIONS)
        assert copy.problems() == []
        assert count(copy) >= 1000
        assert count(copy) % 10 == 0
        copy.close()


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    database = SqliteDatabase(path, MIGRATIONS)
    fill(database, 0, 5000)
    database.close()
    data = bytearray(path.read_bytes())
    for page in range(3, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    path.write_bytes(data)
    database = SqliteDatabase(path, MIGRATIONS)
    with pytest.raises(EngineFailed) as caught, database.read() as reader:
        reader.rows("SELECT * FROM pair ORDER BY value")
    assert caught.value.cause is Cause.CORRUPT
    database.close()
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(RookeryError) as refused:
        SqliteDatabase(path, MIGRATIONS)
    assert refused.value.cause is Cause.CORRUPT


def test_a_copy_is_kept_of_what_is_migrated(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "test.db", MIGRATIONS)
    fill(database, 0)
    database.close()
    second = Migration(2, ("DELETE FROM pair",))
    database = SqliteDatabase(tmp_path / "test.db", (*MIGRATIONS, second))
    assert count(database) == 0
    database.close()
    kept = SqliteDatabase(tmp_path / "test.db.schema-1", MIGRATIONS)
    assert count(kept) == 1000
    kept.close()


def test_a_newer_one_is_refused_without_touching_it(tmp_path: Path) -> None:
    SqliteDatabase(tmp_path / "test.db", (*MIGRATIONS, Migration(2, (), "99.0"))).close()
    before = (tmp_path / "test.db").read_bytes()
    with pytest.raises(RookeryError) as caught:
        SqliteDatabase(tmp_path / "test.db", MIGRATIONS)
    assert caught.value.cause is Cause.UNSUPPORTED
    assert "test.db" in caught.value.what
    assert (tmp_path / "test.db").read_bytes() == before


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (apsw.FullError(), Cause.DISK_FULL),
        (apsw.IOError(), Cause.UNAVAILABLE),
        (apsw.ReadOnlyError(), Cause.UNAVAILABLE),
        (apsw.CantOpenError(), Cause.UNAVAILABLE),
        (apsw.CorruptError(), Cause.CORRUPT),
        (apsw.NotADBError(), Cause.CORRUPT),
        (apsw.BusyError(), Cause.BUSY),
    ],
)
def test_failures_have_their_causes(error: apsw.Error, cause: Cause) -> None:
    assert translated(error).cause is cause
