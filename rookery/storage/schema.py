"""The tables of the store's index, the same on every engine, and their versions.

One delivery writes two randomly placed pages, the account's ends of `email` and `presence`, and the right edges of
`blob` and `delivery`. It writes no `change` row: an email's number *is* the change number that made it, and the row
names the mailbox and UID of its birth, so the log is `change` together with `email` (changes.py). It writes no counters
either, but once in a while: what they leave out is read from the newest emails (counters.py). Names, limits and epochs
live apart from the counters, so that what is written often stays narrow.

`account` is a small number that stands for the 128-bit id inside this store; never reused.
"""

from rookery.storage.blobs import BLOB_TABLE
from rookery.storage.migrations import Migration

SCHEMA_VERSION = 4
OLDEST_RELEASE = "0.1.0"

# account.state. Only an active account is hosted, read and written; what the row says counts, whatever else is known.
ACTIVE = 0
REMOVED = 1  # a tombstone: refuses everything; its rows are purged in slices
MOVING_IN = 2  # is being made from what another pool has
MOVING_OUT = 3  # is being read for another pool, and stays as it is
MOVED = 4  # a tombstone that refers to the pool that `moved` names; its rows are purged as well

NEXT_ACCOUNT = "next-account"  # names in `meta`
UPKEEP = "upkeep"  # a shared store's: whoever has this row locked does the housekeeping

VERSION_1: tuple[str, ...] = (
    # Facts about the store itself.
    """CREATE TABLE meta (
        name TEXT NOT NULL PRIMARY KEY,
        value INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT""",
    # floor: changes up to here may have been trimmed away. uidvalidity: the greatest ever given.
    """CREATE TABLE account (
        id BLOB NOT NULL PRIMARY KEY,
        account INTEGER NOT NULL UNIQUE,
        epoch INTEGER NOT NULL,
        state INTEGER NOT NULL,
        size_limit INTEGER NOT NULL,
        message_limit INTEGER NOT NULL,
        uidvalidity INTEGER NOT NULL,
        next_mailbox INTEGER NOT NULL,
        floor INTEGER NOT NULL,
        created INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT""",
    # mailbox 0 is the account as a whole: its modseq is the change counter, size and messages are what quotas limit.
    """CREATE TABLE counter (
        account INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,
        uidvalidity INTEGER NOT NULL,
        uidnext INTEGER NOT NULL,
        modseq INTEGER NOT NULL,
        messages INTEGER NOT NULL,
        unseen INTEGER NOT NULL,
        deleted INTEGER NOT NULL,
        size INTEGER NOT NULL,
        PRIMARY KEY (account, mailbox)
    ) WITHOUT ROWID, STRICT""",
    """CREATE TABLE mailbox (
        account INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,
        name TEXT NOT NULL,
        special_use TEXT,
        PRIMARY KEY (account, mailbox)
    ) WITHOUT ROWID, STRICT""",
    """CREATE TABLE subscription (
        account INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (account, name)
    ) WITHOUT ROWID, STRICT""",
    # email: the change number that made it. mailbox, uid, flags: as born. copies: presences; 0 since `ended`.
    """CREATE TABLE email (
        account INTEGER NOT NULL,
        email INTEGER NOT NULL,
        thread INTEGER NOT NULL,
        blob BLOB NOT NULL,
        size INTEGER NOT NULL,
        received INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        flags INTEGER NOT NULL,
        copies INTEGER NOT NULL,
        ended INTEGER NOT NULL,
        PRIMARY KEY (account, email)
    ) WITHOUT ROWID, STRICT""",
    # Holds only what was expunged, so that a delivery does not touch it.
    "CREATE INDEX email_ended ON email (ended) WHERE copies = 0",
    """CREATE TABLE presence (
        account INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        email INTEGER NOT NULL,
        flags INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        created INTEGER NOT NULL,
        saved INTEGER NOT NULL,
        PRIMARY KEY (account, mailbox, uid)
    ) WITHOUT ROWID, STRICT""",
    # uids: as NumberSet writes them. A flag change means flags = (flags & ~removed) | added for every UID of the row.
    """CREATE TABLE change (
        account INTEGER NOT NULL,
        modseq INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        verb INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,
        uids TEXT NOT NULL,
        added INTEGER NOT NULL,
        removed INTEGER NOT NULL,
        saved INTEGER NOT NULL,
        PRIMARY KEY (account, modseq)
    ) WITHOUT ROWID, STRICT""",
    """CREATE TABLE keyword (
        account INTEGER NOT NULL,
        bit INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (account, bit)
    ) WITHOUT ROWID, STRICT""",
    # The id leads, not the account: ids rise with time, so new rows land side by side, and old ones leave together.
    """CREATE TABLE delivery (
        delivery TEXT NOT NULL,
        account INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        modseq INTEGER NOT NULL,
        saved INTEGER NOT NULL,
        PRIMARY KEY (delivery, account)
    ) WITHOUT ROWID, STRICT""",
    # Mailboxes (or with mailbox 0 whole accounts) that are gone and whose rows the sweeper still has to remove.
    """CREATE TABLE dropped (
        account INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,
        PRIMARY KEY (account, mailbox)
    ) WITHOUT ROWID, STRICT""",
    BLOB_TABLE,
    "CREATE INDEX blob_ended ON blob (ended) WHERE refs = 0",
    "CREATE INDEX blob_segment ON blob (segment)",
)

# pool: its number in the directory.
VERSION_4 = ("CREATE TABLE moved (id BLOB NOT NULL PRIMARY KEY, pool INTEGER NOT NULL) WITHOUT ROWID, STRICT",)

# 2 and 3 are those of the shared store alone (hosting.py)
MIGRATIONS = (Migration(1, VERSION_1, OLDEST_RELEASE), Migration(4, VERSION_4, OLDEST_RELEASE))
