"""The heartbeat's statements, on a connection of their own that is made anew after any failure. One thread.

Every statement commits by itself, as durably as mail does: beats that went on while a synchronous standby hangs would
let an idle backend find all busy ones dead.
"""

from collections.abc import Callable

import psycopg

from rookery.base.clock import Clock
from rookery.base.errors import Cause
from rookery.distribution.placement.values import Answer, Peer
from rookery.storage.engine import EngineFailed, KeyExists, Row
from rookery.storage.hosting import TIMELINE
from rookery.storage.postgres_dial import Connection, Dial, close, translated

PATIENCE_MS = 800  # of one statement at the server
EPOCHS = 1 << 20  # left out under a new timeline
NAME = "rookery heartbeat"  # holds no account's row, so nobody needs to find it

# One statement, so that no row stays locked by who is frozen between two. The counts make the insert come last.
# Whoever comes first under a timeline makes sure that no epoch given under it is one that was given before, and lost.
_REGISTER = (
    "WITH former AS (UPDATE incarnation SET ended = true WHERE backend = %s AND NOT ended RETURNING 1),"
    f" jumped AS (SELECT setval('epoch', nextval('epoch') + {EPOCHS}) AS epoch"
    f" WHERE NOT EXISTS (SELECT FROM incarnation WHERE timeline = {TIMELINE}))"
    " INSERT INTO incarnation (incarnation, backend, address, timeline, draining)"
    f" SELECT %s, %s, %s, {TIMELINE}, %s"
    " FROM (SELECT count(*) FROM former) AS f, (SELECT count(epoch) FROM jumped) AS j RETURNING timeline"
)
# What it reads, its own row too, is of the moment before: only `mine` says that it was written.
_BEAT = (
    "WITH mine AS (UPDATE incarnation SET beat = beat + 1, draining = %s"
    f" WHERE incarnation = %s AND NOT ended AND timeline = {TIMELINE} RETURNING beat)"
    " SELECT (SELECT beat FROM mine), incarnation, backend, address, beat, draining FROM incarnation WHERE NOT ended"
)
# A beat under way has the row locked; then this is asked again of the row it leaves, and finds another counter.
_END = "UPDATE incarnation SET ended = true WHERE incarnation = %s AND beat = coalesce(%s, beat) AND NOT ended"


class Beats:
    """`dial` makes a Dial for each attempt, for one that remembers failures waits ever longer."""

    def __init__(self, dial: Callable[[], Dial]) -> None:
        self._dial = dial
        self._connection: Connection | None = None

    def register(self, backend: str, address: str, incarnation: int, draining: bool) -> str:
        ((timeline,),) = self._run(_REGISTER, backend, incarnation, backend, address, draining)[0]
        return str(timeline)

    def beat(self, incarnation: int, draining: bool) -> Answer:
        rows = self._run(_BEAT, draining, incarnation)[0]
        others = tuple(Peer(*row[1:]) for row in rows if row[1] != incarnation)
        return Answer(rows[0][0] if rows else None, others)

    def end(self, incarnation: int, seen: int | None) -> bool:
        return self._run(_END, incarnation, seen)[1] > 0

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            close(connection)

    def _run(self, statement: str, *values: object) -> tuple[list[Row], int]:
        """Rows, and how many were changed. Raises EngineFailed."""
        try:
            if self._connection is None:
                self._connection = self._dial().connect()
                self._connection.execute(f"SET statement_timeout = {PATIENCE_MS}".encode())
            cursor = self._connection.execute(statement.encode(), values)
            return (cursor.fetchall() if cursor.description is not None else []), cursor.rowcount
        except psycopg.Error as error:
            self.close()
            meant = translated(error)
            if isinstance(meant, KeyExists):  # two processes with the name of one backend register at the same moment
                meant = EngineFailed(Cause.BUSY, "another process registers under the name of this backend")
            raise meant from error


def dialler(conninfo: str, schema: str, clock: Clock, pause: Callable[[float], None]) -> Callable[[], Dial]:
    return lambda: Dial(conninfo, schema, NAME, clock=clock, pause=pause)
