"""One connection's transaction on SQLite, through apsw: what is said on it. When it begins and what its end means is
the business of sqlite.py.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from itertools import chain

import apsw

from rookery.base.errors import Cause
from rookery.storage.alone import AloneTransaction
from rookery.storage.engine import EngineFailed, KeyExists, Row, Value

KEYS = 512  # most keys in one SELECT: bounds its parameters, and how many different statements there are
ROWS = 64  # most rows in one INSERT

# A rule's own mistake (a wrong statement, a broken constraint) is not the database's failure: it goes on as it is.
_MISTAKES = (apsw.SQLError, apsw.ConstraintError, apsw.MismatchError, apsw.BindingsError, apsw.RangeError)
_KEYS_TAKEN = frozenset(
    {apsw.SQLITE_CONSTRAINT_PRIMARYKEY, apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_CONSTRAINT_ROWID}
)


def translated(error: Exception) -> EngineFailed:
    """What a failure of the database means to the caller."""
    if isinstance(error, apsw.FullError):
        return EngineFailed(Cause.DISK_FULL, "the disk of the database is full")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return EngineFailed(Cause.CORRUPT, f"the database is damaged: {error}")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return EngineFailed(Cause.BUSY, f"the database is in use: {error}")
    return EngineFailed(Cause.UNAVAILABLE, f"the database cannot be used now: {type(error).__name__}: {error}")


@functools.lru_cache(1000)
def _selection(table: str, columns: tuple[str, ...], keys: tuple[str, ...], count: int) -> str:
    start = f"SELECT {','.join(columns)} FROM {table} WHERE "
    if len(keys) == 1:
        return f"{start}{keys[0]} IN ({','.join('?' * count)})"
    one = f"({','.join('?' * len(keys))})"
    return f"{start}({','.join(keys)}) IN (VALUES {','.join([one] * count)})"


@functools.lru_cache(1000)
def _insertion(table: str, columns: tuple[str, ...], count: int, keep_existing: bool) -> str:
    one = f"({','.join('?' * len(columns))})"
    tail = " ON CONFLICT DO NOTHING" if keep_existing else ""
    return f"INSERT INTO {table}({','.join(columns)}) VALUES {','.join([one] * count)}{tail}"


class SqliteReader:
    """Reads on one connection; also the reading half of a transaction.

    `failure`: the database's error that ended the transaction. SQLite may then have rolled it back by itself, so that a
    later statement would be committed alone: there is none, each raises the same error again.
    """

    __slots__ = ("connection", "failure")

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.failure: EngineFailed | None = None

    def rows(self, sql: str, *values: Value) -> list[Row]:
        return self._execute(sql, values)

    def row(self, sql: str, *values: Value) -> Row | None:
        if self.failure is not None:
            raise self.failure
        try:
            return self.connection.execute(sql, values).fetchone()
        except (apsw.Error, OSError, MemoryError) as error:
            raise self._failed(error) from error

    def select_many(
        self, table: str, columns: Sequence[str], keys: Sequence[str], values: Sequence[Sequence[Value]]
    ) -> list[Row]:
        found: list[Row] = []
        for start in range(0, len(values), KEYS):
            part = values[start : start + KEYS]
            count = 1 << (len(part) - 1).bit_length()  # few different statements; the last key fills up
            flat = [value for key in part for value in key]
            flat.extend(list(part[-1]) * (count - len(part)))
            found += self._execute(_selection(table, tuple(columns), tuple(keys), count), flat)
        return found

    def _execute(self, sql: str, values: Sequence[Value]) -> list[Row]:
        if self.failure is not None:
            raise self.failure
        try:
            return self.connection.execute(sql, values).fetchall()
        except (apsw.Error, OSError, MemoryError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> Exception:
        if isinstance(error, _MISTAKES):
            if isinstance(error, apsw.ConstraintError) and getattr(error, "extendedresult", 0) in _KEYS_TAKEN:
                return KeyExists(str(error))
            return error
        self.failure = translated(error)
        return self.failure


class SqliteTransaction(AloneTransaction, SqliteReader):
    """The open write transaction."""

    __slots__ = ()

    take = share = SqliteReader.rows

    def run(self, sql: str, *values: Value) -> int:
        before = self.connection.total_changes()
        self._execute(sql, values)
        return self.connection.total_changes() - before

    def _many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        if self.failure is not None:
            raise self.failure
        try:
            self.connection.executemany(sql, rows)
        except (apsw.Error, OSError, MemoryError) as error:
            raise self._failed(error) from error

    def insert_many(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]], *, keep_existing: bool = False
    ) -> None:
        names, start = tuple(columns), 0
        while start < len(rows):  # few steps, few different statements: each step gives the GIL away and asks for it
            count = min(ROWS, 1 << ((len(rows) - start).bit_length() - 1))
            flat = list(chain.from_iterable(rows[start : start + count]))
            self._execute(_insertion(table, names, count, keep_existing), flat)
            start += count

    def insert_later(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        self.insert_many(table, columns, rows)

    def update_many(
        self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Value]]
    ) -> None:
        wide = len(keys)
        sets = ",".join(f"{column}=?{wide + n + 1}" for n, column in enumerate(columns))
        where = " AND ".join(f"{key}=?{n + 1}" for n, key in enumerate(keys))
        self._many(f"UPDATE {table} SET {sets} WHERE {where}", rows)

    update_later = update_many

    def delete_many(self, table: str, keys: Sequence[str], values: Sequence[Sequence[Value]]) -> None:
        self._many(f"DELETE FROM {table} WHERE {' AND '.join(f'{k}=?' for k in keys)}", values)

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        self._execute("SAVEPOINT item", ())
        try:
            yield
        except BaseException:
            if self.failure is None:
                self._execute("ROLLBACK TO item", ())
                self._execute("RELEASE item", ())
            raise
        self._execute("RELEASE item", ())
