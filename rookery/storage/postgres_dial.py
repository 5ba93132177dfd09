"""How a PostgreSQL server is reached: one way to connect, a pause after each failure, and what became of a commit.

After a failed attempt there is none for a while, ever longer while they fail: whoever asks meanwhile is refused at
once. A caller waits for CONNECT seconds at most, and the event loop is never kept by a server that is away.
"""

import contextlib
import functools
import os
import socket
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.abc import PQGen
from psycopg.adapt import Loader
from psycopg.rows import tuple_row

from rookery.base.clock import Clock
from rookery.base.errors import Cause
from rookery.storage.engine import EngineFailed, KeyExists, OutcomeUnknown, Row
from rookery.storage.postgres_servers import servers

CONNECT = 2  # seconds for one attempt
SILENCE_MS = 5_000  # a peer that acknowledges nothing for so long is gone
ASK_AFTER, ASK_EVERY = 2, 1  # seconds: who waits for an answer has sent nothing since that could be acknowledged
LOCK_MS = 10_000  # waiting for somebody else's lock
IDLE_MS = 10_000  # a transaction whose client has stopped is ended: it holds locks that others wait for
PAUSE, PAUSE_MOST = 0.05, 2.0  # seconds without an attempt: after the first failed one, at most
OUTCOME = 10.0  # seconds in which the fate of a commit is looked for

T = TypeVar("T")

_FULL = (errors.DiskFull, errors.OutOfMemory, errors.InsufficientResources)
_BUSY = (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable, errors.QueryCanceled)
_CORRUPT = (errors.DataCorrupted, errors.IndexCorrupted)
_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,
    errors.ObjectNotInPrerequisiteState,  # a standby has no WAL position of its own
    errors.IdleInTransactionSessionTimeout,
)


class Life(NamedTuple):
    """One life of a server, between two crashes. After a crash it gives the numbers of transactions that had not
    reached its disk to others: a number means the same in one life only.
    """

    timeline: str
    began: str  # a server that crashed counts anew, and says since when


class Connection(psycopg.Connection[Row]):
    """`patience`: seconds that the server may take for one answer; None: as long as the connection lives. One on which
    that was too long is `impatient`, and closed: nobody knows to which question its next answer would belong.
    """

    patience: float | None = None
    impatient = False
    dial: "Dial"  # that made it
    life: Life  # of the server, to the end of the connection
    silent: Callable[[], None] | None = None  # called when it is lost after the server has not answered for long

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        began = time.monotonic()
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except errors._WaitTimeout:  # the one name that psycopg has for it
            self.impatient = True
            self.pgconn.finish()
            self._lost()
            raise
        except psycopg.OperationalError:
            if self.closed and time.monotonic() - began >= CONNECT:
                self._lost()
            raise

    def cut(self) -> None:
        """From another thread: whoever waits for an answer finds it lost."""
        with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)

    def _lost(self) -> None:
        if self.silent is not None:
            self.silent()


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
    if isinstance(error, _AWAY):
        return EngineFailed(Cause.UNAVAILABLE, f"the database cannot be used now: {said(error)}")
    return error


def said(error: psycopg.Error) -> str:
    """In one line. It names servers, roles and databases, no password, and nothing of anybody's mail."""
    return " ".join(str(error).split()) or type(error).__name__


def close(connection: Connection) -> None:
    with contextlib.suppress(psycopg.Error):
        connection.close()


