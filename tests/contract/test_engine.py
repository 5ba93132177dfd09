"""What rules may expect of any engine; and what a writer makes of one that always fails."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.storage.engine import Database, EngineFailed, KeyExists, Reader, Transaction
from rookery.storage.gate import Gate
from rookery.storage.group_commit import Rule
from rookery.storage.migrations import Migration
from rookery.storage.writer import Writer
from tests.contract.conftest import Engine

TABLE = """CREATE TABLE item (
    owner INTEGER NOT NULL,
    name TEXT NOT NULL,
    "offset" INTEGER,  -- a keyword, and yet a column
    data BLOB,
    PRIMARY KEY (owner, name)
) WITHOUT ROWID, STRICT"""
MIGRATIONS = (Migration(1, (TABLE, 'CREATE INDEX item_offset ON item ("offset") WHERE data IS NOT NULL')),)
COLUMNS = ("owner", "name", "offset", "data")


@pytest.fixture
def database(engine: Engine) -> Database:
    made = engine(MIGRATIONS)
    with made.write() as tx:
        tx.insert_many("item", COLUMNS, [(1, "a", 10, b"\0\xff"), (1, "b", None, None), (2, "a", 1 << 60, b"")])
    return made


def _all(database: Database) -> list[tuple[object, ...]]:
    with database.read() as reader:
        return reader.rows("SELECT owner, name, offset, data FROM item ORDER BY owner, name")


class TestReading:
    def test_values_come_back_as_they_went(self, database: Database) -> None:
        assert _all(database) == [(1, "a", 10, b"\0\xff"), (1, "b", None, None), (2, "a", 1 << 60, b"")]

    def test_row_is_the_first_or_none(self, database: Database) -> None:
        with database.read() as reader:
            assert reader.row("SELECT name FROM item WHERE owner = ? ORDER BY name", 1) == ("a",)
            assert reader.row("SELECT name FROM item WHERE owner = ?", 9) is None
            assert reader.row("SELECT count(*), sum(owner), max(offset + 1) FROM item") == (3, 4, (1 << 60) + 1)

    def test_characters_that_mean_something_to_sql(self, database: Database) -> None:
        with database.read() as reader:
            assert reader.rows("SELECT '?', '100%', name FROM item WHERE name LIKE 'a%' AND owner = ?", 2) == [
                ("?", "100%", "a")
            ]
            assert reader.rows("SELECT name FROM item WHERE owner = ? ORDER BY name LIMIT ? OFFSET ?", 1, 5, 1) == [
                ("b",)
            ]

    def test_select_many(self, database: Database) -> None:
        with database.read() as reader:
            keys = [(1, "a"), (2, "a"), (7, "x"), (1, "a")]
            found = reader.select_many("item", ("owner", "offset"), ("owner", "name"), keys)
            assert sorted(found) == [(1, 10), (2, 1 << 60)]
            assert reader.select_many("item", ("name",), ("owner",), []) == []
            assert sorted(reader.select_many("item", ("name", "owner"), ("owner",), [(1,), (1,)])) == [
                ("a", 1),
                ("b", 1),
            ]

    @pytest.mark.parametrize("count", [1, 2, 3, 511, 512, 513, 3000])
    def test_many_keys(self, database: Database, count: int) -> None:
        with database.write() as tx:
            tx.insert_many("item", COLUMNS, [(5, f"n{n}", n, None) for n in range(count)])
        with database.read() as reader:
            keys = [(5, f"n{n}") for n in range(count + 1)]
            assert sorted(reader.select_many("item", ("offset",), ("owner", "name"), keys)) == [
                (n,) for n in range(count)
            ]

    def test_a_reader_sees_one_moment(self, database: Database) -> None:
        with database.read() as reader:
            before = reader.rows("SELECT name FROM item")
            with database.write() as tx:
                tx.run("DELETE FROM item")
            assert reader.rows("SELECT name FROM item") == before
        assert _all(database) == []


class TestWriting:
    def test_run_counts_the_rows(self, database: Database) -> None:
        with database.write() as tx:
            assert tx.run("UPDATE item SET data = ? WHERE owner = ?", b"x", 1) == 2
            assert tx.run("UPDATE item SET data = NULL WHERE owner = 99") == 0
            tx.run("CREATE TABLE other (a INTEGER)")
            assert tx.run("DELETE FROM item") == 3

    def test_update_many(self, database: Database) -> None:
        with database.write() as tx:
            rows = [(1, "a", 11, b"new"), (2, "a", None, None), (3, "a", 1, None), (1, "b", 1, None), (1, "b", 2, b"2")]
            tx.update_many("item", ("owner", "name"), ("offset", "data"), rows)
            tx.update_many("item", ("owner", "name"), ("offset",), [])
        assert _all(database) == [(1, "a", 11, b"new"), (1, "b", 2, b"2"), (2, "a", None, None)]

    def test_what_is_done_later_is_seen_by_whoever_asks_next(self, database: Database) -> None:
        with database.write() as tx:
            tx.run("CREATE TABLE other (a INTEGER)")
            tx.insert_later("other", ("a",), [(1,), (2,)])
            tx.update_later("item", ("owner", "name"), ("offset",), [(1, "a", 7), (1, "a", 8)])
            tx.update_later("item", ("owner", "name"), ("offset",), [])
            assert tx.rows("SELECT offset FROM item WHERE owner = 1 AND name = 'a'") == [(8,)]
            assert tx.rows("SELECT a FROM other ORDER BY a") == [(1,), (2,)]
            tx.update_later("item", ("owner", "name"), ("offset",), [(2, "a", 9)])
        with database.read() as reader:
            assert reader.rows("SELECT offset FROM item WHERE owner < 3 AND name = 'a' ORDER BY owner") == [(8,), (9,)]

    def test_delete_many(self, database: Database) -> None:
        with database.write() as tx:
            tx.delete_many("item", ("owner", "name"), [(1, "a"), (1, "zz")])
            tx.delete_many("item", ("owner",), [])
            assert [row[:2] for row in tx.rows("SELECT owner, name FROM item ORDER BY owner")] == [(1, "b"), (2, "a")]
            tx.delete_many("item", ("owner",), [(1,), (2,)])
        assert _all(database) == []

    def test_an_existing_key_raises_or_is_kept(self, database: Database) -> None:
        before = _all(database)
        with database.write() as tx:
            with pytest.raises(KeyExists), tx.savepoint():
                tx.insert_many("item", COLUMNS, [(3, "n", 1, None), (1, "a", 99, None)])
            assert tx.rows("SELECT name FROM item WHERE owner = 3") == []
            tx.insert_many("item", COLUMNS, [(1, "a", 99, None), (4, "n", 1, None)], keep_existing=True)
        assert _all(database) == [*before, (4, "n", 1, None)]

    @pytest.mark.parametrize("count", [1, 3, 64, 100, 135])
    def test_rows_of_any_number(self, database: Database, count: int) -> None:
        with database.write() as tx:
            tx.insert_many("item", COLUMNS, [(5, f"n{n:03}", n, b"x") for n in range(count)])
            tx.insert_many("item", COLUMNS, [(5, f"n{n:03}", -1, None) for n in range(count + 2)], keep_existing=True)
        with database.read() as reader:
            rows = reader.rows("SELECT offset, data FROM item WHERE owner = ? ORDER BY name", 5)
        assert rows == [*((n, b"x") for n in range(count)), (-1, None), (-1, None)]

    def test_an_error_rolls_back(self, database: Database) -> None:
        before = _all(database)
        with pytest.raises(ZeroDivisionError), database.write() as tx:  # noqa: PT012
            tx.run("DELETE FROM item")
            raise ZeroDivisionError
        assert _all(database) == before

    def test_savepoints(self, database: Database) -> None:
        with database.write() as tx:
            with tx.savepoint():
                tx.run("DELETE FROM item WHERE owner = 2")
            with pytest.raises(ZeroDivisionError), tx.savepoint():  # noqa: PT012
                tx.run("DELETE FROM item")
                raise ZeroDivisionError
        assert [row[:2] for row in _all(database)] == [(1, "a"), (1, "b")]

    def test_a_wrong_statement_is_not_the_databases_failure(self, database: Database) -> None:
        with database.write() as tx:
            with pytest.raises(Exception, match="nowhere") as caught, tx.savepoint():
                tx.run("DELETE FROM nowhere")
            assert not isinstance(caught.value, RookeryError)
            tx.run("DELETE FROM item")
        assert _all(database) == []

    def test_writers_take_turns(self, database: Database) -> None:
        with database.write() as tx:
            tx.run("DELETE FROM item")
            other = threading.Thread(target=self._add, args=(database,))
            other.start()
            assert tx.rows("SELECT name FROM item") == []
        other.join()
        assert [row[:2] for row in _all(database)] == [(8, "late")]

    @staticmethod
    def _add(database: Database) -> None:
        with database.write() as tx:
            tx.insert_many("item", COLUMNS, [(8, "late", None, None)])


class TestMigrations:
    def test_a_step_is_taken_once(self, engine: Engine) -> None:
        second = Migration(2, function=lambda tx: tx.insert_many("item", COLUMNS, [(9, "made", None, None)]))
        engine(MIGRATIONS).close()
        engine((*MIGRATIONS, second)).close()
        assert [row[:2] for row in _all(engine((*MIGRATIONS, second)))] == [(9, "made")]

    def test_a_step_that_fails_changes_nothing(self, engine: Engine) -> None:
        def fail(tx: Transaction) -> None:
            tx.run("DELETE FROM item")
            raise ZeroDivisionError

        database = engine(MIGRATIONS)
        with database.write() as tx:
            tx.insert_many("item", COLUMNS, [(1, "a", None, None)])
        database.close()
        with pytest.raises(ZeroDivisionError):
            engine((*MIGRATIONS, Migration(2, function=fail)))
        assert len(_all(engine(MIGRATIONS))) == 1

    def test_a_newer_schema_is_refused_by_name(self, engine: Engine) -> None:
        engine((*MIGRATIONS, Migration(2, (), "99.0"))).close()
        with pytest.raises(RookeryError, match=r"Use Rookery 99\.0 or newer") as caught:
            engine(MIGRATIONS)
        assert caught.value.cause is Cause.UNSUPPORTED

    def test_a_newer_schema_that_only_added_is_used(self, engine: Engine) -> None:
        engine((*MIGRATIONS, Migration(2, ("CREATE TABLE added (a INTEGER)",), "0.1.0"))).close()
        assert _all(engine(MIGRATIONS)) == []


class _Failing:
    """A database that always fails. `at`: begin, statement, commit."""

    shared = False

    def __init__(self, cause: Cause, at: str) -> None:
        self.error = EngineFailed(cause, "always")
        self.at = at
        self.reopened = 0

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        if self.at == "begin":
            raise self.error
        yield _FailingTransaction(self)  # type: ignore[misc]
        raise self.error

    @contextmanager
    def read(self) -> Iterator[Reader]:
        raise self.error
        yield

    def reopen(self) -> None:
        self.reopened += 1

    def close(self) -> None:
        pass


class _FailingTransaction:
    def __init__(self, database: _Failing) -> None:
        self._database = database

    def run(self, sql: str, *values: object) -> int:
        if self._database.at == "statement":
            raise self._database.error
        return 1


class TestAlwaysFailing:
    @pytest.mark.parametrize("at", ["begin", "statement", "commit"])
    @pytest.mark.parametrize("cause", [Cause.UNAVAILABLE, Cause.DISK_FULL, Cause.CORRUPT, Cause.BUSY])
    async def test_everybody_waiting_is_told_why(self, cause: Cause, at: str) -> None:
        database = _Failing(cause, at)
        writer = Writer(database, None, Gate(), limit_bytes=1 << 20, clock=ManualClock())
        answers: list[int | Refusal] = []
        for n in range(3):
            writer.submit(_COUNT, n, done=answers.append)
        with pytest.raises(RookeryError) as caught:
            await writer.run(_COUNT, 3)
        assert caught.value.cause is cause
        assert [answer.cause for answer in answers if isinstance(answer, Refusal)] == [cause] * 3
        with pytest.raises(RookeryError):
            await writer.exclusive(lambda tx: tx.run("x"))
        await writer.close()
        assert (database.reopened > 0) == (cause is Cause.UNAVAILABLE)

    def test_errors_a_rule_swallows_do_not_become_a_commit(self, database: Database) -> None:
        """A transaction whose database failed stays failed: the rest of the batch must not be committed alone."""
        before = _all(database)
        failed = EngineFailed(Cause.DISK_FULL, "as SQLite says after it has rolled back by itself")
        with pytest.raises(EngineFailed), database.write() as tx:  # noqa: PT012
            tx.run("DELETE FROM item WHERE owner = 1")
            tx.failure = failed  # type: ignore[attr-defined]
            with pytest.raises(EngineFailed):
                tx.run("DELETE FROM item")
        assert _all(database) == before


def _count(tx: Transaction, items: Sequence[int]) -> list[int | Refusal]:
    return [tx.run("UPDATE item SET offset = ?", item) for item in items]


_COUNT: Rule[int, int] = Rule("count", _count)
