"""The spool's tables. `message` and `recipient` hold what is open; `history` what is finished, for `rookery trace`.

A blob belongs to one message, so its place stands in the message's row. A recipient's `next` is set only while it
waits for its time, so that the index over it holds nothing else; mail that is delivered at once never enters it.
"""

from rookery.storage.migrations import Migration

INCARNATIONS = "CREATE TABLE incarnation (incarnation INTEGER PRIMARY KEY, started INTEGER NOT NULL) STRICT"

MESSAGES = """
CREATE TABLE message (
    message INTEGER PRIMARY KEY,  -- ids.py; rises with arrival
    sender TEXT NOT NULL,
    session TEXT NOT NULL,
    peer TEXT NOT NULL,
    submitter BLOB,
    received INTEGER NOT NULL,
    size INTEGER NOT NULL,
    hops INTEGER NOT NULL,
    facts INTEGER NOT NULL,  -- bits of rules.Fact
    header_id TEXT NOT NULL,
    envelope_id TEXT NOT NULL,
    notice INTEGER NOT NULL,  -- 0 mail, 1 a notice to a sender, 2 a notice to the postmaster
    blob BLOB NOT NULL,
    segment INTEGER NOT NULL,
    start INTEGER NOT NULL,
    length INTEGER NOT NULL,
    codec INTEGER NOT NULL
) STRICT
"""

RECIPIENTS = """
CREATE TABLE recipient (
    message INTEGER NOT NULL,
    n INTEGER NOT NULL,  -- 1, 2, ...; never reused
    address TEXT NOT NULL,  -- where to deliver, with the detail
    given TEXT NOT NULL,  -- as the sender wrote it
    original TEXT NOT NULL,  -- ORCPT
    notify INTEGER NOT NULL,
    depth INTEGER NOT NULL,  -- expansions between given and address
    state INTEGER NOT NULL,
    next INTEGER,  -- when to try; NULL unless it waits
    attempts INTEGER NOT NULL,
    claimant INTEGER,  -- incarnation, while claimed
    code INTEGER NOT NULL,  -- the last answer
    enhanced TEXT NOT NULL,
    text TEXT NOT NULL,
    remote TEXT NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (message, n)
) WITHOUT ROWID, STRICT
"""

DUE = "CREATE INDEX recipient_due ON recipient (next) WHERE next IS NOT NULL"

HISTORY = """
CREATE TABLE history (
    message INTEGER PRIMARY KEY,
    finished INTEGER NOT NULL,
    session TEXT NOT NULL,
    header_id TEXT NOT NULL,
    record BLOB NOT NULL  -- a MessageReport in JSON
) STRICT
"""

FIRST = (INCARNATIONS, MESSAGES, RECIPIENTS, DUE, HISTORY)

# Who works on a spool: `holder` is the node, as the nodes name each other; `ended` when its claims were given up.
HOLDERS = (
    "ALTER TABLE incarnation ADD COLUMN holder TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE incarnation ADD COLUMN ended INTEGER",
)

# What other nodes have handed in: the delivery ids that they gave, each for one recipient of a message.
TAKEN = (
    "CREATE TABLE taken (given TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID, STRICT",
    "CREATE INDEX taken_at ON taken (at)",
)

# 3 is the table of bodies, on PostgreSQL alone (shared.py)
MIGRATIONS = (Migration(1, FIRST, "0.1.0"), Migration(2, HOLDERS, "0.1.0"), Migration(4, TAKEN, "0.1.0"))
