"""One connection's transaction on PostgreSQL: the rules see the same SQL as on SQLite; this file translates it.

What differs: `?` becomes `%s`; BLOB is BYTEA, INTEGER is BIGINT (SQLite's table options are dropped); TEXT is sorted
by its octets, whatever the server's language is; set-wise work is one statement over arrays (`unnest`); `offset` in
small letters is the column of that name, in capitals the keyword. When a transaction begins and what its end means is
the business of postgres_writing.py.
"""

import contextlib
import functools
import re
import threading
from collections.abc import Callable, Iterator, Sequence

import psycopg

from rookery.storage.engine import EngineFailed, Row, Value
from rookery.storage.postgres_dial import Connection, translated

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|\?|%|\boffset\b")
_TYPE = re.compile(r"\b(?:BLOB|INTEGER|REAL|TEXT)\b")
_TYPES = {"TEXT": 'TEXT COLLATE "C"', "BLOB": "BYTEA", "INTEGER": "BIGINT", "REAL": "DOUBLE PRECISION"}
_OPTIONS = re.compile(r"\)\s*(?:WITHOUT ROWID|STRICT)(?:\s*,\s*(?:WITHOUT ROWID|STRICT))*\s*;?\s*$")


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


Begin = Callable[[str, Sequence[object]], tuple[Connection, str, list[Row]]]


class Schema:
    """A schema by name, what is known of its columns, and the channel on which its nodes tell each other of news."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answered: dict[int, int] = {}  # statements of write transactions, by thread
        self.channel = f"rookery_{name}"
        self._types: dict[str, dict[str, str]] = {}

    def types(self, reader: "PostgresReader", table: str) -> dict[str, str]:
        """The type of each column, remembered."""
        known = self._types.get(table)
        if known is None:
            found = reader.rows(
                "SELECT column_name, data_type FROM information_schema.columns"
                " WHERE table_schema = ? AND table_name = ?",
                self.name,
                table,
            )
            known = self._types[table] = dict(found)
        return known


class PostgresReader:
    """Reads on one connection; also the reading half of a transaction. `failure`: what ended it."""

    __slots__ = ("_schema", "connection", "failure")

    def __init__(self, schema: Schema, connection: Connection) -> None:
        self._schema = schema
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
        names = ", ".join(f"t.{quoted(column)}" for column in columns)
        source = self._source(table, keys)
        text = f"SELECT {names} FROM {table} t JOIN (SELECT DISTINCT * FROM {source}) v ON {_matching(keys)}"
        return self._fetch(text, _columns(values))

    def _source(self, table: str, columns: Sequence[str]) -> str:
        """The parameters as a table `v` with these columns."""
        types = self._schema.types(self, table)
        arrays = ", ".join(f"%b::{types[column]}[]" for column in columns)
        return f"unnest({arrays}) AS v ({', '.join(map(quoted, columns))})"

    def _fetch(self, text: str, values: Sequence[object]) -> list[Row]:
        return rows_of(self._execute(text, values))

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
    """The write transaction, begun with its first statement: in the same message, if that reads. `number`: what the
    server calls it, should its commit's answer be lost.
    """

    __slots__ = ("_begin", "_later", "number")

    def __init__(self, schema: Schema, begin: Begin) -> None:
        self._schema = schema
        self.failure = None
        self._begin = begin
        self.number = ""
        self._later: list[tuple[str, list[list[Value]]]] = []

    @property
    def begun(self) -> bool:
        """It has a connection."""
        return bool(self.number)

    def begin_for_later(self) -> None:
        """Before a commit: if there is something to be done."""
        if self._later and not self.begun:
            self._begin_with("", ())

    def _begin_with(self, text: str, values: Sequence[object]) -> list[Row]:
        try:
            self.connection, self.number, rows = self._begin(text, values)
        except EngineFailed as error:
            self.failure = error
            raise
        self._count()
        return rows

    def _count(self) -> None:
        thread = threading.get_ident()
        self._schema.answered[thread] = self._schema.answered.get(thread, 0) + 1

    def _fetch(self, text: str, values: Sequence[object]) -> list[Row]:
        if self.begun or self._later or self.failure is not None:
            return super()._fetch(text, values)
        return self._begin_with(text, values)

    def _execute(self, text: str, values: Sequence[object]) -> psycopg.Cursor[Row]:
        if self.failure is None and not self.begun:
            self._begin_with("", ())
        self._send_now()
        cursor = super()._execute(text, values)
        self._count()
        return cursor

    def _send_now(self) -> None:
        if self._later:
            super()._execute(*self.last_statement())
            self._count()

    def last_statement(self) -> tuple[str, list[object]]:
        """What was to be done later, as one statement; "" for nothing."""
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
        names = ", ".join(map(quoted, columns))
        return f"INSERT INTO {table} ({names}) SELECT * FROM {self._source(table, columns)}"

    def insert_later(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        if rows:
            self._schema.types(self, table)
            self._later.append((self._insertion(table, columns), _columns(rows)))

    def update_many(
        self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Value]]
    ) -> None:
        if rows:
            self._execute(*self._updating(table, keys, columns, rows))

    def update_later(
        self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Value]]
    ) -> None:
        if rows:
            self._schema.types(self, table)
            self._later.append(self._updating(table, keys, columns, rows))

    def _updating(
        self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Value]]
    ) -> tuple[str, list[list[Value]]]:
        last = {tuple(row[: len(keys)]): row for row in rows}  # of a key given twice the last counts, as in SQLite
        sets = ", ".join(f"{quoted(column)} = v.{quoted(column)}" for column in columns)
        source = self._source(table, (*keys, *columns))
        return f"UPDATE {table} t SET {sets} FROM {source} WHERE {_matching(keys)}", _columns(list(last.values()))

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
            order = ", ".join(f"t.{quoted(key)}" for key in keys)
            source = self._source(table, keys)
            text = f"SELECT 1 FROM {table} t JOIN {source} ON {_matching(keys)} ORDER BY {order} FOR UPDATE OF t"
            self._execute(text, _columns(values))

    def announce(self) -> None:
        self._execute("SELECT pg_notify(%s, '')", (self._schema.channel,))

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        self._execute("SAVEPOINT item", ())
        try:
            yield
            self._send_now()
        except BaseException:
            self._later = []
            if self.failure is None:
                self._execute("ROLLBACK TO SAVEPOINT item", ())
                self._execute("RELEASE SAVEPOINT item", ())
            raise
        self._execute("RELEASE SAVEPOINT item", ())


def rows_of(cursor: psycopg.Cursor[Row]) -> list[Row]:
    """[] of a statement that has none by its nature."""
    result = cursor.pgresult
    return cursor.fetchall() if result is not None and result.nfields else []


def quoted(name: str) -> str:
    return f'"{name}"'


def _matching(keys: Sequence[str]) -> str:
    return " AND ".join(f"t.{quoted(key)} = v.{quoted(key)}" for key in keys)


def _columns(rows: Sequence[Sequence[Value]]) -> list[list[Value]]:
    """Rows turned into columns, for unnest."""
    return [list(column) for column in zip(*rows, strict=True)]
