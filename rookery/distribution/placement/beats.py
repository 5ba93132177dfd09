"""The heartbeat's statements, on a connection of their own that is made anew after any failure. One thread.

Every statement commits by itself, as durably as mail does: beats that went on while a synchronous standby hangs would
let an idle backend find all busy ones dead.
"""

from collections.abc import Callable, Mapping

import psycopg

from rookery.base.clock import Clock
from rookery.base.errors import Cause
from rookery.distribution.placement.values import Answer, Peer
from rookery.storage.engine import EngineFailed, KeyExists, Row
from rookery.storage.hosting import TIMELINE
from rookery.storage.postgres_dial import Connection, Dial, close, translated

PATIENCE_MS = 800  # of one statement at the server
SILENCE = 1.5  # seconds without an answer, until another connection is tried, perhaps to another server
EPOCHS = 1 << 20  # left out under a new timeline, times its number
NAME = "rookery heartbeat"  # holds no account's row, so nobody needs to find it

_NUMBER = f"('x' || lpad(split_part({TIMELINE}, '/', 2), 8, '0'))::bit(32)::bigint"  # of the timeline, hexadecimal
# One statement, so that no row stays locked by who is frozen between two. The counts make the insert come last.
# Whoever comes first under a timeline makes sure that no epoch given under it is one that was given before, and lost;
# perhaps after another fail-over, whose leap was lost too: hence leaps of different lengths.
_REGISTER = (
    "WITH former AS (UPDATE incarnation SET ended = true WHERE backend = %s AND NOT ended RETURNING 1),"
    f" jumped AS (SELECT setval('epoch', nextval('epoch') + {EPOCHS} * {_NUMBER}) AS epoch"
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
# All at once, for a beat that waited while many deaths were recorded one by one would come too late. A row that is
# locked has a beat or a death under way, and is left to it: so nobody waits, and those who end the same ones in another
# order do not wait for each other for ever. A beat that was faster is seen: asked again of the row that is locked.
_END = (
    "UPDATE incarnation SET ended = true WHERE incarnation IN (SELECT i.incarnation FROM incarnation i"
    " JOIN unnest(%s::bigint[], %s::bigint[]) AS d (incarnation, seen) USING (incarnation)"
    " WHERE NOT i.ended AND i.beat = coalesce(d.seen, i.beat) FOR UPDATE OF i SKIP LOCKED) RETURNING incarnation"
)


class Beats:
    """`dial` makes a Dial for each attempt, for one that remembers failures waits ever longer."""

    def __init__(self, dial: Callable[[], Dial]) -> None:
        self._dial = dial
        self._connection: Connection | None = None

    def register(self, backend: str, address: str, incarnation: int, draining: bool) -> str:
        ((timeline,),) = self._run(_REGISTER, backend, incarnation, backend, address, draining)
        return str(timeline)

    def beat(self, incarnation: int, draining: bool) -> Answer:
        rows = self._run(_BEAT, draining, incarnation)
        others = tuple(Peer(*row[1:]) for row in rows if row[1] != incarnation)
        return Answer(rows[0][0] if rows else None, others)

    def end(self, seen: Mapping[int, int | None]) -> set[int]:
        return {row[0] for row in self._run(_END, list(seen), list(seen.values()))}

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            close(connection)

    def _run(self, statement: str, *values: object) -> list[Row]:
        """Raises EngineFailed."""
        try:
            if self._connection is None:
                self._connection = self._dial().connect()
                self._connection.patience = SILENCE
                self._connection.execute(f"SET statement_timeout = {PATIENCE_MS}".encode())
            return self._connection.execute(statement.encode(), values).fetchall()
        except psycopg.Error as error:
            self.close()
            meant = translated(error)
            if isinstance(meant, KeyExists):  # two processes with the name of one backend register at the same moment
                meant = EngineFailed(Cause.BUSY, "another process registers under the name of this backend")
            raise meant from error


def dialler(conninfo: str, schema: str, clock: Clock, pause: Callable[[float], None]) -> Callable[[], Dial]:
    return lambda: Dial(conninfo, schema, NAME, clock=clock, pause=pause)
