"""What a store is made of, and its settings. The parts come from embedded.py (a folder) or shared.py (PostgreSQL)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rookery.storage.ballast import Ballast
from rookery.storage.bodies import Blobs
from rookery.storage.derived import DerivedStore
from rookery.storage.engine import Database
from rookery.storage.lock import Identity


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """keep_expunged: seconds until the body of an expunged message goes. waiting: octets of work, beyond it callers
    wait. changes_days, changes_rows: how far an account's change log reaches back. deliveries_days: delivery ids are
    forgotten then, whatever the queue says. idle, idle_accounts: seconds an account stays in memory without a session,
    and how many such at most. ballast: octets of disk kept back for removing, where the disk is the store's own.
    """

    keep_expunged: int = 86_400
    waiting: int = 256 << 20
    changes_days: int = 90
    changes_rows: int = 100_000
    deliveries_days: int = 30
    idle: float = 300.0
    idle_accounts: int = 5_000
    ballast: int = 16 << 20


DEFAULTS = StoreSettings()


@dataclass(frozen=True, slots=True)
class Parts:
    """folder: this process's own. ballast: None where the disk is somebody else's.

    snapshot: a consistent copy into a new folder, blocking. problems: what the database's own check finds wrong.
    rename: what the sessions at the database's server call themselves from now on; may wait for a batch to end.
    release: the last to be called, gives the folder up.
    """

    folder: Path
    identity: Identity
    database: Database
    blobs: Blobs
    derived: DerivedStore
    ballast: Ballast | None
    snapshot: Callable[[Path], None]
    problems: Callable[[], list[str]]
    rename: Callable[[str], None]
    release: Callable[[], None]
