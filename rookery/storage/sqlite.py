"""SQLite through apsw: WAL, `synchronous=FULL`, one writing connection, pooled readers, checkpoints in a thread.

A commit is durable when it returns. Only this file knows SQLite.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from rookery.base.errors import Cause, RookeryError
from rookery.storage.engine import Row, Transaction, Value
from rookery.storage.filesystems import refuse_network
from rookery.storage.migrations import Migration, current, migrate

BUSY_MS = 10_000
CACHE_KB = 65_536
MAP_OCTETS = 256 * 1024 * 1024
CHECKPOINT_PAGES = 4_000  # of the WAL (16 MB) before a checkpoint is asked for
TRUNCATE_PAGES = 64_000  # then writers wait until the WAL is empty
POOL = 8  # idle reading connections kept


def translated(error: apsw.Error | OSError) -> RookeryError:
    """What a failed statement means to the caller."""
    if isinstance(error, apsw.FullError):
        return RookeryError(Cause.DISK_FULL, "the disk of the database is full")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return RookeryError(Cause.CORRUPT, f"the database is damaged: {error}")
    if isinstance(error, apsw.ConstraintError):
        return RookeryError(Cause.CONFLICT, f"a row is there already: {error}")
    return RookeryError(Cause.UNAVAILABLE, f"the database cannot be used now: {type(error).__name__}: {error}")


class SqliteReader:
    """Reads on one connection; also the reading half of a transaction."""

    __slots__ = ("connection",)

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection

    def rows(self, sql: str, *values: Value) -> list[Row]:
        try:
            return self.connection.execute(sql, values).fetchall()
        except apsw.Error as error:
            raise translated(error) from error

    def row(self, sql: str, *values: Value) -> Row | None:
        try:
            return next(iter(self.connection.execute(sql, values)), None)
        except apsw.Error as error:
            raise translated(error) from error

    def select_many(
        self, table: str, columns: Sequence[str], keys: Sequence[str], values: Sequence[Sequence[Value]]
    ) -> list[Row]:
        sql = f"SELECT {','.join(columns)} FROM {table} WHERE {' AND '.join(f'{k}=?' for k in keys)}"
        try:
            return self.connection.executemany(sql, values).fetchall()
        except apsw.Error as error:
            raise translated(error) from error


class SqliteTransaction(SqliteReader):
    """The open write transaction."""

    __slots__ = ()

    def run(self, sql: str, *values: Value) -> int:
        try:
            self.connection.execute(sql, values)
        except apsw.Error as error:
            raise translated(error) from error
        return self.connection.changes()

    def _many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        try:
            self.connection.executemany(sql, rows)
        except apsw.Error as error:
            raise translated(error) from error

    def insert_many(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]], *, keep_existing: bool = False
    ) -> None:
        tail = " ON CONFLICT DO NOTHING" if keep_existing else ""
        self._many(f"INSERT INTO {table}({','.join(columns)}) VALUES({','.join('?' * len(columns))}){tail}", rows)

    def update_many(
        self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Value]]
    ) -> None:
        wide = len(keys)
        sets = ",".join(f"{column}=?{wide + n + 1}" for n, column in enumerate(columns))
        where = " AND ".join(f"{key}=?{n + 1}" for n, key in enumerate(keys))
        self._many(f"UPDATE {table} SET {sets} WHERE {where}", rows)

    def delete_many(self, table: str, keys: Sequence[str], values: Sequence[Sequence[Value]]) -> None:
        self._many(f"DELETE FROM {table} WHERE {' AND '.join(f'{k}=?' for k in keys)}", values)

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        with self.connection:
            yield


class SqliteDatabase:
    """One database file. `synchronous` FULL: durable; OFF: for data that may be lost. `vfs`: for tests."""

    def __init__(
        self,
        path: Path,
        migrations: Sequence[Migration],
        *,
        vfs: str | None = None,
        synchronous: str = "FULL",
    ) -> None:
        self.path = path
        self._vfs = vfs
        self._synchronous = synchronous
        self._idle: list[apsw.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._checkpoint_wanted = threading.Event()
        self._pages = 0
        refuse_network(path.parent)
        try:
            self._writer = self._connect()
            self._migrate(migrations)
        except apsw.Error as error:
            raise translated(error) from error
        self._checkpointer: threading.Thread | None = None
        if vfs is None:
            self._checkpointer = threading.Thread(target=self._checkpoint, name=f"checkpoint {path.name}", daemon=True)
            self._checkpointer.start()

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), vfs=self._vfs)
        connection.set_busy_timeout(BUSY_MS)
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.execute(f"PRAGMA synchronous={self._synchronous}").fetchall()
        connection.execute(f"PRAGMA cache_size=-{CACHE_KB}").fetchall()
        connection.execute("PRAGMA foreign_keys=OFF").fetchall()
        connection.execute("PRAGMA temp_store=MEMORY").fetchall()
        if self._vfs is None:
            connection.execute(f"PRAGMA mmap_size={MAP_OCTETS}").fetchall()
        connection.wal_autocheckpoint(0)
        connection.set_wal_hook(self._grown)
        return connection

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        if not migrations:
            return
        with self._transaction(self._writer) as tx:
            have = current(tx, self.path.name, migrations)
        if have >= migrations[-1].version:
            return
        if have:
            self.backup(self.path.with_name(f"{self.path.name}.schema-{have}"))
        with self._transaction(self._writer) as tx:
            migrate(tx, self.path.name, migrations)

    # --- writing ---

    @contextlib.contextmanager
    def _transaction(self, connection: apsw.Connection) -> Iterator[SqliteTransaction]:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            raise translated(error) from error
        try:
            yield SqliteTransaction(connection)
        except BaseException:
            self._roll_back(connection)
            raise
        try:
            connection.execute("COMMIT")
        except apsw.Error as error:
            self._roll_back(connection)
            raise translated(error) from error

    @staticmethod
    def _roll_back(connection: apsw.Connection) -> None:
        if connection.in_transaction:
            with contextlib.suppress(apsw.Error):
                connection.execute("ROLLBACK")

    def write(self) -> contextlib.AbstractContextManager[Transaction]:
        return self._transaction(self._writer)

    def reopen(self) -> None:
        """After a failed flush nothing that this connection believes is trusted: begin again from the files."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in (*idle, self._writer):
            with contextlib.suppress(apsw.Error):
                connection.close(True)
        try:
            self._writer = self._connect()
        except apsw.Error as error:
            raise translated(error) from error

    # --- reading ---

    @contextlib.contextmanager
    def read(self) -> Iterator[SqliteReader]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is None:
                connection = self._connect()
                connection.execute("PRAGMA query_only=ON").fetchall()
            connection.execute("BEGIN")
        except apsw.Error as error:
            raise translated(error) from error
        try:
            yield SqliteReader(connection)
        finally:
            self._roll_back(connection)
            with self._lock:
                keep = not self._closed and len(self._idle) < POOL
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close(True)

    def backup(self, target: Path) -> None:
        """A consistent copy of this moment, while readers and the writer go on."""
        target.unlink(missing_ok=True)
        try:
            source, copy = apsw.Connection(str(self.path), vfs=self._vfs), apsw.Connection(str(target))
            source.set_busy_timeout(BUSY_MS)
            with copy.backup("main", source, "main") as work:
                while not work.done:
                    work.step(1024)
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()
            copy.close()
            source.close()
        except apsw.Error as error:
            raise translated(error) from error

    def problems(self) -> list[str]:
        """What SQLite's own check finds wrong; empty when all is well."""
        with self.read() as reader:
            found = [str(row[0]) for row in reader.rows("PRAGMA quick_check")]
        return [] if found == ["ok"] else found

    # --- checkpoints ---

    def _grown(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        if pages > CHECKPOINT_PAGES:
            self._checkpoint_wanted.set()
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """A thread: moves the WAL into the database, beside readers and the writer."""
        connection: apsw.Connection | None = None
        while True:
            self._checkpoint_wanted.wait()
            self._checkpoint_wanted.clear()
            if self._closed:
                break
            with contextlib.suppress(apsw.Error):  # a busy or full disk: the next commit asks again
                connection = connection or self._connect()
                large = self._pages > TRUNCATE_PAGES
                mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if large else apsw.SQLITE_CHECKPOINT_PASSIVE
                connection.wal_checkpoint(mode=mode)
        if connection is not None:
            connection.close(True)

    def checkpoint(self) -> None:
        """Empty the WAL now."""
        with contextlib.suppress(apsw.Error):
            self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        self._checkpoint_wanted.set()
        if self._checkpointer is not None:
            self._checkpointer.join()
        for connection in (*idle, self._writer):
            with contextlib.suppress(apsw.Error):
                connection.close(True)

    def __enter__(self) -> "SqliteDatabase":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
