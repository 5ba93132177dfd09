"""PostgreSQL goes away at every step of a transaction: what was answered is there, what was refused is not."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause
from rookery.storage import postgres_dial
from rookery.storage.engine import EngineFailed, OutcomeUnknown
from rookery.storage.migrations import Migration
from rookery.storage.postgres import PostgresDatabase
from tests.journeys.cluster import PostgresServer, running_server
from tests.journeys.waiting import wait_until
from tests.postgres import Postgres, Wire

pytestmark = pytest.mark.postgres

TABLES = (Migration(1, ("CREATE TABLE item (item INTEGER PRIMARY KEY) STRICT",)),)


def _add(database: PostgresDatabase, item: int) -> None:
    with database.write() as tx:
        tx.insert_many("item", ("item",), [(item,)])
        tx.run("UPDATE item SET item = item WHERE item = ?", item)


def _items(database: PostgresDatabase) -> list[int]:
    with database.read() as reader:
        return [item for (item,) in reader.rows("SELECT item FROM item ORDER BY item")]


@pytest.mark.parametrize("delivered", [False, True])
@pytest.mark.parametrize("warm", [False, True], ids=["connecting", "connected"])
def test_the_connection_is_lost_at_every_message(
    fresh_postgres: Postgres,
    wire: Wire,
    delivered: bool,
    warm: bool,
) -> None:
    clock = ManualClock()
    direct = fresh_postgres.open(TABLES)
    database = PostgresDatabase(wire.uri, TABLES, fresh_postgres.schema, clock=clock, pause=clock.advance)
    expected: list[int] = []
    for step in range(1, 20):
        clock.advance(10)
        _items(database)
        if not warm:
            database.reopen()
        wire.cut(step, delivered=delivered)
        with contextlib.suppress(EngineFailed):
            _add(database, step)
            expected.append(step)
        done = wire.seen < step
        wire.cut(0, delivered=False)
        assert _items(direct) == expected
        clock.advance(10)
        assert _items(database) == expected  # connects again by itself
        if done:
            break
    assert done
    assert database.doubts == 0
    direct.close()
    database.close()


def test_a_session_that_was_ended_right_after_its_commit_has_committed(fresh_postgres: Postgres, wire: Wire) -> None:
    clock = ManualClock()
    database = PostgresDatabase(wire.uri, TABLES, fresh_postgres.schema, clock=clock, pause=clock.advance)
    wire.end_at_commit()
    _add(database, 1)
    wire.end_at_commit()
    with database.write() as tx:
        tx.insert_later("item", ("item",), [(2,)])
    assert not wire.end
    assert _items(database) == [1, 2]
    assert database.doubts == 0
    database.close()


def test_nobody_can_be_asked_what_became_of_a_commit(fresh_postgres: Postgres, wire: Wire) -> None:
    clock = ManualClock()
    direct = fresh_postgres.open(TABLES)
    database = PostgresDatabase(wire.uri, TABLES, fresh_postgres.schema, clock=clock, pause=clock.advance)
    _add(database, 1)
    with pytest.raises(OutcomeUnknown), database.write() as tx:  # noqa: PT012
        tx.insert_many("item", ("item",), [(2,)])
        wire.cut(1, delivered=True)
        wire.close()
        wire.path.unlink()
    assert database.doubts == 1
    assert _items(direct) == [1, 2]
    direct.close()
    database.close()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that may crash."""
    with running_server() as made:
        yield made


def _restart(server: PostgresServer) -> None:
    server.restart()


def _kill_a_session(server: PostgresServer) -> None:
    """The server ends all others, recovers and goes on. Until it has noticed it still answers."""
    before = _life(server)
    with psycopg.connect(server.uri) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        wait_until(lambda: _life(server) not in ([], before), "another life of the server", 30)


def _life(server: PostgresServer) -> list[tuple[object, ...]]:
    """When it began; [] while it does not answer."""
    with contextlib.suppress(psycopg.Error):
        return server.run("SELECT stats_reset FROM pg_stat_wal")
    return []


