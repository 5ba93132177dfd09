"""The short list of ways in which databases differ. Rules see only this.

SQL is the common subset of SQLite and PostgreSQL with `?` placeholders and BLOB/INTEGER/TEXT types (an adapter
translates what it must). Multi-row work goes through the `*_many` members, which an adapter turns into whatever is
fastest there (prepared statement in a loop, `json_each`, `unnest`).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from rookery.base.errors import RookeryError

Value: TypeAlias = int | float | str | bytes | None
Row: TypeAlias = tuple[Any, ...]


class KeyExists(Exception):
    """A statement met a key that is there. The transaction goes on only from a savepoint around the statement."""


class EngineFailed(RookeryError):
    """The database itself cannot go on: DISK_FULL, UNAVAILABLE, BUSY or CORRUPT. The open transaction is gone."""


class Reader(Protocol):
    """Reads of one consistent moment. Never held across an await nor over 1 s."""

    def rows(self, sql: str, *values: Value) -> list[Row]: ...

    def row(self, sql: str, *values: Value) -> Row | None: ...

    def select_many(
        self, table: str, columns: Sequence[str], keys: Sequence[str], values: Sequence[Sequence[Value]]
    ) -> list[Row]:
        """Rows of `table` whose `keys` equal any of `values`; unordered, absent ones left out."""
        ...


class Transaction(Reader, Protocol):
    """The one open write transaction of a database. Durable once its `with` block has ended well."""

    def run(self, sql: str, *values: Value) -> int:
        """Execute; returns the number of rows changed."""
        ...

    def insert_many(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]], *, keep_existing: bool = False
    ) -> None:
        """Insert all rows; an existing key raises, or with `keep_existing` leaves the old row alone."""
        ...

    def update_many(
        self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Value]]
    ) -> None:
        """Each row is key values, then column values."""
        ...

    def delete_many(self, table: str, keys: Sequence[str], values: Sequence[Sequence[Value]]) -> None: ...

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo the block alone when it raises; the exception goes on."""
        ...


class Database(Protocol):
    """One database: exclusive writer, any number of readers."""

    def write(self) -> AbstractContextManager[Transaction]:
        """Begin now; commit durably at the end of the block, roll back when it raises."""
        ...

    def read(self) -> AbstractContextManager[Reader]: ...

    def close(self) -> None: ...
