"""Opening a directory: database, tables, the site's secret and its built-in postmaster, writer thread."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from msgspec.msgpack import encode

from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import RandomBytes, new_account_id, system_random
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory import reads
from rookery.distribution.directory.addresses import POSTMASTER, Address, canonical_domain
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.replica import Replica
from rookery.distribution.directory.rules_accounts import add_builtin
from rookery.distribution.directory.schema import ADDRESSES, GENERATIONS, LOCAL_DOMAINS, MEMBERS, POOLS, TABLES
from rookery.distribution.directory.secrets import Secrets
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.directory.standing import (
    COPY,
    GENERATION,
    CopyState,
    copy_state,
    first_generation,
    generation,
    put,
    site,
)  # fmt: skip
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
    Migration(6, LOCAL_DOMAINS, oldest_release="0.1.0"),
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
    copy: bool = False,
    store: str = "",
) -> Directory:
    """Open or make the directory kept in the file `path`; `copy`: a new one is a copy of another node's, and of whose
    credentials says `store`, see Replica. What one is that exists, it says itself.

    Raises RookeryError: a newer schema is refused by name, CONFLICT where a copy is wanted and accounts are kept that
    were never part of it.
    """
    database = SqliteDatabase(path, MIGRATIONS)
    with database.read() as reader:
        state, known, number = copy_state(reader), site(reader), generation(reader).number
    if copy and state is None and number <= 1:
        if known:
            database.close()
            raise RookeryError(
                Cause.CONFLICT,
                f"directory.replica: {path.name} is no copy, it has domains and accounts of its own; move it away, and"
                " the next start makes a copy",
            )
        with database.write() as tx:
            put(tx, COPY, encode(CopyState()))
        state = CopyState()
    settings = _canonical(settings)
    if state is None:
        made = directory_on(
            database, clock=clock, gate=gate, hasher=hasher, settings=settings, random=random, copy=database.backup
        )
    else:
        with database.read() as reader:
            secrets = Secrets(hasher, random, *site_secrets(reader), keyed=settings.scram)
        made = Directory(
            database,
            Writer(database, None, gate, limit_bytes=WAITING_LIMIT, clock=clock),
            clock=clock,
            secrets=secrets,
            settings=settings,
            copy=database.backup,
            random=random,
        )
    made.copies.make = partial(Replica, database, MIGRATIONS, clock, made.copies.arrived, store=store)
    if state is not None:
        made.copies.replica = made.copies.make()
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
