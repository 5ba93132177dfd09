"""What rules may expect of a database that two nodes have open at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.storage import migrations
from rookery.storage.engine import Database, EngineFailed, Transaction
from rookery.storage.migrations import Migration
from tests.contract.conftest import Engine

TABLES = (
    "CREATE TABLE job (job INTEGER PRIMARY KEY, worker INTEGER) STRICT",
    "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
    "INSERT INTO counter (name, value) VALUES ('jobs', 0)",
)
FIRST = (Migration(1, TABLES),)


def _step(tx: Transaction) -> None:
    tx.run("UPDATE counter SET value = value + 1 WHERE name = 'jobs'")


class TestStarting:
    @pytest.mark.postgres
    def test_two_nodes_that_start_at_once_take_each_step_once(self, postgres_engine: Engine) -> None:
        steps = (*FIRST, *(Migration(n, function=_step) for n in range(2, 6)))
        together = threading.Barrier(2)

        def start(_: int) -> Database:
            together.wait()
            return postgres_engine(steps)

        with ThreadPoolExecutor(2) as nodes:
            first, second = nodes.map(start, range(2))
        for database in (first, second):
            with database.read() as reader:
                assert reader.row("SELECT value FROM counter") == (4,)
                assert reader.rows("SELECT version FROM schema_version") == [(5,)]

    def test_a_node_of_the_release_before_goes_on_beside_the_new_one(self, engine: Engine) -> None:
        old = engine(FIRST)
        with old.write() as tx:
            tx.insert_many("job", ("job", "worker"), [(1, None)])
        added = Migration(2, ("ALTER TABLE job ADD COLUMN note TEXT NOT NULL DEFAULT ''",), "0.1.0")
        new = engine((*FIRST, added))
        with old.write() as tx:
            tx.insert_many("job", ("job", "worker"), [(2, 7)])
            tx.update_many("job", ("job",), ("worker",), [(1, 8)])
        with new.read() as reader:
            assert reader.rows("SELECT job, worker, note FROM job ORDER BY job") == [(1, 8, ""), (2, 7, "")]
        again = engine(FIRST)  # and may even start again
        with again.read() as reader:
            assert reader.row("SELECT count(*) FROM job") == (2,)


WAITING = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
ONLY_NEW = Migration(2, ("ALTER TABLE job ADD COLUMN note TEXT NOT NULL DEFAULT ''",), "77.0.0")


@pytest.mark.postgres
class TestANewerReleaseForItself:
    def test_what_is_at_work_writes_nothing_more_and_nothing_old_starts(
        self, postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = postgres_engine(FIRST)
        old.confirm_release()
        with monkeypatch.context() as patched:
            patched.setattr(migrations, "__version__", "77.0.0")
            new = postgres_engine((*FIRST, ONLY_NEW))
            with new.write() as tx:
                tx.insert_many("job", ("job", "worker"), [(1, 7)])
        with pytest.raises(EngineFailed, match=r"Rookery 77\.0\.0 or newer") as refused, old.write() as tx:
            tx.run("DELETE FROM job")
        assert refused.value.cause is Cause.UNAVAILABLE
        for ask in (old.confirm_release, lambda: postgres_engine(FIRST)):
            with pytest.raises(RookeryError, match=r"written by Rookery 77\.0\.0; this is Rookery 0\.1") as told:
                ask()
            assert told.value.cause is Cause.UNSUPPORTED
        with new.read() as reader:
            assert reader.rows("SELECT job FROM job") == [(1,)]

    def test_what_is_not_where_it_was_is_told_in_the_same_words(
        self, postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A transaction begins together with the first question, which may fail before anything else is looked at."""
        old = postgres_engine(FIRST)
        with monkeypatch.context() as patched:
            patched.setattr(migrations, "__version__", "77.0.0")
            postgres_engine((*FIRST, Migration(2, ("ALTER TABLE job RENAME TO work",), "77.0.0")))
        with pytest.raises(EngineFailed, match=r"Rookery 77\.0\.0 or newer"), old.write() as tx:
            tx.rows("SELECT job FROM job")

    def test_the_step_waits_for_what_is_being_written(
        self, postgres_engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its statements may change what rows mean, and lock nothing of the tables that others write."""
        old = postgres_engine(FIRST)
        monkeypatch.setattr(migrations, "__version__", "77.0.0")
        order: list[str] = []

        def count(tx: Transaction) -> None:
            row = tx.row("SELECT count(*) FROM job")
            order.append(f"step after {row[0] if row else None}")

        step = threading.Thread(target=postgres_engine, args=((*FIRST, Migration(2, (), "77.0.0", count)),))
        with old.write() as tx:
            tx.insert_many("job", ("job", "worker"), [(1, 7)])
            step.start()
            while step.is_alive() and not tx.rows(WAITING):
                pass
            order.append("written")
        step.join()
        assert order == ["written", "step after 1"]

    def test_a_start_with_nothing_to_do_waits_for_nobody(self, postgres_engine: Engine) -> None:
        old = postgres_engine(FIRST)
        with old.write():
            postgres_engine(FIRST)


@pytest.fixture
def nodes(engine: Engine) -> tuple[Database, Database]:
    first, second = engine(FIRST), engine(FIRST)
    with first.write() as tx:
        tx.insert_many("job", ("job", "worker"), [(n, None) for n in range(100)])
    return first, second


def _both(nodes: tuple[Database, Database], work: Callable[[Database, int], None]) -> None:
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, nodes, (1, 2)))


class TestWorkingTogether:
    def test_what_one_takes_the_other_does_not(self, nodes: tuple[Database, Database]) -> None:
        def work(database: Database, worker: int) -> None:
            for _ in range(30):
                with database.write() as tx:
                    found = tx.take("SELECT job FROM job WHERE worker IS NULL ORDER BY job LIMIT ?", 5)
                    changed = [(job, worker) for (job,) in found]
                    before = tx.select_many("job", ("worker",), ("job",), found)
                    assert set(before) <= {(None,)}
                    tx.update_many("job", ("job",), ("worker",), changed)

        _both(nodes, work)
        with nodes[0].read() as reader:
            assert reader.row("SELECT count(*) FROM job WHERE worker IS NULL") == (0,)

    def test_rows_that_are_locked_are_read_as_the_other_left_them(self, nodes: tuple[Database, Database]) -> None:
        def work(database: Database, worker: int) -> None:
            for _ in range(25):
                with database.write() as tx:
                    tx.lock_many("counter", ("name",), [("jobs",), ("nobody",)])
                    row = tx.row("SELECT value FROM counter WHERE name = 'jobs'")
                    assert row
                    tx.run("UPDATE counter SET value = ? WHERE name = 'jobs'", row[0] + 1)

        _both(nodes, work)
        with nodes[1].read() as reader:
            assert reader.row("SELECT value FROM counter") == (50,)

    def test_what_is_shared_stays_until_the_end(self, nodes: tuple[Database, Database]) -> None:
        first, second = nodes
        order: list[str] = []

        def remove() -> None:
            with second.write() as tx:
                tx.run("DELETE FROM job WHERE job = 1")
            order.append("removed")

        other = threading.Thread(target=remove)
        with first.write() as tx:
            assert tx.share("SELECT job FROM job WHERE job = ?", 1) == [(1,)]
            other.start()
            assert tx.row("SELECT count(*) FROM job WHERE job = 1") == (1,)
            order.append("shared")
        other.join()
        assert order == ["shared", "removed"]
        with first.write() as tx:
            assert tx.share("SELECT job FROM job WHERE job = ?", 1) == []


@pytest.mark.postgres
class TestShared:
    def test_one_writer_everywhere(self, postgres_engine: Engine) -> None:
        nodes = postgres_engine(FIRST, one_writer=True), postgres_engine(FIRST, one_writer=True)

        def work(database: Database, worker: int) -> None:
            for _ in range(25):
                with database.write() as tx:
                    row = tx.row("SELECT value FROM counter WHERE name = 'jobs'")
                    assert row
                    tx.run("UPDATE counter SET value = ? WHERE name = 'jobs'", row[0] + 1)

        _both(nodes, work)
        with nodes[1].read() as reader:
            assert reader.row("SELECT value FROM counter") == (50,)

    def test_who_listens_is_woken_after_the_commit(self, postgres_engine: Engine) -> None:
        first, second = postgres_engine(FIRST), postgres_engine(FIRST)
        woken = threading.Event()
        stop = second.listen(woken.set)
        assert woken.wait(10)  # once, for what came before
        woken.clear()
        with first.write() as tx:
            tx.announce()
        assert woken.wait(10)
        stop()

    def test_a_rule_that_swallows_a_failed_statement_is_told(self, postgres_engine: Engine) -> None:
        database = postgres_engine(FIRST)
        with pytest.raises(RuntimeError), database.write() as tx:  # noqa: PT012
            tx.run("INSERT INTO job (job) VALUES (1)")
            with pytest.raises(Exception, match="duplicate"):
                tx.run("INSERT INTO job (job) VALUES (1)")
        with database.read() as reader:
            assert reader.row("SELECT count(*) FROM job") == (0,)

    def test_no_attempt_while_the_last_failure_is_fresh(self, postgres_engine: Engine) -> None:
        from rookery.base.clock import ManualClock
        from rookery.storage.postgres_dial import PAUSE, Dial

        clock = ManualClock()
        dial = Dial("host=127.0.0.1 port=1", "none", "test", clock=clock, pause=clock.advance)
        why = "cannot be used now: .*Connection refused"
        for attempt in (why, f"{why}.*; it is tried again shortly", f"{why}.*; it is tried again shortly"):
            with pytest.raises(EngineFailed, match=attempt) as caught:
                dial.connect()
            assert caught.value.cause is Cause.UNAVAILABLE
        clock.advance(PAUSE)
        with pytest.raises(EngineFailed, match=why) as caught:
            dial.connect()
        assert "tried again" not in caught.value.what
