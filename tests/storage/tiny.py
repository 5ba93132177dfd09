"""The smallest engine there is, in memory, for tests of rules alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import apsw

from rookery.storage.alone import AloneTransaction
from rookery.storage.engine import Row, Value


class TinyTransaction(AloneTransaction):
    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.statements = 0

    def rows(self, sql: str, *values: Value) -> list[Row]:
        self.statements += 1
        return list(self.connection.execute(sql, values))

    def row(self, sql: str, *values: Value) -> Row | None:
        found = self.rows(sql, *values)
        return found[0] if found else None

    def run(self, sql: str, *values: Value) -> int:
        self.rows(sql, *values)
        return self.connection.changes()

    def select_many(
        self, table: str, columns: Sequence[str], keys: Sequence[str], values: Sequence[Sequence[Value]]
    ) -> list[Row]:
        where = " AND ".join(f"{key} = ?" for key in keys)
        return [r for v in values for r in self.rows(f"SELECT {', '.join(columns)} FROM {table} WHERE {where}", *v)]

    def insert_many(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]], *, keep_existing: bool = False
    ) -> None:
        verb = "INSERT OR IGNORE" if keep_existing else "INSERT"
        for row in rows:
            self.rows(f"{verb} INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", *row)

    def insert_later(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        self.insert_many(table, columns, rows)

    def update_many(
        self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Value]]
    ) -> None:
        where = " AND ".join(f"{key} = ?" for key in keys)
        sets = ", ".join(f"{column} = ?" for column in columns)
        for row in rows:
            self.rows(f"UPDATE {table} SET {sets} WHERE {where}", *row[len(keys) :], *row[: len(keys)])

    update_later = update_many

    def delete_many(self, table: str, keys: Sequence[str], values: Sequence[Sequence[Value]]) -> None:
        where = " AND ".join(f"{key} = ?" for key in keys)
        for value in values:
            self.rows(f"DELETE FROM {table} WHERE {where}", *value)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        with self.connection:
            yield


class TinyDatabase:
    """One connection, in memory; rolls back when a block raises."""

    def __init__(self, statements: Sequence[str]) -> None:
        self.connection = apsw.Connection(":memory:")
        for statement in statements:
            self.connection.execute(statement)

    @contextmanager
    def write(self) -> Iterator[TinyTransaction]:
        with self.connection:
            yield TinyTransaction(self.connection)

    @contextmanager
    def read(self) -> Iterator[TinyTransaction]:
        yield TinyTransaction(self.connection)

    def close(self) -> None:
        self.connection.close()
