"""Derived data of emails (parsed envelopes, structures, previews): a second database that may be lost.

Nothing in it is true by itself: it is made from bodies, and made again when it is missing. So it is written without
waiting for the disk, and thrown away when it turns out broken.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.storage.engine import Database, Transaction
from rookery.storage.migrations import Migration
from rookery.storage.sqlite import SqliteDatabase

NAME = "derived.db"
WAITING_LIMIT = 8 << 20  # octets put and not yet written; more is dropped, and made again when asked for
KEYS_PER_READ = 5_000

log = logger("derived")

DERIVED_MIGRATIONS = (
    Migration(
        1,
        (
            """CREATE TABLE derived (
                account INTEGER NOT NULL,
                email INTEGER NOT NULL,
                kind TEXT NOT NULL,
                data BLOB NOT NULL,
                PRIMARY KEY (account, email, kind)
            ) WITHOUT ROWID, STRICT""",
        ),
        "0.1.0",
    ),
)


def open_derived(folder: Path) -> "DerivedStore":
    return DerivedStore(folder / NAME, lambda path: SqliteDatabase(path, DERIVED_MIGRATIONS, synchronous="OFF"))


def forget_derived(folder: Path) -> None:
    """While nobody has it open."""
    _remove(folder / NAME)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


class DerivedStore:
    """`opener` opens the database at a path, making it if it is not there."""

    __slots__ = ("_database", "_lock", "_opener", "_path", "_size", "_thread", "_waiting", "_writing")

    def __init__(self, path: Path, opener: Callable[[Path], Database]) -> None:
        self._path = path
        self._opener = opener
        self._database = self._open()
        self._thread = ThreadPoolExecutor(1, "derived")
        self._waiting: dict[tuple[int, int, str], bytes] = {}
        self._size = 0
        self._writing = False
        self._lock = threading.Lock()

    def _open(self) -> Database:
        try:
            return self._opener(self._path)
        except RookeryError as error:
            log.warning("dropped", reason=error.what)
            return self._anew()

    def _anew(self) -> Database:
        _remove(self._path)
        return self._opener(self._path)

    def get(self, account: int, kind: str, emails: Collection[int]) -> dict[int, bytes]:
        """What is known of these emails."""
        waiting = self._waiting
        found = {email: waiting[account, email, kind] for email in emails if (account, email, kind) in waiting}
        missing = [(account, email, kind) for email in emails if email not in found]
        columns, keys = ("email", "data"), ("account", "email", "kind")
        try:
            with self._database.read() as reader:
                for start in range(0, len(missing), KEYS_PER_READ):
                    found.update(reader.select_many("derived", columns, keys, missing[start : start + KEYS_PER_READ]))
        except RookeryError as error:
            self._failed(error)
        return found

    def put(self, account: int, kind: str, values: Mapping[int, bytes]) -> None:
        """Remember, soon; dropped when too much is waiting."""
        with self._lock:
            for email, data in values.items():
                if self._size + len(data) > WAITING_LIMIT:
                    break
                self._size += len(data) - len(self._waiting.get((account, email, kind), b""))
                self._waiting[account, email, kind] = data
            start = not self._writing and bool(self._waiting)
            self._writing = self._writing or start
        if start:
            self._thread.submit(self._write)

    def forget(self, emails: Collection[tuple[int, int]]) -> None:
        """(account, email) pairs that are gone."""
        keys = list(emails)
        self._thread.submit(self._change, lambda tx: tx.delete_many("derived", ("account", "email"), keys))

    def forget_account(self, account: int) -> None:
        self._thread.submit(self._change, lambda tx: tx.delete_many("derived", ("account",), [(account,)]))

    def _write(self) -> None:
        with self._lock:
            taken = dict(self._waiting)
        rows = [(account, email, kind, data) for (account, email, kind), data in taken.items()]
        columns = ("account", "email", "kind", "data")

        def work(tx: Transaction) -> None:
            tx.delete_many("derived", columns[:3], [row[:3] for row in rows])  # what is put later counts
            tx.insert_many("derived", columns, rows)

        self._change(work)
        with self._lock:
            for key, data in taken.items():
                if self._waiting.get(key) is data:
                    del self._waiting[key]
                    self._size -= len(data)
            self._writing = bool(self._waiting)
        if self._writing:
            self._thread.submit(self._write)

    def _change(self, work: Callable[[Transaction], None]) -> None:
        try:
            with self._database.write() as tx:
                work(tx)
        except RookeryError as error:
            self._failed(error)

    def _failed(self, error: RookeryError) -> None:
        log.warning("failed", reason=error.what)
        if error.cause is Cause.CORRUPT:
            self._database.close()
            self._database = self._anew()

    def flush(self) -> None:
        """Wait until everything that was put is written."""
        self._thread.submit(lambda: None).result()

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._database.close()
