"""Connections are kept for the next transaction: none with something left on it, none of an old name."""

import contextlib

import psycopg
import pytest

from rookery.base.errors import Cause
from rookery.storage import postgres_writing
from rookery.storage.engine import EngineFailed, KeyExists
from rookery.storage.migrations import Migration
from rookery.storage.postgres import PostgresDatabase
from rookery.storage.postgres_dial import Connection, Dial
from tests.contract.conftest import Engine

pytestmark = pytest.mark.postgres

TABLES = (
    Migration(
        1,
        (
            "CREATE TABLE item (item INTEGER PRIMARY KEY) STRICT",
            "CREATE TABLE note (note TEXT NOT NULL) STRICT",
            "INSERT INTO item VALUES (0)",
        ),
    ),
)


@pytest.fixture
def database(postgres_engine: Engine) -> PostgresDatabase:
    database = postgres_engine(TABLES)
    assert isinstance(database, PostgresDatabase)
    return database


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """What was connected to since."""
    made: list[Connection] = []
    connect = Dial.connect

    def noted(dial: Dial) -> Connection:
        made.append(connect(dial))
        return made[-1]

    monkeypatch.setattr(Dial, "connect", noted)
    return made


def _add(database: PostgresDatabase, item: int) -> None:
    """In the message of its commit."""
    with database.write() as tx:
        tx.insert_later("item", ("item",), [(item,)])


@pytest.mark.parametrize("note", ["\ud800", "\0"])
def test_the_next_transaction_does_not_commit_what_another_has_left(database: PostgresDatabase, note: str) -> None:
    """The last words of a transaction, which are sent with its commit, cannot be said."""
    with pytest.raises((UnicodeEncodeError, psycopg.DataError)), database.write() as tx:  # noqa: PT012
        tx.insert_many("item", ("item",), [(1,)])
        tx.insert_later("note", ("note",), [(note,)])
    with database.write() as tx:
        tx.insert_many("item", ("item",), [(2,)])
    with database.read() as reader:
        assert reader.rows("SELECT item FROM item ORDER BY item") == [(0,), (2,)]


def test_a_commit_that_was_not_reached_takes_nothing_from_the_next(database: PostgresDatabase) -> None:
    """What is said often is prepared at the server, which does not hear of it in a message after what failed."""
    for before in range(8):
        database.reopen()
        for item in [0, *range(100 * before + 1, 101 * before + 1), 0]:
            with contextlib.nullcontext() if item else pytest.raises(KeyExists):
                _add(database, item)
        _add(database, 100 * before + 99)
    with database.read() as reader:
        assert reader.row("SELECT count(*) FROM item") == (1 + sum(range(8)) + 8,)


def test_what_the_server_refuses_is_not_asked_again(
    database: PostgresDatabase, dialled: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the connection is closed afterwards: there are enough of them."""
    with database.write() as tx, database.write() as other:
        tx.lock_many("item", ("item",), [(0,)])
        other.row("SELECT 1")
    dialled.clear()
    with database.write() as tx:
        tx.lock_many("item", ("item",), [(0,)])
        monkeypatch.setattr(postgres_writing, "KEPT", 0)
        with pytest.raises(EngineFailed) as caught, database.write() as other:
            other.rows("SELECT item FROM item FOR UPDATE NOWAIT")
        assert caught.value.cause is Cause.BUSY
    assert not dialled


def test_a_name_that_is_given_up_while_its_server_is_dialled_is_not_used(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Dial.connect

    def renamed_meanwhile(dial: Dial) -> Connection:
        made = connect(dial)
        monkeypatch.setattr(Dial, "connect", connect)
        database.rename("rookery new")
        return made

    database.reopen()
    monkeypatch.setattr(Dial, "connect", renamed_meanwhile)
    with database.write() as tx:
        assert tx.row("SELECT current_setting('application_name')") == ("rookery new",)


def test_what_is_used_while_a_name_is_given_up_is_not_kept(database: PostgresDatabase) -> None:
    with database.read() as reader:
        reader.row("SELECT 1")
        database.rename("rookery new")
    with database.read() as reader:
        assert reader.row("SELECT current_setting('application_name')") == ("rookery new",)


def test_a_transaction_under_way_outlives_its_database_and_is_not_kept(
    database: PostgresDatabase, dialled: list[Connection]
) -> None:
    database.reopen()
    with database.write() as tx:
        tx.run("INSERT INTO item VALUES (1)")
        database.close()
    assert [connection.closed for connection in dialled] == [True]
