"""Write transactions on PostgreSQL: one begins with its first statement, in one message, and its end means something.

Each has a connection to itself for its time; those that are done with are kept for the next.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from rookery.base.errors import Cause
from rookery.storage.engine import EngineFailed, OutcomeUnknown, Row
from rookery.storage.migrations import may_use
from rookery.storage.postgres_dial import Connection, Dial, close, next_row, translated
from rookery.storage.postgres_statements import PostgresTransaction, Schema, rows_of

KEPT = 4  # idle connections
FINISHING = 0.5  # seconds for a transaction of a name that is given up


class Beginning:
    """The words that begin a transaction. The last statement asks for its number, and for the oldest release that may
    use the tables: after the lock that a step of the schema has alone, so that none comes in between.
    """

    def __init__(self, locks: Sequence[str], oldest_release: str) -> None:
        """`locks`: expressions that wait for advisory locks. `oldest_release`: an expression."""
        asked = [f"SELECT {lock}" for lock in locks]
        number = f"SELECT pg_current_xact_id()::text, {oldest_release}"
        self.text = "; ".join(["BEGIN ISOLATION LEVEL READ COMMITTED", *asked, number])
        self.skipped = 1 + len(asked)  # answers before the number


def lock(name: str, *, shared: bool = False) -> str:
    """To the end of the transaction."""
    return f"pg_advisory_xact_lock{'_shared' if shared else ''}(hashtext({sql.quote(name)}))"


class Writing:
    """Any thread. `dial`: what connects now; what another has made is not kept. `lost`: called when a connection is
    lost, for others that are idle are likely to be.
    """

    def __init__(self, schema: Schema, dial: Callable[[], Dial], lost: Callable[[], None]) -> None:
        self._schema = schema
        self._dial = dial
        self._lost = lost
        self._oldest_release = ""  # as the tables said last, of those that this release may use
        self._changed = threading.Condition()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._closed = False
        self.doubts = 0

    # --- one transaction -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self, beginning: Beginning) -> Iterator[PostgresTransaction]:
        """Raises EngineFailed when it cannot be, which the first statement may tell."""
        tx = PostgresTransaction(self._schema, lambda text, values: self._begin(beginning, text, values))
        try:
            yield tx
            if tx.failure is not None:
                raise tx.failure
            tx.begin_for_later()
        except BaseException:
            if tx.begun:
                roll_back(tx.connection)
                self._give_back(tx.connection)
            raise
        if tx.begun:
            try:
                self._commit(tx)
            finally:
                self._give_back(tx.connection)

    def _begin(self, beginning: Beginning, text: str, values: Sequence[object]) -> tuple[Connection, str, list[Row]]:
        """The connection, the transaction's number, and the rows of its first statement, if any."""
        connection = self._take()
        if connection is not None:
            try:
                return self._started(connection, beginning, text, values)
            except EngineFailed:
                if not connection.broken:  # it may be closed, as there are others
                    raise
                self.forget()  # it went away while nothing was asked of it: nothing is lost by asking again
                self._lost()
        return self._started(self._fresh(), beginning, text, values)

    def _started(
        self, connection: Connection, beginning: Beginning, text: str, values: Sequence[object]
    ) -> tuple[Connection, str, list[Row]]:
        try:
            try:
                cursor = connection.execute(_with_first(connection, beginning.text, text, values))
            except psycopg.ProgrammingError:
                # Perhaps the tables are no longer what this release takes them for, which is to be said.
                roll_back(connection)
                self._confirm(*next_row(connection.execute(beginning.text.encode()), beginning.skipped))
                raise
            number = self._confirm(*next_row(cursor, beginning.skipped))
            return connection, number, rows_of(cursor) if text and cursor.nextset() else []
        except BaseException as error:
            roll_back(connection)
            self._give_back(connection)
            if isinstance(error, psycopg.Error):
                raise translated(error) from error
            raise

    def _confirm(self, number: str, oldest_release: str) -> str:
        """Raises EngineFailed when the tables are not for this release any more."""
        if oldest_release != self._oldest_release:
            if not may_use(oldest_release):
                raise EngineFailed(
                    Cause.UNAVAILABLE, f"Rookery {oldest_release} or newer is needed: the tables were brought forward"
                )
            self._oldest_release = oldest_release
        return number

    def _commit(self, tx: PostgresTransaction) -> None:
        connection = tx.connection
        pid = connection.info.backend_pid  # a lost connection knows none
        try:
            done = _committed(connection, *tx.last_statement())
        except psycopg.Error as error:
            # Anything else (the session is ended, the client lost count) may come after the commit was done.
            if error.diag.severity_nonlocalized == "ERROR" and not connection.closed:
                roll_back(connection)
                close(connection)  # it takes for prepared what the server, after the error, did not prepare
                raise translated(error) from error
            close(connection)
            self.forget()
            self._lost()
            try:
                if self._dial().committed(tx.number, pid, connection.life):
                    return
            except OutcomeUnknown:
                with self._changed:
                    self.doubts += 1
                raise
            raise translated(error) from error
        if done != "COMMIT":
            raise RuntimeError("a rule went on after a statement that failed; nothing was committed")

    # --- connections -----------------------------------------------------------------------------------------------

    def _take(self) -> Connection | None:
        with self._changed:
            connection = self._idle.pop() if self._idle else None
            if connection is not None:
                self._busy.add(connection)
            return connection

    def _fresh(self) -> Connection:
        while True:
            connection = self._dial().connect()
            with self._changed:
                if connection.dial is self._dial():
                    self._busy.add(connection)
                    return connection
            close(connection)  # the name was given up meanwhile

    def _give_back(self, connection: Connection) -> None:
        """Kept, unless something is left of its transaction: then the next one would commit that too."""
        idle = connection.info.transaction_status is TransactionStatus.IDLE
        with self._changed:
            self._busy.discard(connection)
            wanted = not self._closed and connection.dial is self._dial() and len(self._idle) < KEPT
            if keep := idle and wanted:
                self._idle.append(connection)
            self._changed.notify_all()
        if not keep:
            close(connection)

    def forget(self) -> None:
        """Close those that nobody uses."""
        with self._changed:
            idle, self._idle = self._idle, []
        for connection in idle:
            close(connection)

    def finish(self) -> None:
        """There is another dial by now: what the old one has made ends, transactions under way after their commit. One
        that goes on for long is cut off, for its server is perhaps another than the one that answers now.
        """
        with self._changed:
            self.forget()
            old = {connection for connection in self._busy if connection.dial is not self._dial()}
            if not self._changed.wait_for(lambda: not self._busy & old, FINISHING):
                for connection in self._busy & old:
                    connection.cut()
                self._changed.wait_for(lambda: not self._busy & old)

    def close(self) -> None:
        """Those under way are closed when they end."""
        with self._changed:
            self._closed = True
        self.forget()


def _with_first(connection: Connection, beginning: str, text: str, values: Sequence[object]) -> bytes:
    if not text:
        return beginning.encode()
    return f"{beginning}; {psycopg.ClientCursor(connection).mogrify(text, values)}".encode()


def roll_back(connection: Connection) -> None:
    with contextlib.suppress(psycopg.Error):
        connection.execute("ROLLBACK")


def _committed(connection: Connection, text: str, values: Sequence[object]) -> str | None:
    """The server's word for COMMIT, after a last statement that is sent with it."""
    if not text:
        return connection.execute("COMMIT").statusmessage
    with connection.pipeline():
        connection.execute(text.encode(), values)
        commit = connection.execute("COMMIT")
    return commit.statusmessage
