"""SQLite through apsw: WAL, `synchronous=FULL`, one writing connection, pooled readers, checkpoints in a thread.

A commit is durable when it returns. What is said on a connection is in sqlite_statements.py.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from rookery.storage.alone import AloneDatabase
from rookery.storage.engine import EngineFailed, Transaction
from rookery.storage.files import DiskFiles
from rookery.storage.filesystems import refuse_network
from rookery.storage.migrations import Migration, current, migrate
from rookery.storage.sqlite_statements import SqliteReader, SqliteTransaction, translated

BUSY_MS = 10_000
CACHE_KB = 65_536
MAP_OCTETS = 256 * 1024 * 1024
CHECKPOINT_PAGES = 4_000  # of the WAL (16 MB) before a checkpoint is asked for
TRUNCATE_PAGES = 16_000  # then writers wait until the WAL is empty
POOL = 8  # idle reading connections kept
STATEMENTS = 300  # prepared and kept, of each connection


class SqliteDatabase(AloneDatabase):
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
        self._turn = threading.Lock()  # held while waiting for `_writing`: a busy writer cannot keep others out
        self._writing = threading.Lock()
        self._checkpointing = threading.Lock()
        self._closed = False
        self._doubtful = False  # a commit failed half-way, and the log has not been made good since
        self._checkpoint_wanted = threading.Event()
        self._pages = 0
        refuse_network(path.parent)
        self._writer = self._connect()
        try:
            self._migrate(migrations)
        except BaseException:
            self._writer.close(True)
            raise
        self._checkpointer: threading.Thread | None = None
        if vfs is None:
            self._checkpointer = threading.Thread(target=self._checkpoint, name=f"checkpoint {path.name}", daemon=True)
            self._checkpointer.start()

    def _connect(self) -> apsw.Connection:
        """Raises EngineFailed."""
        try:
            connection = apsw.Connection(str(self.path), vfs=self._vfs, statementcachesize=STATEMENTS)
        except apsw.Error as error:
            raise translated(error) from error
        try:
            self._prepare(connection)
        except apsw.Error as error:
            connection.close(True)
            raise translated(error) from error
        return connection

    def _prepare(self, connection: apsw.Connection) -> None:
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

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        if not migrations:
            return
        with self.write() as tx:
            have = current(tx, self.path.name, migrations)
        if have >= migrations[-1].version:
            return
        if have:
            self.backup(self.path.with_name(f"{self.path.name}.schema-{have}"))
        with self.write() as tx:
            migrate(tx, self.path.name, migrations)

    # --- writing ---

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """The next write transaction; others wait for its end. Raises EngineFailed when it cannot begin or commit."""
        with self._turn:
            self._writing.acquire()
        try:
            if self._doubtful:
                self._mend()
            connection = self._writer
            tx = SqliteTransaction(connection)
            tx.rows("BEGIN IMMEDIATE")
            try:
                yield tx
                tx.rows("COMMIT")  # raises what ended the transaction, should a rule have passed over it
            except BaseException:
                self._roll_back(connection)
                raise
        finally:
            self._writing.release()

    @staticmethod
    def _roll_back(connection: apsw.Connection) -> None:
        if connection.in_transaction:
            with contextlib.suppress(apsw.Error):
                connection.execute("ROLLBACK")

    def reopen(self) -> None:
        """After a failed flush nothing that this connection believes is trusted: begin again from the files.

        Raises EngineFailed while that cannot be; the next `write` tries again.
        """
        with self._writing:
            self._doubtful = True
            with self._lock:
                idle, self._idle = self._idle, []
            for connection in idle:
                with contextlib.suppress(apsw.Error):
                    connection.close(True)
            self._mend()

    def _mend(self) -> None:
        """Write what the log holds into the database, flushed, and empty the log.

        A commit whose flush failed may be in the log or not, and the kernel may hold octets of it that it will never
        write. Were the log continued behind them, a power cut would cost what is acknowledged later.
        """
        with contextlib.suppress(apsw.Error):
            self._writer.close(True)
        self._writer = self._connect()
        try:
            self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as error:
            raise translated(error) from error
        self._doubtful = False

    # --- reading ---

    @contextlib.contextmanager
    def read(self) -> Iterator[SqliteReader]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connect()
        try:
            connection.execute("BEGIN")
        except apsw.Error as error:
            connection.close(True)
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
        """A consistent copy of this moment, on the disk when this returns. Readers and the writer go on."""
        source = self._connect()
        try:
            target.unlink(missing_ok=True)
            copy = apsw.Connection(str(target), vfs=self._vfs)
            try:
                copy.execute("PRAGMA synchronous=FULL").fetchall()
                with copy.backup("main", source, "main") as work:
                    work.step(-1)  # in one go: between two steps another's commit would make it begin anew
                copy.execute("PRAGMA journal_mode=DELETE").fetchall()
            finally:
                copy.close()
            DiskFiles().sync_folder(target.parent)
        except (apsw.Error, OSError) as error:
            raise translated(error) from error
        finally:
            source.close(True)

    def absorb(self, source: Path, statements: Sequence[str]) -> None:
        """Run them in one transaction, in which the database file `source` is there as `copy`. Raises EngineFailed."""
        try:
            with self._turn, self._writing:
                self._writer.execute("ATTACH ? AS copy", (str(source),)).fetchall()
            try:
                with self.write() as tx:
                    for statement in statements:
                        tx.run(statement)
            finally:
                with self._turn, self._writing:
                    self._writer.execute("DETACH copy").fetchall()
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
            with contextlib.suppress(apsw.Error, EngineFailed):  # a busy or full disk: the next commit asks again
                if connection is None:
                    connection = self._connect()
                with self._checkpointing:
                    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                    if self._pages > TRUNCATE_PAGES:  # little is left by now, so writers wait but for a moment
                        with self._turn, self._writing:
                            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        if connection is not None:
            connection.close(True)

    def checkpoint(self) -> None:
        """Empty the WAL now."""
        with self._checkpointing, self._turn, self._writing, contextlib.suppress(apsw.Error):
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
