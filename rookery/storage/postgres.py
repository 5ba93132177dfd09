"""The shared engine: PostgreSQL through psycopg 3. The rules see the same SQL as on SQLite; this file translates it.

What differs: `?` becomes `%s`; BLOB is BYTEA, INTEGER is BIGINT (SQLite's table options are dropped); TEXT is sorted
by its octets, whatever the server's language is; set-wise work is
one statement over arrays (`unnest`); `offset` in small letters is the column of that name, in capitals the keyword.
A commit is durable when it returns, as long as the server runs with `synchronous_commit` on.
"""

import contextlib
import functools
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import psycopg
from psycopg import sql

from rookery.base.clock import Clock, SystemClock
from rookery.base.log import logger
from rookery.storage.engine import EngineFailed, OutcomeUnknown, Row, Transaction, Value
from rookery.storage.migrations import Migration, migrate
from rookery.storage.postgres_dial import Connection, Dial, close, last_row, translated
from rookery.storage.postgres_pool import ReadingPool

APPLICATION = "rookery"
MIGRATING = "60s"  # how long a node waits for another that brings the schema up to date
LISTENING = 5.0  # seconds after which a listener looks whether it shall end, or connects again

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|\?|%|\boffset\b")
_TYPE = re.compile(r"\b(?:BLOB|INTEGER|REAL|TEXT)\b")
_TYPES = {"TEXT": 'TEXT COLLATE "C"', "BLOB": "BYTEA", "INTEGER": "BIGINT", "REAL": "DOUBLE PRECISION"}
_OPTIONS = re.compile(r"\)\s*(?:WITHOUT ROWID|STRICT)(?:\s*,\s*(?:WITHOUT ROWID|STRICT))*\s*;?\s*$")
log = logger("postgres")


@functools.lru_cache(2000)
def translate(statement: str) -> str:
    """Our SQL in PostgreSQL's words."""
    text = _TOKEN.sub(_token, statement)
    if text.lstrip().upper().startswith(("CREATE TABLE", "ALTER TABLE")):
        text = _OPTIONS.sub(")", _TYPE.sub(lambda found: _TYPES[found[0]], text))
    return text


def _token(found: re.Match[str]) -> str:
    token = found[0]
    if token == "?":
        return "%s"
    if token == "offset":
        return '"offset"'
    return "" if token.startswith("--") else token.replace("%", "%%")


class PostgresReader:
    """Reads on one connection; also the reading half of a transaction. `failure`: what ended it."""

    __slots__ = ("_database", "connection", "failure")

    def __init__(self, database: "PostgresDatabase", connection: Connection) -> None:
        self._database = database
        self.connection = connection
        self.failure: EngineFailed | None = None

    def rows(self, sql: str, *values: Value) -> list[Row]:
        return self._fetch(translate(sql), values)

    def row(self, sql: str, *values: Value) -> Row | None:
        found = self._fetch(translate(sql), values)
        return found[0] if found else None

    def select_many(
        self, table: str, columns: Sequence[str], keys: Sequence[str], values: Sequence[Sequence[Value]]
    ) -> list[Row]:
        if not values:
            return []
        names = ", ".join(f"t.{_quoted(column)}" for column in columns)
        source = self._source(table, keys)
        text = f"SELECT {names} FROM {table} t JOIN (SELECT DISTINCT * FROM {source}) v ON {_matching(keys)}"
        return self._fetch(text, _columns(values))

    def _source(self, table: str, columns: Sequence[str]) -> str:
        """The parameters as a table `v` with these columns."""
        types = self._database.types(self, table)
        arrays = ", ".join(f"%b::{types[column]}[]" for column in columns)
        return f"unnest({arrays}) AS v ({', '.join(map(_quoted, columns))})"

    def _fetch(self, text: str, values: Sequence[object]) -> list[Row]:
        cursor = self._execute(text, values)
        return cursor.fetchall() if cursor.description is not None else []

    def _execute(self, text: str, values: Sequence[object]) -> psycopg.Cursor[Row]:
        if self.failure is not None:
            raise self.failure
        try:
            return self.connection.execute(text.encode(), values)
        except psycopg.Error as error:
            meant = translated(error)
            if isinstance(meant, EngineFailed):
                self.failure = meant
            raise meant from error