class Dial:
    """Connects to one schema, under one name. `pause` waits so many seconds (time.sleep). Any thread."""

    def __init__(
        self, conninfo: str, schema: str, application: str, *, clock: Clock, pause: Callable[[float], None]
    ) -> None:
        self._servers = servers(conninfo)
        self._application = application
        self._clock = clock
        self._pause = pause
        self._delay = 0.0
        self._not_before = clock.monotonic()
        self._failure = ""
        # Everything is asked for by its key; of ranges (what is above a change number) the planner expects a third of
        # all rows, and would read the whole table.
        self._prepare = sql.SQL(
            "SET search_path = {}; SET enable_seqscan = off;"
            " SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {};"
            " SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';"
            " SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8), stats_reset::text FROM pg_stat_wal"
        ).format(sql.Identifier(schema), sql.Literal(LOCK_MS), sql.Literal(IDLE_MS))

    def connect(self) -> Connection:
        """Raises EngineFailed: at once while the last failure is fresh."""
        now = self._clock.monotonic()
        if now < self._not_before:
            raise EngineFailed(Cause.UNAVAILABLE, f"{self._failure}; it is tried again shortly")
        connection: Connection | None = None
        try:
            connection = Connection.connect(
                self._servers.conninfo(), autocommit=True, application_name=self._application, connect_timeout=CONNECT,
                tcp_user_timeout=SILENCE_MS, keepalives_idle=ASK_AFTER, keepalives_interval=ASK_EVERY,
                row_factory=tuple_row,
            )  # fmt: skip
            connection.dial = self
            connection.adapters.register_loader("numeric", _PlainNumber)
            connection.life = Life(*map(str, last_row(connection.execute(self._prepare))))
        except psycopg.Error as error:
            if connection is not None:
                close(connection)
            self._delay = min(max(self._delay * 2, PAUSE), PAUSE_MOST)
            self._not_before = self._clock.monotonic() + self._delay
            failure = translated(error)
            self._failure = failure.what if isinstance(failure, EngineFailed) else said(error)
            raise failure from error
        self._delay = 0.0
        server = connection.info.host, connection.info.port
        self._servers.answers(*server)
        connection.silent = functools.partial(self._servers.silent, *server)
        return connection

    def committed(self, transaction: str, pid: int, life: Life) -> bool:
        """What became of a commit whose answer was lost. Waits for the old session, and ends it if it must.

        `transaction`: its number as the server said (pg_current_xact_id), in that life. Raises OutcomeUnknown.
        """
        until = self._clock.monotonic() + OUTCOME
        while self._clock.monotonic() < until:
            with contextlib.suppress(EngineFailed, psycopg.Error):
                connection = self.connect()
                try:
                    if connection.life.timeline != life.timeline:  # another server was promoted
                        break
                    if connection.life != life:
                        if _may_be_committed(connection, transaction):
                            break
                        return False
                    status = _status(connection, transaction, pid)
                    if status == "committed" and not _replicated(connection, until - self._clock.monotonic()):
                        break
                finally:
                    close(connection)
                if status in ("committed", "aborted"):
                    return status == "committed"
            self._pause(PAUSE)
        raise OutcomeUnknown(Cause.UNAVAILABLE, "the database was lost in mid-commit; what became of it is not known")


def _status(connection: Connection, transaction: str, pid: int) -> str:
    connection.execute(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE pid = %s AND backend_xid = %s::xid8::xid",
        (pid, transaction),
    )
    return str(last_row(connection.execute("SELECT pg_xact_status(%s::xid8)", (transaction,)))[0])


def _replicated(connection: Connection, seconds: float) -> bool:
    """A session that is ended while its commit waits for the synchronous standby leaves it committed here, and perhaps
    nowhere else. A commit of ours, behind it in the log, waits for both.
    """
    connection.patience = max(seconds, PAUSE)
    try:
        connection.execute("SELECT pg_logical_emit_message(true, 'rookery', '')")
    except psycopg.Error:
        if connection.impatient:
            return False
        raise
    return True


def _may_be_committed(connection: Connection, transaction: str) -> bool:
    """After a crash: False if certainly not. If its number is committed, perhaps it was given to another."""
    try:
        status = last_row(connection.execute("SELECT pg_xact_status(%s::xid8)", (transaction,)))[0]
    except errors.InvalidParameterValue:  # "is in the future": nothing of it was on the disk
        return False
    return status not in ("aborted", "in progress")


def last_row(cursor: psycopg.Cursor[Row]) -> Row:
    """The row of the last of several statements that were sent together."""
    while cursor.nextset():
        pass
    return next_row(cursor)


def next_row(cursor: psycopg.Cursor[Row], skipped: int = 0) -> Row:
    """The row of the statement after so many."""
    for _ in range(skipped):
        cursor.nextset()
    row = cursor.fetchone()
    assert row is not None
    return row
