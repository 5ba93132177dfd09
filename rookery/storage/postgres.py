"""The shared engine: one schema of a PostgreSQL database through psycopg 3, its connections, and what a commit means.

A commit is durable when it returns, as long as the server runs with `synchronous_commit` on. What is said on a
connection is in postgres_statements.py, how one is made in postgres_dial.py.

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
from rookery.base.errors import Cause
from rookery.base.log import logger
from rookery.storage.engine import EngineFailed, OutcomeUnknown, Transaction
from rookery.storage.migrations import Migration, confirmed, may_use, migrate
from rookery.storage.postgres_dial import Connection, Dial, close, last_row, translated
from rookery.storage.postgres_pool import ReadingPool
from rookery.storage.postgres_statements import PostgresReader, PostgresTransaction, Schema, quoted

APPLICATION = "rookery"
MIGRATING = "60s"  # how long a node waits for another that brings the schema up to date
FINISHING = 0.5  # seconds for a transaction of a name that is given up
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
        self._oldest_release = ""  # as the tables said last, of those that this release may use
        self.doubts = 0
        self._dial_as = functools.partial(Dial, conninfo, schema, clock=clock or SystemClock(), pause=pause)
        self.dial = self._dial_as(application)
        self._readers = ReadingPool(lambda: self.dial.connect(), pause)
        self._writing = threading.Lock()
        self._closed = False
        self._writer: Connection | None = None
        begin = "BEGIN ISOLATION LEVEL READ COMMITTED;"
        if one_writer:
            begin += f" SELECT pg_advisory_xact_lock(hashtext({sql.quote(f'rookery writer {schema}')}));"
        number = " SELECT pg_current_xact_id()::text"
        self._begin_step = f"{begin}{number}, ''".encode()
        if migrations:
            begin += f" SELECT pg_advisory_xact_lock_shared(hashtext({sql.quote(self._lock)}));"
            self._begin_text = f"{begin}{number}, (SELECT oldest_release FROM schema_version)".encode()
        else:
            self._begin_text = self._begin_step
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
        self._writer = self.dial.connect()
        reader = PostgresReader(self._schema, self._writer)
        if not self._migrations or reader.row("SELECT to_regclass('schema_version')") == (None,):
            return False
        return confirmed(reader, self._schema.name, self._migrations) >= self._migrations[-1].version

    def _bring_forward(self) -> None:
        with self._write(self._begin_step) as tx:
            tx.rows(f"SET LOCAL lock_timeout = '{MIGRATING}'")
            tx.row("SELECT pg_advisory_xact_lock(hashtext(?))", self._lock)  # one migrates, others wait
            tx.rows(f"CREATE SCHEMA IF NOT EXISTS {quoted(self._schema.name)}")
            if self._migrations:
                migrate(tx, self._schema.name, self._migrations)

    def confirm_release(self) -> None:
        if self._migrations:
            with self.read() as reader:
                confirmed(reader, self._schema.name, self._migrations)

    @property
    def answered(self) -> int:
        return self._schema.answered

    # --- writing ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """The next write transaction; others of this process wait. Raises EngineFailed when it cannot be."""
        with self._write(self._begin_text) as tx:
            yield tx

    @contextlib.contextmanager
    def _write(self, begin: bytes) -> Iterator[PostgresTransaction]:
        with self._writing:
            tx = self._begin(begin)
            try:
                yield tx
                if tx.failure is not None:
                    raise tx.failure
            except BaseException:
                self._roll_back(tx.connection)
                raise
            self._commit(tx)

    def _begin(self, begin: bytes) -> PostgresTransaction:
        if self._writer is not None:
            try:
                return self._started(self._writer, begin)
            except EngineFailed:
                if not self._writer.closed:
                    raise
                self._forget()  # the server went away while nothing was asked of it: nothing is lost by asking again
        self._writer = self.dial.connect()
        return self._started(self._writer, begin)

    def _started(self, connection: Connection, begin: bytes) -> PostgresTransaction:
        try:
            number, oldest_release = last_row(connection.execute(begin))
        except psycopg.Error as error:
            self._roll_back(connection)
            raise translated(error) from error
        if oldest_release != self._oldest_release:
            if not may_use(oldest_release):
                self._roll_back(connection)
                raise EngineFailed(
                    Cause.UNAVAILABLE, f"Rookery {oldest_release} or newer is needed: the tables were brought forward"
                )
            self._oldest_release = oldest_release
        return PostgresTransaction(self._schema, connection, str(number))

    @staticmethod
    def _roll_back(connection: Connection) -> None:
        with contextlib.suppress(psycopg.Error):
            connection.execute("ROLLBACK")

    def _commit(self, tx: PostgresTransaction) -> None:
        pid = tx.connection.info.backend_pid  # a lost connection knows none
        try:
            done = _committed(tx.connection, *tx.last_statement())
        except psycopg.Error as error:
            # Anything else (the session is ended, the client lost count) may come after the commit was done.
            if error.diag.severity_nonlocalized == "ERROR" and not tx.connection.closed:
                self._roll_back(tx.connection)
                raise translated(error) from error
            self._forget()
            try:
                if self.dial.committed(tx.number, pid, tx.connection.life):
                    return
            except OutcomeUnknown:
                self.doubts += 1
                raise
            raise translated(error) from error
        if done != "COMMIT":
            raise RuntimeError("a rule went on after a statement that failed; nothing was committed")

    def _forget(self) -> None:
        """Close all connections that are not in use: one was lost, and the others are likely to be."""
        self._readers.forget()
        writer, self._writer = self._writer, None
        if writer is not None:
            close(writer)

    def reopen(self) -> None:
        """After a failure nothing that the connections believe is trusted; the next use connects."""
        with self._writing:
            self._forget()

    def rename(self, application: str) -> None:
        """What is open ends, a transaction under way after its commit; sessions call themselves so from now on.

        One that goes on for long is cut off, for its server is perhaps another than the one that answers now.
        """
        self.dial = self._dial_as(application)
        self._readers.forget()
        if not self._writing.acquire(timeout=FINISHING):
            if (writer := self._writer) is not None:
                writer.cut()
            self._writing.acquire()
        try:
            self._forget()
        finally:
            self._writing.release()

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
        self._forget()


def _committed(connection: Connection, text: str, values: Sequence[object]) -> str | None:
    """The server's word for COMMIT, after a last statement that is sent with it."""
    if not text:
        return connection.execute("COMMIT").statusmessage
    with connection.pipeline():
        connection.execute(text.encode(), values)
        commit = connection.execute("COMMIT")
    return commit.statusmessage
