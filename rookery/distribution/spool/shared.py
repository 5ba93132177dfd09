"""A spool on PostgreSQL, where any number of nodes accept, claim and settle side by side.

A row that one node claims is passed over by the others; a message is settled under a lock of its row, by the claim's
holder alone. Bodies are rows of the same database: accepting a message is one commit.
"""

from contextlib import ExitStack
from pathlib import Path

from rookery.base.clock import Clock
from rookery.base.ids import RandomBytes, system_random
from rookery.distribution.spool.incarnations import begin_incarnation
from rookery.distribution.spool.membership import Fence, application
from rookery.distribution.spool.schema import MIGRATIONS
from rookery.distribution.spool.spool import Spool, SpoolSettings
from rookery.storage.engine import Database
from rookery.storage.gate import Gate
from rookery.storage.postgres import PostgresDatabase
from rookery.storage.postgres_blobs import PostgresBlobs, body_tables
from rookery.storage.writer import Writer

SHARED_MIGRATIONS = tuple(sorted((*MIGRATIONS, body_tables(3)), key=lambda migration: migration.version))
SCHEMA = "spool"


async def open_shared_spool(
    conninfo: str,
    staging: Path,
    *,
    holder: str,
    clock: Clock,
    gate: Gate,
    random: RandomBytes = system_random,
    settings: SpoolSettings | None = None,
    schema: str = SCHEMA,
) -> Spool:
    """Opens or makes the spool in a schema of a PostgreSQL database, as a new incarnation of the node `holder`,
    which is the name of one process: whoever takes its claims over ends its sessions.

    `staging`: this node's own folder for bodies that are arriving. What others have claimed stays theirs: see
    `Spool.take_over`. Raises RookeryError: UNSUPPORTED (a newer schema), DISK_FULL, UNAVAILABLE, BUSY.
    """
    database = PostgresDatabase(conninfo, SHARED_MIGRATIONS, schema, application=application(holder), clock=clock)
    return spool_on(database, staging, holder=holder, clock=clock, gate=gate, random=random, settings=settings)


def spool_on(
    database: Database,
    staging: Path,
    *,
    holder: str,
    clock: Clock,
    gate: Gate,
    random: RandomBytes = system_random,
    settings: SpoolSettings | None = None,
) -> Spool:
    """The spool in an open database with SHARED_MIGRATIONS, which it closes, also when it cannot be opened."""
    settings = settings or SpoolSettings()
    with ExitStack() as opened:
        opened.callback(database.close)
        blobs = PostgresBlobs(database, staging)
        incarnation = begin_incarnation(database, holder, int(clock.wall()))
        opened.pop_all()
    fence = Fence(incarnation)
    writer = Writer(
        database, blobs, gate, limit_bytes=settings.waiting, clock=clock, batching=fence, name="spool-writer"
    )
    return Spool(
        database, writer, blobs, fence, clock=clock, random=random, incarnation=incarnation, settings=settings,
        holder=holder,
    )  # fmt: skip
