"""What the database of a dynamic pool knows about its backends, and which of them hosts each account.

Every start of a backend is an incarnation, which lives until one statement ends it; the fact stays. An account's row
names the incarnation that hosts it (NULL: nobody), the epoch of that claim, and the timeline under which it was last
opened or made: system identifier and timeline of the server (`timeline()`, a function of the schema, 61 µs). What was
hosted under another timeline is hosted no longer, and its running numbers must jump before they are used again.

A fence reads FENCE and lets pass what has the epoch under which the process hosts it; if the timeline, the last column,
is another than that of those epochs, nothing passes. Epochs come from one sequence; a row that was never claimed may
have 0, which nobody is given.

`incarnation` means the same in every release: the heartbeat of one that a newer one has just overtaken (postgres.py)
writes there until its process has ended.
"""

from collections.abc import Sequence

from rookery.base.ids import AccountId
from rookery.storage.engine import Reader, Transaction
from rookery.storage.migrations import Migration
from rookery.storage.postgres_blobs import body_tables
from rookery.storage.schema import MIGRATIONS

TIMELINE = "(SELECT timeline())"  # once a statement; raises on a standby, as it should
RESTORED = ""  # account.opened_under of what comes from a copy of this very database: its next opening jumps

HOSTING: tuple[str, ...] = (
    "CREATE FUNCTION timeline() RETURNS TEXT LANGUAGE sql STABLE AS"
    " 'SELECT system_identifier::text || ''/'' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"
    " FROM pg_control_system()'",
    # incarnation: 63 random bits, for a sequence would go back with a fail-over. beat: a counter, not a time.
    """CREATE TABLE incarnation (
        incarnation INTEGER NOT NULL PRIMARY KEY,
        backend TEXT NOT NULL,
        address TEXT NOT NULL,
        timeline TEXT NOT NULL,
        beat INTEGER NOT NULL DEFAULT 0,
        draining BOOLEAN NOT NULL DEFAULT false,
        ended BOOLEAN NOT NULL DEFAULT false
    ) WITH (fillfactor = 50)""",
    "CREATE UNIQUE INDEX incarnation_living ON incarnation (backend) WHERE NOT ended",
    "CREATE SEQUENCE epoch",
    "ALTER TABLE account ADD COLUMN incarnation INTEGER",
    "ALTER TABLE account ADD COLUMN opened_under TEXT NOT NULL DEFAULT timeline()",
    "CREATE INDEX account_incarnation ON account (incarnation) WHERE incarnation IS NOT NULL",
)

SHARED_MIGRATIONS = tuple(
    sorted(
        (*MIGRATIONS, body_tables(2), Migration(3, (*HOSTING, "DROP INDEX blob_segment"))),
        key=lambda step: step.version,
    )
)


def fence(columns: Sequence[str], lock: str = "SHARE") -> str:
    """The first statement of a batch. Value: an array of ids. Rows: `columns`, timeline; locked in order of id.

    `lock`: UPDATE for a batch that changes rows of accounts that others may host; two with SHARE would wait for ever.
    """
    return f"SELECT {', '.join(columns)}, {TIMELINE} FROM account WHERE id = ANY(?) ORDER BY id FOR {lock}"


def application(incarnation: int) -> str:
    """What every session of an incarnation calls itself, so that those of an ended one can be found and ended."""
    return f"rookery {incarnation}"


def read_host(reader: Reader, account: AccountId) -> tuple[str, int, int] | None:
    """Backend, incarnation and epoch of an account; ("", 0, epoch) while nobody hosts it; None: not in this pool."""
    row = reader.row(
        "SELECT i.backend, i.incarnation, a.epoch FROM account a LEFT JOIN incarnation i"
        " ON i.incarnation = a.incarnation AND NOT i.ended WHERE a.id = ?",
        account,
    )
    return None if row is None else (row[0] or "", row[1] or 0, row[2])


def mark_restored(tx: Transaction) -> int:
    """The database comes from a copy: who hosted what then is over, and every account's running numbers jump at its
    next opening, for clients may have seen later ones. Returns of how many accounts.
    """
    tx.run("UPDATE incarnation SET ended = true WHERE NOT ended")
    return tx.run("UPDATE account SET incarnation = NULL, opened_under = ?", RESTORED)
