"""A directory on PostgreSQL. Apart from opening.py, because an embedded site needs no database client."""

from rookery.base.clock import Clock
from rookery.base.ids import RandomBytes, system_random
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.opening import MIGRATIONS, directory_on
from rookery.distribution.directory.settings import DirectorySettings
from rookery.storage.gate import Gate
from rookery.storage.postgres import PostgresDatabase

SCHEMA = "directory"


def open_shared_directory(
    conninfo: str,
    *,
    clock: Clock,
    gate: Gate,
    hasher: Hasher,
    settings: DirectorySettings | None = None,
    random: RandomBytes = system_random,
    schema: str = SCHEMA,
) -> Directory:
    """Open or make the directory in a schema of a PostgreSQL database, where any number of nodes may write to it.

    Event loop. Raises RookeryError, UNAVAILABLE while the server is away.
    """
    database = PostgresDatabase(conninfo, MIGRATIONS, schema, one_writer=True, clock=clock)
    return directory_on(database, clock=clock, gate=gate, hasher=hasher, settings=settings, random=random)
