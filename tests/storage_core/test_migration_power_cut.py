"""The power goes at every step of a migration: afterwards the old schema or the new one is there, with every row."""

from collections.abc import Sequence
from pathlib import Path

from rookery.storage.migrations import Migration
from rookery.storage.sqlite import SqliteDatabase
from tests.faults.disk import FaultyDisk
from tests.faults.driver import at_every_step, faulty_vfs

FIRST = Migration(1, ("CREATE TABLE word (word TEXT PRIMARY KEY) STRICT",))
SECOND = Migration(
    2,
    (
        "ALTER TABLE word ADD COLUMN length INTEGER NOT NULL DEFAULT 0",
        "UPDATE word SET length = length(word)",
        "CREATE INDEX word_length ON word (length)",
    ),
)
COPY = "words.db.schema-1"
WORDS = ("rook", "raven", "jackdaw")


def _scenario(disk: FaultyDisk) -> None:
    path = disk.root / "words.db"
    with faulty_vfs(disk) as vfs:
        with SqliteDatabase(path, (FIRST,), vfs=vfs) as database:
            for word in WORDS:
                with database.write() as tx:
                    tx.run("INSERT INTO word (word) VALUES (?)", word)
                disk.promises.append(word)
        with SqliteDatabase(path, (FIRST, SECOND), vfs=vfs) as database:
            with database.write() as tx:
                tx.run("INSERT INTO word (word, length) VALUES (?, ?)", "crow", 4)
            disk.promises.append("crow")


def _check(folder: Path, promises: Sequence[object]) -> None:
    with SqliteDatabase(folder / "words.db", (FIRST, SECOND)) as database:
        assert database.problems() == []
        with database.read() as reader:
            rows = dict(reader.rows("SELECT word, length FROM word"))
        assert set(promises) <= rows.keys()
        assert all(length == len(word) for word, length in rows.items()), "half a migration"
    if "crow" in promises:  # the migration was done, so the copy of before is on the disk
        with SqliteDatabase(folder / COPY, (FIRST,)) as copy, copy.read() as reader:
            assert {row[0] for row in reader.rows("SELECT word FROM word")} == set(WORDS)


def test_a_migration_is_whole_or_not_at_all(tmp_path: Path) -> None:
    assert at_every_step(_scenario, _check, tmp_path) > 20
