"""The shared engine: one schema of a PostgreSQL database through psycopg 3, its connections, and what a commit means.

A commit is durable when it returns, as long as the server runs with `synchronous_commit` on. What is said on a
connection is in postgres_statements.py, how a transaction begins and ends in postgres_writing.py, how a connection is
made in postgres_dial.py.

A newer release may bring the schema forward while an older one is at work. Write transactions of all nodes share a lock
that the step has alone, and begin with the question which releases may use the tables: one that may not any more writes
nothing from the step's commit on.
"""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import psycopg
from psycopg import sql

from rookery.base.clock import Clock, SystemClock
from rookery.base.log import logger
from rookery.storage.engine import EngineFailed, Transaction
from rookery.storage.migrations import Migration, confirmed, migrate
from rookery.storage.postgres_dial import Connection, Dial, close
from rookery.storage.postgres_pool import ReadingPool
from rookery.storage.postgres_statements import PostgresReader, Schema, quoted
from rookery.storage.postgres_writing import Beginning, Writing, lock

APPLICATION = "rookery"
MIGRATING = "60s"  # how long a node waits for another that brings the schema up to date
LISTENING = 5.0  # seconds after which a listener looks whether it shall end, or connects again

log = logger("postgres")


class PostgresDatabase:
    """One schema of a database. Implements engine.Database.

    `one_writer`: write transactions of all nodes come one after another, as rules over small, rarely changed data
    want it. Without it rules see each other's commits between two statements, and lock what they change.
    A lost connection is made anew by the next use. A commit whose answer was lost is asked after; only when nobody can
    be asked for some seconds is the outcome unknown, and counted in `doubts`.
    """

    shared = True

    def __init__(
        self,
        conninfo: str,
        migrations: Sequence[Migration],
        schema: str,
        *,
        one_writer: bool = False,
        application: str = APPLICATION,
        clock: Clock | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Makes the schema, or brings it up to date. Raises UNSUPPORTED (a newer schema), UNAVAILABLE, BUSY."""
        self._schema = Schema(schema)
        self._migrations = migrations
        self._dial_as = functools.partial(Dial, conninfo, schema, clock=clock or SystemClock(), pause=pause)
        self.dial = self._dial_as(application)
        self._readers = ReadingPool(lambda: self.dial, pause)
        self._writing = Writing(self._schema, lambda: self.dial, self._readers.forget)
        self._closed = False
        locks = [lock(f"rookery writer {schema}")] if one_writer else []
        self._step = Beginning(locks, "''")
        self._beginning = self._step
        if migrations:
            locks.append(lock(self._lock, shared=True))
            self._beginning = Beginning(locks, "(SELECT oldest_release FROM schema_version)")
        try:
            if not self._is_up_to_date():
                self._bring_forward()
        except BaseException:
            self.close()
            raise

    # --- the schema ------------------------------------------------------------------------------------------------

    @property
    def _lock(self) -> str:
        return f"rookery {self._schema.name}"

    def _is_up_to_date(self) -> bool:
        """Asked without the lock: a start that has nothing to do neither waits for writers nor keeps them waiting."""
        with self.read() as reader:
            if not self._migrations or reader.row("SELECT to_regclass('schema_version')") == (None,):
                return False
            return confirmed(reader, self._schema.name, self._migrations) >= self._migrations[-1].version

    def _bring_forward(self) -> None:
        with self._writing.transaction(self._step) as tx:
            tx.rows(f"SET LOCAL lock_timeout = '{MIGRATING}'")
            tx.row("SELECT pg_advisory_xact_lock(hashtext(?))", self._lock)  # one migrates, others wait
            tx.rows(f"CREATE SCHEMA IF NOT EXISTS {quoted(self._schema.name)}")
            if self._migrations:
                migrate(tx, self._schema.name, self._migrations)

    def confirm_release(self) -> None:
        if self._migrations:
            with self.read() as reader:
                confirmed(reader, self._schema.name, self._migrations)

    def answered(self, thread: int) -> int:
        return self._schema.answered.get(thread, 0)

    # --- writing ---------------------------------------------------------------------------------------------------

    @property
    def doubts(self) -> int:
        return self._writing.doubts

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """A write transaction; several threads may have one each. Raises EngineFailed when it cannot be."""
        with self._writing.transaction(self._beginning) as tx:
            yield tx

    def reopen(self) -> None:
        """After a failure nothing that the connections believe is trusted; the next use connects."""
        self._readers.forget()
        self._writing.forget()

    def rename(self, application: str) -> None:
        """What is open ends, a transaction under way after its commit; sessions call themselves so from now on."""
        self.dial = self._dial_as(application)
        self._readers.forget()
        self._writing.finish()

    # --- reading ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(self) -> Iterator[PostgresReader]:
        """One moment. On the event loop it is refused rather than waited for: see postgres_pool.py."""
        reader = PostgresReader(self._schema, self._readers.take())
        try:
            yield reader
        finally:
            self._readers.give_back(reader.connection, sound=reader.failure is None)

    # --- other nodes -----------------------------------------------------------------------------------------------

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._listen, args=(wake, ended), name=self._schema.channel, daemon=True)
        thread.start()
        return ended.set

    def _listen(self, wake: Callable[[], None], ended: threading.Event) -> None:
        while not ended.is_set():
            connection: Connection | None = None
            try:
                connection = self.dial.connect()
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._schema.channel)))
                wake()  # what came while nobody listened
                while not ended.is_set() and not self._closed:
                    for _ in connection.notifies(timeout=LISTENING, stop_after=1):
                        wake()
            except (psycopg.Error, EngineFailed) as error:
                log.debug("listener-lost", error=type(error).__name__)
                ended.wait(LISTENING)
            finally:
                if connection is not None:
                    close(connection)
            if self._closed:
                return

    def end_sessions(self, application: str) -> None:
        with self.read() as reader:
            reader.rows(
                "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
                " WHERE application_name = left(?, 63) AND usename = current_user AND pid <> pg_backend_pid()",
                application,
            )

    def close(self) -> None:
        self._closed = True
        self._readers.close()
        self._writing.close()
