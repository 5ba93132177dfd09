"""The short list of ways in which databases differ. Rules see only this.

SQL is the common subset of SQLite and PostgreSQL with `?` placeholders and BLOB/INTEGER/TEXT types (an adapter
translates what it must). Multi-row work goes through the `*_many` members, which an adapter turns into whatever is
fastest there (prepared statement in a loop, `json_each`, `unnest`).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from rookery.base.errors import RookeryError

Value: TypeAlias = int | float | str | bytes | None
Row: TypeAlias = tuple[Any, ...]


class KeyExists(Exception):
    """A statement met a key that is there. The transaction goes on only from a savepoint around the statement."""


class EngineFailed(RookeryError):
    """The database itself cannot go on: DISK_FULL, UNAVAILABLE, BUSY or CORRUPT. The open transaction is gone."""


class OutcomeUnknown(EngineFailed):
    """The connection was lost in mid-commit, and nobody could be asked what became of it."""


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

    def insert_later(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """As `insert_many`, before anything else is asked or the transaction ends; what is wrong shows then. For new
        rows of several tables, once each, that go to a server together.
        """
        ...

    def update_many(
        self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Value]]
    ) -> None:
        """Each row is key values, then column values."""
        ...

    def update_later(
        self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Value]]
    ) -> None:
        """As `update_many`, and together with what is inserted later; of another table than those."""
        ...

    def delete_many(self, table: str, keys: Sequence[str], values: Sequence[Sequence[Value]]) -> None: ...

    def take(self, sql: str, *values: Value) -> list[Row]:
        """As `rows` of one table, for whoever comes first: rows that another transaction has are passed over, those
        found are this one's until its end.
        """
        ...

    def share(self, sql: str, *values: Value) -> list[Row]:
        """As `rows` of one table; nobody changes or deletes them before the end of this transaction."""
        ...

    def lock_many(self, table: str, keys: Sequence[str], values: Sequence[Sequence[Value]]) -> None:
        """Wait until nobody else changes these rows, in order of their keys; then they are this transaction's. What
        is read after it is what the others left.
        """
        ...

    def announce(self) -> None:
        """Wake those that `listen` on other nodes, should this transaction commit."""
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo the block alone when it raises; the exception goes on."""
        ...


class Database(Protocol):
    """One database: exclusive writer, any number of readers.

    A `shared` one has writers on several nodes, and several on one: then a rule sees what others committed from one
    statement to the next, unless the database was opened to have one writer at a time, everywhere. `doubts`: commits
    so far of which nobody knows what became.
    """

    @property
    def shared(self) -> bool: ...

    @property
    def doubts(self) -> int: ...

    def answered(self, thread: int) -> int:
        """Statements of write transactions so far, of this thread (threading.get_ident); it tells a slow server from a
        hung one, and is 0 for ever where there is no server.
        """
        ...

    def write(self) -> AbstractContextManager[Transaction]:
        """Begin now, or where it is `shared` with the first statement; commit durably at the end of the block, roll
        back when it raises.
        """
        ...

    def read(self) -> AbstractContextManager[Reader]: ...

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """`wake` is called, on any thread, after announcements of other nodes; some may be lost. Returns the end."""
        ...

    def end_sessions(self, application: str) -> None:
        """End what a dead or stopped node has open, for it may hold locks; that node finds its transaction lost."""
        ...

    def confirm_release(self) -> None:
        """Raises RookeryError(UNSUPPORTED) once a newer release has changed the tables, and this one may not use them
        any more. Any thread.
        """
        ...

    def close(self) -> None: ...
