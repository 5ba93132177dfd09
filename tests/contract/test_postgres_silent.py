"""A server that does not answer keeps no event loop waiting."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from rookery.base.errors import Cause
from rookery.storage import postgres_pool, postgres_writing
from rookery.storage.engine import EngineFailed
from rookery.storage.migrations import Migration
from rookery.storage.postgres import PostgresDatabase
from tests.journeys.waiting import wait_until
from tests.postgres import Postgres, Wire

pytestmark = pytest.mark.postgres

TABLES = (Migration(1, ("CREATE TABLE item (item INTEGER PRIMARY KEY) STRICT",)),)


@pytest.fixture
def database(fresh_postgres: Postgres, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresDatabase]:
    monkeypatch.setattr(postgres_pool, "ON_LOOP", 0.05)
    made = PostgresDatabase(wire.uri, TABLES, fresh_postgres.schema)
    yield made
    wire.speaking.set()
    made.close()


def _count(database: PostgresDatabase) -> int:
    with database.read() as reader:
        return len(reader.rows("SELECT item FROM item"))


async def _answers_again(database: PostgresDatabase) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _count(database)
            except EngineFailed:
                await asyncio.sleep(0.01)
            else:
                return


async def test_the_loop_waits_once_and_is_refused_until_it_is_found_again(
    database: PostgresDatabase, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _count(database) == 0
    wire.speaking.clear()
    with pytest.raises(EngineFailed) as refused:
        _count(database)
    assert refused.value.cause is Cause.UNAVAILABLE
    monkeypatch.setattr(postgres_pool, "ON_LOOP", 3600.0)  # nothing waits any more
    for _ in range(100):
        with pytest.raises(EngineFailed, match="looked for"):
            _count(database)
    wire.speaking.set()
    await _answers_again(database)


async def test_in_the_middle_of_a_read_too(database: PostgresDatabase, wire: Wire) -> None:
    with database.read() as reader:
        assert reader.rows("SELECT item FROM item") == []
        wire.speaking.clear()
        with pytest.raises(EngineFailed):
            reader.rows("SELECT item FROM item")
    with pytest.raises(EngineFailed, match="looked for"):
        _count(database)
    wire.speaking.set()
    await _answers_again(database)


async def test_other_threads_wait(database: PostgresDatabase, wire: Wire) -> None:
    assert _count(database) == 0
    wire.speaking.clear()
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(_count(database)))
    thread.start()
    thread.join(0.2)  # four times what the loop would wait
    assert thread.is_alive()
    wire.speaking.set()
    await asyncio.to_thread(thread.join, 30)
    assert found == [0]


def test_a_transaction_that_hangs_keeps_nobody_from_a_new_name(
    database: PostgresDatabase, wire: Wire, fresh_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut off, and what became of it is asked where a server answers."""
    monkeypatch.setattr(postgres_writing, "FINISHING", 0.05)
    with database.write() as first:
        first.row("SELECT 1")
        connection = first.connection
    failed: list[BaseException] = []
    silent = threading.Event()

    def work() -> None:
        try:
            with database.write() as tx:
                tx.run("INSERT INTO item VALUES (7)")
                wire.speaking.clear()
                silent.set()
        except BaseException as error:  # noqa: BLE001  looked at below
            failed.append(error)

    writing = threading.Thread(target=work)
    writing.start()
    assert silent.wait(30)
    renaming = threading.Thread(target=database.rename, args=("rookery new",))
    renaming.start()
    wait_until(lambda: connection.closed, "the connection to be cut off")
    wire.speaking.set()
    writing.join(30)
    renaming.join(30)
    assert not failed
    assert fresh_postgres.run(f"SELECT item FROM {fresh_postgres.schema}.item") == [(7,)]
    with database.read() as reader:
        assert reader.row("SELECT current_setting('application_name')") == ("rookery new",)