class PostgresTransaction(PostgresReader):
    """The open write transaction. `number`: what the server calls it, should its commit's answer be lost."""

    __slots__ = ("_later", "number")

    def __init__(self, database: "PostgresDatabase", connection: Connection, number: str) -> None:
        super().__init__(database, connection)
        self.number = number
        self._later: list[tuple[str, list[list[Value]]]] = []

    def _execute(self, text: str, values: Sequence[object]) -> psycopg.Cursor[Row]:
        self._insert_now()
        return super()._execute(text, values)

    def _insert_now(self) -> None:
        if self._later:
            super()._execute(*self.last_insertion())

    def last_insertion(self) -> tuple[str, list[object]]:
        """What was to be inserted later, as one statement; "" for nothing."""
        later, self._later = self._later, []
        if not later:
            return "", []
        *texts, last = (text for text, _ in later)
        parts = ", ".join(f"part{number} AS ({text})" for number, text in enumerate(texts))
        return f"WITH {parts} {last}" if parts else last, [column for _, columns in later for column in columns]

    def run(self, sql: str, *values: Value) -> int:
        return max(0, self._execute(translate(sql), values).rowcount)

    def insert_many(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]], *, keep_existing: bool = False
    ) -> None:
        if rows:
            tail = " ON CONFLICT DO NOTHING" if keep_existing else ""
            self._execute(self._insertion(table, columns) + tail, _columns(rows))

    def _insertion(self, table: str, columns: Sequence[str]) -> str:
        names = ", ".join(map(_quoted, columns))
        return f"INSERT INTO {table} ({names}) SELECT * FROM {self._source(table, columns)}"

    def insert_later(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        if rows:
            self._database.types(self, table)
            self._later.append((self._insertion(table, columns), _columns(rows)))

    def update_many(
        self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Value]]
    ) -> None:
        if rows:
            last = {tuple(row[: len(keys)]): row for row in rows}  # of a key given twice the last counts, as in SQLite
            sets = ", ".join(f"{_quoted(column)} = v.{_quoted(column)}" for column in columns)
            source = self._source(table, (*keys, *columns))
            self._execute(
                f"UPDATE {table} t SET {sets} FROM {source} WHERE {_matching(keys)}", _columns(list(last.values()))
            )

    def delete_many(self, table: str, keys: Sequence[str], values: Sequence[Sequence[Value]]) -> None:
        if values:
            text = f"DELETE FROM {table} t USING {self._source(table, keys)} WHERE {_matching(keys)}"
            self._execute(text, _columns(values))

    def take(self, sql: str, *values: Value) -> list[Row]:
        return self._fetch(translate(sql) + " FOR UPDATE SKIP LOCKED", values)

    def share(self, sql: str, *values: Value) -> list[Row]:
        return self._fetch(translate(sql) + " FOR SHARE", values)

    def lock_many(self, table: str, keys: Sequence[str], values: Sequence[Sequence[Value]]) -> None:
        if values:
            order = ", ".join(f"t.{_quoted(key)}" for key in keys)
            source = self._source(table, keys)
            text = f"SELECT 1 FROM {table} t JOIN {source} ON {_matching(keys)} ORDER BY {order} FOR UPDATE OF t"
            self._execute(text, _columns(values))

    def announce(self) -> None:
        self._execute("SELECT pg_notify(%s, '')", (self._database.channel,))

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        self._execute("SAVEPOINT item", ())
        try:
            yield
            self._insert_now()
        except BaseException:
            self._later = []
            if self.failure is None:
                self._execute("ROLLBACK TO SAVEPOINT item", ())
                self._execute("RELEASE SAVEPOINT item", ())
            raise
        self._execute("RELEASE SAVEPOINT item", ())


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
        self._schema = schema
        self.channel = f"rookery_{schema}"
        self.doubts = 0
        self._dial_as = functools.partial(Dial, conninfo, schema, clock=clock or SystemClock(), pause=pause)
        self.dial = self._dial_as(application)
        self._readers = ReadingPool(lambda: self.dial.connect(), pause)
        self._writing = threading.Lock()
        self._types: dict[str, dict[str, str]] = {}
        self._closed = False
        self._writer: Connection | None = None
        begin = "BEGIN ISOLATION LEVEL READ COMMITTED;"
        if one_writer:
            begin += f" SELECT pg_advisory_xact_lock(hashtext({sql.quote(f'rookery writer {schema}')}));"
        self._begin_text = (begin + " SELECT pg_current_xact_id()::text").encode()
        try:
            with self.write() as tx:
                tx.rows(f"SET LOCAL lock_timeout = '{MIGRATING}'")
                tx.row("SELECT pg_advisory_xact_lock(hashtext(?))", f"rookery {schema}")  # one migrates, others wait
                tx.rows(f"CREATE SCHEMA IF NOT EXISTS {_quoted(schema)}")
                if migrations:
                    migrate(tx, schema, migrations)
        except BaseException:
            self.close()
            raise

    def types(self, reader: PostgresReader, table: str) -> dict[str, str]:
        """The type of each column, remembered."""
        known = self._types.get(table)
        if known is None:
            found = reader.rows(
                "SELECT column_name, data_type FROM information_schema.columns"
                " WHERE table_schema = ? AND table_name = ?",
                self._schema,
                table,
            )
            known = self._types[table] = dict(found)
        return known

    # --- writing ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """The next write transaction; others of this process wait. Raises EngineFailed when it cannot be."""
        with self._writing:
            tx = self._begin()
            try:
                yield tx
                if tx.failure is not None:
                    raise tx.failure
            except BaseException:
                self._roll_back(tx.connection)
                raise
            self._commit(tx)

    def _begin(self) -> PostgresTransaction:
        if self._writer is not None:
            try:
                return self._started(self._writer)
            except EngineFailed:
                if not self._writer.closed:
                    raise
                self._forget()  # the server went away while nothing was asked of it: nothing is lost by asking again
        self._writer = self.dial.connect()
        return self._started(self._writer)

    def _started(self, connection: Connection) -> PostgresTransaction:
        try:
            number = last_row(connection.execute(self._begin_text))[0]
        except psycopg.Error as error:
            self._roll_back(connection)
            raise translated(error) from error
        return PostgresTransaction(self, connection, str(number))

    @staticmethod
    def _roll_back(connection: Connection) -> None:
        with contextlib.suppress(psycopg.Error):
            connection.execute("ROLLBACK")

    def _commit(self, tx: PostgresTransaction) -> None:
        timeline = self.dial.timeline
        try:
            done = _committed(tx.connection, *tx.last_insertion())
        except psycopg.Error as error:
            if not tx.connection.closed:
                self._roll_back(tx.connection)
                raise translated(error) from error
            pid = tx.connection.info.backend_pid
            self._forget()
            try:
                if self.dial.committed(tx.number, pid, timeline):
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
        """What is open ends, a transaction under way after its commit; sessions call themselves so from now on."""
        with self._writing:
            self.dial = self._dial_as(application)
            self._forget()

    # --- reading ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(self) -> Iterator[PostgresReader]:
        """One moment. On the event loop it is refused rather than waited for: see postgres_pool.py."""
        reader = PostgresReader(self, self._readers.take())
        try:
            yield reader
        finally:
            self._readers.give_back(reader.connection, sound=reader.failure is None)

    # --- other nodes -----------------------------------------------------------------------------------------------

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._listen, args=(wake, ended), name=self.channel, daemon=True)
        thread.start()
        return ended.set

    def _listen(self, wake: Callable[[], None], ended: threading.Event) -> None:
        while not ended.is_set():
            connection: Connection | None = None
            try:
                connection = self.dial.connect()
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self.channel)))
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


def _quoted(name: str) -> str:
    return f'"{name}"'


def _matching(keys: Sequence[str]) -> str:
    return " AND ".join(f"t.{_quoted(key)} = v.{_quoted(key)}" for key in keys)


def _columns(rows: Sequence[Sequence[Value]]) -> list[list[Value]]:
    """Rows turned into columns, for unnest."""
    return [list(column) for column in zip(*rows, strict=True)]