@pytest.mark.parametrize("crash", [_restart, _kill_a_session])
def test_after_a_crash_the_number_of_a_lost_transaction_is_given_to_another(
    server: PostgresServer, crash: Callable[[PostgresServer], None]
) -> None:
    clock = ManualClock()
    database = PostgresDatabase(server.uri, TABLES, crash.__name__, clock=clock, pause=clock.advance)
    _add(database, 1)
    with pytest.raises(OutcomeUnknown), database.write() as tx:  # noqa: PT012
        number = tx.row("SELECT pg_current_xact_id()::text")
        tx.insert_many("item", ("item",), [(2,)])
        crash(server)
        assert server.run("SELECT pg_current_xact_id()::text") == [number]
    assert database.doubts == 1
    clock.advance(10)
    assert _items(database) == [1]
    database.close()


@pytest.mark.parametrize("crash", [_restart, _kill_a_session])
def test_a_transaction_that_no_disk_has_seen_is_certainly_lost(
    server: PostgresServer, crash: Callable[[PostgresServer], None]
) -> None:
    clock = ManualClock()
    database = PostgresDatabase(server.uri, TABLES, crash.__name__, clock=clock, pause=clock.advance)
    with pytest.raises(EngineFailed) as caught, database.write() as tx:  # noqa: PT012
        tx.insert_many("item", ("item",), [(3,)])
        crash(server)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert database.doubts == 0
    database.close()


@pytest.mark.parametrize("comes", [False, True])
def test_a_commit_that_no_standby_has_is_not_acknowledged(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, comes: bool
) -> None:
    """Its session is ended while it waits for a synchronous standby: it is there, and a fail-over would lose it."""
    monkeypatch.setattr(postgres_dial, "OUTCOME", 60.0 if comes else 1.0)
    database = PostgresDatabase(server.uri, TABLES, f"standby_{comes}".lower())
    _wait_for_standby(server, "nobody")
    threading.Thread(target=_end_whoever_waits, args=(server, comes), daemon=True).start()
    expected = contextlib.nullcontext() if comes else pytest.raises(OutcomeUnknown)
    with expected:
        _add(database, 1)
    _wait_for_standby(server, "")
    assert database.doubts == (0 if comes else 1)
    assert _items(database) == [1]
    database.close()


def _wait_for_standby(server: PostgresServer, name: str) -> None:
    server.run(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    server.run("SELECT pg_reload_conf()")
    wait_until(lambda: server.run("SHOW synchronous_standby_names") == [(name,)], "the new setting")


def _end_whoever_waits(server: PostgresServer, comes: bool) -> None:
    """And then the next one may go on, as if the standby had come."""
    waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    wait_until(lambda: server.run(f"SELECT pg_terminate_backend(pid, 5000) {waiting}"), "the commit to wait")
    if comes:
        wait_until(lambda: server.run(f"SELECT 1 {waiting}"), "the question to wait")
        _wait_for_standby(server, "")


def test_sessions_that_the_server_ended_while_idle_are_not_noticed(fresh_postgres: Postgres) -> None:
    database = fresh_postgres.open(TABLES)
    for item in range(3):
        assert _items(database) == list(range(item))
        fresh_postgres.end_sessions()
        _add(database, item)
        fresh_postgres.end_sessions()
    database.close()


def test_a_session_ended_in_the_middle_costs_this_transaction_alone(fresh_postgres: Postgres) -> None:
    database = fresh_postgres.open(TABLES)
    with pytest.raises(EngineFailed) as caught, database.write() as tx:  # noqa: PT012
        tx.insert_many("item", ("item",), [(1,)])
        fresh_postgres.end_sessions()
        tx.insert_many("item", ("item",), [(2,)])
    assert caught.value.cause is Cause.UNAVAILABLE
    with pytest.raises(EngineFailed), database.read() as reader:  # noqa: PT012
        fresh_postgres.end_sessions()
        reader.rows("SELECT item FROM item")
    _add(database, 3)
    assert _items(database) == [3]
    database.close()


def test_a_stopped_client_does_not_keep_its_locks_for_ever(fresh_postgres: Postgres) -> None:
    frozen, other = fresh_postgres.open(TABLES, one_writer=True), fresh_postgres.open(TABLES, one_writer=True)
    with pytest.raises(EngineFailed), frozen.write() as tx:  # noqa: PT012
        tx.rows("SET LOCAL idle_in_transaction_session_timeout = 50")
        _add(other, 1)
        tx.insert_many("item", ("item",), [(2,)])
    assert _items(other) == [1]
    frozen.close()
    other.close()
