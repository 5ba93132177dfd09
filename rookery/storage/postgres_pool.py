"""Connections that read, kept for the next reader; and what happens when the server does not answer.

The event loop never waits long: a read on it is refused after ON_LOOP seconds, and from then on at once, until a thread
of the pool's own has found the server again. Readers in other threads wait as long as the connection lives.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

import psycopg

from rookery.base.errors import Cause
from rookery.base.log import logger
from rookery.storage.engine import EngineFailed
from rookery.storage.postgres_dial import Connection, Dial, close, translated

KEPT = 4  # idle connections
ON_LOOP = 1.0  # seconds for one answer of the server
LOOK = 0.1  # seconds between two attempts to find it again

BEGIN = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
log = logger("postgres")


def on_loop() -> bool:
    """Whether this is the thread of a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class ReadingPool:
    """`dial`: what connects now; what another has made is not kept. Any thread."""

    def __init__(self, dial: Callable[[], Dial], pause: Callable[[float], None]) -> None:
        self._dial = dial
        self._pause = pause
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._away = False  # the event loop has waited in vain, and a thread is looking for the server

    def take(self) -> Connection:
        """One with a transaction begun; `give_back` it. Raises EngineFailed."""
        loop = on_loop()
        if loop and self._away:
            raise EngineFailed(Cause.UNAVAILABLE, "the database does not answer; it is looked for")
        began = time.monotonic()
        try:
            return self._begun(ON_LOOP if loop else None)
        except EngineFailed:
            if loop and time.monotonic() - began > ON_LOOP / 2:  # a server that refuses at once keeps nobody
                self._look_for_it()
            raise

    def _begun(self, patience: float | None) -> Connection:
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        if idle is not None:
            try:
                return _begin(idle, patience)
            except EngineFailed:
                if patience is not None and idle.impatient:
                    raise
                self.forget()  # lost while it was idle, as the others are likely to be: connect
        return _begin(self._dial().connect(), patience)

    def give_back(self, connection: Connection, *, sound: bool) -> None:
        if sound:
            with contextlib.suppress(psycopg.Error):
                connection.execute("ROLLBACK")
        if connection.impatient and on_loop():
            self._look_for_it()
        with self._lock:
            wanted = not self._closed and connection.dial is self._dial() and len(self._idle) < KEPT
            if keep := wanted and sound and not connection.closed:
                self._idle.append(connection)
        if not keep:
            close(connection)

    def forget(self) -> None:
        """Close those that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            close(connection)

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self.forget()

    def _look_for_it(self) -> None:
        with self._lock:
            if self._away or self._closed:
                return
            self._away = True
        threading.Thread(target=self._find, name="look for PostgreSQL", daemon=True).start()

    def _find(self) -> None:
        log.warning("does-not-answer")
        self.forget()
        while not self._closed:
            try:
                connection = _begin(self._dial().connect(), None)
            except EngineFailed:
                self._pause(LOOK)
                continue
            log.info("answers-again")
            self._away = False
            self.give_back(connection, sound=True)
            return


def _begin(connection: Connection, patience: float | None) -> Connection:
    """Closes it when it fails. Raises EngineFailed."""
    connection.patience = patience
    try:
        connection.execute(BEGIN)
    except psycopg.Error as error:
        close(connection)
        raise translated(error) from error
    return connection
