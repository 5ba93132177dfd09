"""Opening a directory: database, tables, the site's secret and its built-in postmaster, writer thread."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from msgspec.msgpack import encode

from rookery.base.clock import Clock
from rookery.base.ids import RandomBytes, new_account_id, system_random
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory import reads
from rookery.distribution.directory.addresses import POSTMASTER, Address, canonical_domain
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.replica import Replica
from rookery.distribution.directory.rules_accounts import add_builtin
from rookery.distribution.directory.schema import ADDRESSES, GENERATIONS, MEMBERS, POOLS, TABLES
from rookery.distribution.directory.secrets import Secrets
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.directory.standing import COPY, GENERATION, CopyState, copy_state, first_generation, put, site
from rookery.distribution.directory.standing import secrets as site_secrets
from rookery.storage.engine import Database, Reader
from rookery.storage.gate import Gate
from rookery.storage.migrations import Migration
from rookery.storage.sqlite import SqliteDatabase
from rookery.storage.writer import Writer

MIGRATIONS = (
    Migration(1, TABLES, oldest_release="0.1.0"),
    Migration(2, POOLS, oldest_release="0.1.0"),
    Migration(3, GENERATIONS, oldest_release="0.1.0"),
    Migration(4, MEMBERS, oldest_release="0.1.0"),
    Migration(5, ADDRESSES, oldest_release="0.1.0"),
)
WAITING_LIMIT = 8 * 1024 * 1024  # octets of acts that wait for the writer


def ensure_site(database: Database, clock: Clock, random: RandomBytes, iterations: int) -> tuple[bytes, int]:
    """The site's secret and how often its SCRAM keys are stretched; made together with the built-in postmaster.

    The count stays what it was at first: accounts keep the one they have, and were there another, it would tell a name
    that is no account from one that is.
    """
    with database.read() as reader:
        kept = _site(reader)
    if not {"secret", "scram-iterations", GENERATION} <= kept.keys():
        with database.write() as tx:
            kept = _site(tx)  # another node may have been first
            used = tx.row("SELECT MAX(scram_iterations) FROM account")
            if used is not None and used[0]:
                iterations = used[0]
            made = {
                "secret": random(32),
                "scram-iterations": iterations.to_bytes(4, "big"),
                GENERATION: first_generation(random),
            } | kept
            tx.insert_many("site", ("key", "value"), [(key, value) for key, value in made.items() if key not in kept])
            if reads.entry(tx, reads.SITE_DOMAIN, POSTMASTER) is None:
                add_builtin(tx, new_account_id(random), Address(POSTMASTER, ""), int(clock.wall()))
        kept = made
    return kept["secret"], int.from_bytes(kept["scram-iterations"], "big")


def _site(reader: Reader) -> dict[str, bytes]:
    return {key: bytes(value) for key, value in reader.rows("SELECT key, value FROM site")}


def open_directory(
    path: Path,
    *,
    clock: Clock,
    gate: Gate,
    hasher: Hasher,
    settings: DirectorySettings | None = None,
    random: RandomBytes = system_random,
) -> Directory:
    """Open or make the directory kept in the file `path`. Raises RookeryError (a newer schema is refused by name)."""
    database = SqliteDatabase(path, MIGRATIONS)
    return directory_on(
        database, clock=clock, gate=gate, hasher=hasher, settings=settings, random=random, copy=database.backup
    )


def open_replica(
    path: Path,
    *,
    clock: Clock,
    gate: Gate,
    hasher: Hasher,
    settings: DirectorySettings | None = None,
    random: RandomBytes = system_random,
    store: str = "",
) -> Directory:
    """Open or begin a copy of another node's directory in the file `path`; `store`: see Replica. One that was promoted
    is the primary for good. Raises RookeryError."""
    database = SqliteDatabase(path, MIGRATIONS)
    with database.read() as reader:
        begun, promoted = copy_state(reader) is not None, GENERATION in site(reader)
    if promoted and not begun:
        return directory_on(
            database, clock=clock, gate=gate, hasher=hasher, settings=settings, random=random, copy=database.backup
        )
    if not begun:
        with database.write() as tx:
            put(tx, COPY, encode(CopyState()))
    settings = _canonical(settings)
    writer = Writer(database, None, gate, limit_bytes=WAITING_LIMIT, clock=clock)
    with database.read() as reader:
        secrets = Secrets(hasher, random, *site_secrets(reader), keyed=settings.scram)
    made = Directory(
        database, writer, clock=clock, secrets=secrets, settings=settings, copy=database.backup, random=random
    )
    made.copies.replica = Replica(database, MIGRATIONS, clock, made.copies.arrived, store=store)
    return made


def _canonical(settings: DirectorySettings | None) -> DirectorySettings:
    settings = settings or DirectorySettings()
    if settings.default_domain:
        settings = replace(settings, default_domain=canonical_domain(settings.default_domain))
    return settings


def directory_on(
    database: Database,
    *,
    clock: Clock,
    gate: Gate,
    hasher: Hasher,
    settings: DirectorySettings | None = None,
    random: RandomBytes = system_random,
    copy: Callable[[Path], None] | None = None,
) -> Directory:
    """The directory in an open database with MIGRATIONS, which has one writer at a time. `copy` makes snapshots."""
    settings = _canonical(settings)
    secret, iterations = ensure_site(database, clock, random, settings.scram_iterations)
    writer = Writer(database, None, gate, limit_bytes=WAITING_LIMIT, clock=clock)
    secrets = Secrets(hasher, random, secret, iterations, keyed=settings.scram)
    return Directory(database, writer, clock=clock, secrets=secrets, settings=settings, copy=copy, random=random)
