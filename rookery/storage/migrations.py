"""Schemas move forward only, one numbered step after another.

A database says its schema's number, and the oldest release that may use it: a newer database is refused by name, one
that this release may use beside a newer one is opened as it is. Before an old database is changed a copy is kept.
On a database that several nodes share a step may come while an older release is at work there: see postgres.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rookery import __version__
from rookery.base.errors import Cause, RookeryError
from rookery.storage.engine import Reader, Transaction

SCHEMA_TABLE = (
    'CREATE TABLE IF NOT EXISTS schema_version ("only" INTEGER PRIMARY KEY, version INTEGER NOT NULL,'
    " oldest_release TEXT NOT NULL, written_by TEXT NOT NULL)"
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: statements in order, then `function`. `oldest_release` may use the result."""

    version: int
    statements: Sequence[str] = ()
    oldest_release: str = "0.1.0"
    function: Callable[[Transaction], None] | None = field(default=None)


def _number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".") if part.isdigit())


def current(tx: Transaction, name: str, migrations: Sequence[Migration]) -> int:
    """The schema number of an open database, 0 for a new one; raises UNSUPPORTED for one too new."""
    tx.run(SCHEMA_TABLE)
    return confirmed(tx, name, migrations)


def confirmed(reader: Reader, name: str, migrations: Sequence[Migration]) -> int:
    """The same of a database that has SCHEMA_TABLE."""
    row = reader.row("SELECT version, oldest_release, written_by FROM schema_version")
    if row is None:
        return 0
    newest = migrations[-1].version if migrations else 0
    if row[0] > newest and not may_use(row[1]):
        raise RookeryError(
            Cause.UNSUPPORTED,
            f"{name} has schema {row[0]}, written by Rookery {row[2]}; this is Rookery {__version__}, which knows"
            f" schemas up to {newest}. Use Rookery {row[1]} or newer, or restore a copy of before the upgrade",
        )
    return int(row[0])


def may_use(oldest_release: str) -> bool:
    """Whether this release may use what says so of itself."""
    return _number(oldest_release) <= _number(__version__)


def migrate(tx: Transaction, name: str, migrations: Sequence[Migration]) -> None:
    """Bring an open database to the newest schema, inside the caller's transaction."""
    have = current(tx, name, migrations)
    for step in migrations:
        if step.version <= have:
            continue
        for statement in step.statements:
            tx.run(statement)
        if step.function is not None:
            step.function(tx)
        tx.run("DELETE FROM schema_version")
        tx.run("INSERT INTO schema_version VALUES (1, ?, ?, ?)", step.version, step.oldest_release, __version__)
