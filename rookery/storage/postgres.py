"""The shared engine: PostgreSQL through psycopg 3. The rules see the same SQL as on SQLite; this file translates it.

What differs: `?` becomes `%s`; BLOB is BYTEA, INTEGER is BIGINT (SQLite's table options are dropped); set-wise work is
one statement over arrays (`unnest`); `offset` in small letters is the column of that name, in capitals the keyword.
A commit is durable when it returns, as long as the server runs with `synchronous_commit` on.
"""

import contextlib
import functools
import re
import threading
from collections.abc import Iterator, Sequence

import psycopg
from psycopg import errors, sql
from psycopg.adapt import Loader
from psycopg.rows import tuple_row

from rookery.base.errors import Cause
from rookery.storage.engine import EngineFailed, KeyExists, Row, Transaction, Value
from rookery.storage.migrations import Migration, current, migrate

POOL = 4  # idle reading connections kept
APPLICATION = "rookery"

_FULL = (errors.DiskFull, errors.OutOfMemory, errors.InsufficientResources)
_BUSY = (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable, errors.QueryCanceled)
_CORRUPT = (errors.DataCorrupted, errors.IndexCorrupted)
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|\?|%|\boffset\b")
_TYPE = re.compile(r"\b(?:BLOB|INTEGER|REAL)\b")
_TYPES = {"BLOB": "BYTEA", "INTEGER": "BIGINT", "REAL": "DOUBLE PRECISION"}
_OPTIONS = re.compile(r"\)\s*(?:WITHOUT ROWID|STRICT)(?:\s*,\s*(?:WITHOUT ROWID|STRICT))*\s*;?\s*$")

Connection = psycopg.Connection[Row]


class _PlainNumber(Loader):
    """sum() of BIGINT is NUMERIC; to the rules a whole number is an int."""

    def load(self, data: bytes | bytearray | memoryview) -> int | float:
        text = bytes(data)
        return int(text) if b"." not in text and text != b"NaN" else float(text)


def translated(error: psycopg.Error) -> Exception:
    """What a failed statement means to the caller. A rule's own mistake stays what it is."""
    if isinstance(error, errors.UniqueViolation):
        return KeyExists(str(error.diag.message_primary))
    if isinstance(error, _FULL):
        return EngineFailed(Cause.DISK_FULL, "the disk of the database is full")
    if isinstance(error, _BUSY):
        return EngineFailed(Cause.BUSY, f"the database is busy: {error.diag.message_primary}")
    if isinstance(error, _CORRUPT):
        return EngineFailed(Cause.CORRUPT, f"the database is damaged: {error.diag.message_primary}")
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction)):
        return EngineFailed(Cause.UNAVAILABLE, f"the database cannot be used now: {type(error).__name__}")
    return error


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
    """The open write transaction."""

    __slots__ = ()

    def run(self, sql: str, *values: Value) -> int:
        return max(0, self._execute(translate(sql), values).rowcount)

    def insert_many(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]], *, keep_existing: bool = False
    ) -> None:
        if rows:
            tail = " ON CONFLICT DO NOTHING" if keep_existing else ""
            names = ", ".join(map(_quoted, columns))
            text = f"INSERT INTO {table} ({names}) SELECT * FROM {self._source(table, columns)}{tail}"
            self._execute(text, _columns(rows))

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

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        self._execute("SAVEPOINT item", ())
        try:
            yield
        except BaseException:
            if self.failure is None:
                self._execute("ROLLBACK TO SAVEPOINT item", ())
                self._execute("RELEASE SAVEPOINT item", ())
            raise
        self._execute("RELEASE SAVEPOINT item", ())


class PostgresDatabase:
    """One schema of a database. Implements engine.Database."""

    def __init__(self, conninfo: str, migrations: Sequence[Migration], schema: str) -> None:
        """Makes the schema, or brings it up to date. Raises UNSUPPORTED (a newer schema), UNAVAILABLE."""
        self._conninfo = conninfo
        self._schema = schema
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._types: dict[str, dict[str, str]] = {}
        self._closed = False
        self._writer = self._connect()
        try:
            with self.write() as tx:
                tx.row("SELECT pg_advisory_xact_lock(hashtext(?))", f"rookery {schema}")  # one migrates, others wait
                self._make_schema()
                if migrations:
                    current(tx, schema, migrations)
                    migrate(tx, schema, migrations)
        except BaseException:
            self._writer.close()
            raise

    def _connect(self) -> Connection:
        try:
            connection = psycopg.connect(
                self._conninfo, autocommit=True, application_name=APPLICATION, row_factory=tuple_row
            )
            connection.adapters.register_loader("numeric", _PlainNumber)
            connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(self._schema)))
        except psycopg.Error as error:
            raise translated(error) from error
        return connection

    def _make_schema(self) -> None:
        self._writer.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self._schema)))

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
            tx = PostgresTransaction(self, self._writer)
            tx.rows("BEGIN")
            try:
                yield tx
                tx.rows("COMMIT")
            except BaseException:
                with contextlib.suppress(psycopg.Error):
                    self._writer.execute("ROLLBACK")
                raise

    def reopen(self) -> None:
        """After a failure nothing that the connections believe is trusted."""
        with self._writing:
            with self._lock:
                idle, self._idle = self._idle, []
            for connection in (*idle, self._writer):
                connection.close()
            self._writer = self._connect()

    # --- reading ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(self) -> Iterator[PostgresReader]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        reader = PostgresReader(self, connection or self._connect())
        try:
            reader.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield reader
        finally:
            self._give_back(reader)

    def _give_back(self, reader: PostgresReader) -> None:
        connection = reader.connection
        with contextlib.suppress(psycopg.Error):
            connection.execute("ROLLBACK")
        with self._lock:
            keep = not self._closed and not connection.broken and len(self._idle) < POOL and reader.failure is None
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in (*idle, self._writer):
            connection.close()


def _quoted(name: str) -> str:
    return f'"{name}"'


def _matching(keys: Sequence[str]) -> str:
    return " AND ".join(f"t.{_quoted(key)} = v.{_quoted(key)}" for key in keys)


def _columns(rows: Sequence[Sequence[Value]]) -> list[list[Value]]:
    """Rows turned into columns, for unnest."""
    return [list(column) for column in zip(*rows, strict=True)]
