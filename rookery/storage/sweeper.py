"""What is removed later, in slices: emails a day after their last presence ended, blobs that nothing refers to any
more, the rows of deleted mailboxes and accounts, settled delivery ids, old changes.

Each function is one slice: a few milliseconds of the writer, and an answer that says whether there is more. Nothing is
lost when a slice is not reached: it is found again the next time.
"""

from collections import Counter as Tally
from collections.abc import Sequence

import msgspec

from rookery.base.ids import BlobId
from rookery.storage.blobs import Place
from rookery.storage.counters import WHOLE
from rookery.storage.engine import Reader, Transaction
from rookery.storage.values import GIVEN, giver_of

ROWS_PER_SLICE = 2_000
BODIES_PER_SLICE = 5_000
LARGE = 0  # Place.segment of a blob that is a file of its own


class Swept(msgspec.Struct, frozen=True):
    """One slice. emails: (account, email) that are gone. files: blobs with files of their own, to be unlinked."""

    emails: list[tuple[int, int]]
    files: list[tuple[BlobId, Place]]
    more: bool


def sweep_emails(tx: Transaction, before: int) -> Swept:
    """Remove emails that ended before `before` and give up their references."""
    sql = "SELECT account, email, blob FROM email WHERE copies = 0 AND ended < ? ORDER BY ended, account, email LIMIT ?"
    rows = tx.rows(sql, before, ROWS_PER_SLICE)
    emails = [(account, email) for account, email, _ in rows]
    tx.delete_many("email", ("account", "email"), emails)
    files = _drop_references(tx, Tally(blob for _, _, blob in rows)) if rows else []
    return Swept(emails, files, len(rows) == ROWS_PER_SLICE)


def _drop_references(tx: Transaction, lost: "Tally[BlobId]") -> list[tuple[BlobId, Place]]:
    """The references are counted again here, in the transaction: who still has one keeps the blob."""
    columns = ("blob", "refs", "segment", "offset", "length", "codec")
    dead: list[tuple[BlobId]] = []
    kept: list[tuple[bytes | int, ...]] = []
    files: list[tuple[BlobId, Place]] = []
    keys = [(blob,) for blob in lost]
    tx.lock_many("blob", ("blob",), keys)
    for blob, refs, segment, offset, length, codec in tx.select_many("blob", columns, ("blob",), keys):
        if refs > lost[blob]:
            kept.append((blob, refs - lost[blob]))
            continue
        dead.append((blob,))
        if segment == LARGE:
            files.append((blob, Place(segment, offset, length, codec)))
    tx.update_many("blob", ("blob",), ("refs",), kept)
    tx.delete_many("blob", ("blob",), dead)
    return files


def sweep_blobs(tx: Transaction, before: int) -> Swept:
    """Remove blobs that were never referred to (their message was refused), or whose references ended long ago."""
    sql = "SELECT blob, segment, offset, length, codec FROM blob WHERE refs = 0 AND ended < ? ORDER BY ended LIMIT ?"
    rows = tx.rows(sql, before, ROWS_PER_SLICE)
    tx.delete_many("blob", ("blob",), [(row[0],) for row in rows])
    files = [(BlobId(row[0]), Place(*row[1:])) for row in rows if row[1] == LARGE]
    return Swept([], files, len(rows) == ROWS_PER_SLICE)


def find_strays(reader: Reader, after: bytes, before: bytes) -> tuple[list[BlobId], bytes | None]:
    """Bodies kept as rows that no row of the index names, among the next few with ids above `after` and below `before`;
    where to go on, None at the end. Ids begin with their time, and a large body is there for a moment before its row.
    """
    sql = (
        "SELECT b.blob, i.blob FROM (SELECT blob FROM body WHERE part = 0 AND blob > ? AND blob < ?"
        " ORDER BY blob LIMIT ?) b LEFT JOIN blob i ON i.blob = b.blob ORDER BY b.blob"
    )
    rows = reader.rows(sql, after, before, BODIES_PER_SLICE)
    strays = [BlobId(blob) for blob, named in rows if named is None]
    return strays, rows[-1][0] if len(rows) == BODIES_PER_SLICE else None


class Purged(msgspec.Struct, frozen=True):
    """One slice. account: the number of an account whose last rows went now, else None."""

    account: int | None
    more: bool


def purge_dropped(tx: Transaction, now: int) -> Purged:
    """Remove some rows of a deleted mailbox or account. Its emails end now, and are swept in their time."""
    found = tx.row("SELECT account, mailbox FROM dropped ORDER BY account, mailbox LIMIT 1")
    if found is None:
        return Purged(None, more=False)
    account, mailbox = found
    if mailbox == WHOLE:
        return Purged(account if _purge_account(tx, account, now) else None, more=True)
    if _purge_mailbox(tx, account, mailbox, now):
        tx.delete_many("dropped", ("account", "mailbox"), [(account, mailbox)])
    return Purged(None, more=True)


def _purge_mailbox(tx: Transaction, account: int, mailbox: int, now: int) -> bool:
    sql = "SELECT uid FROM presence WHERE account = ? AND mailbox = ? ORDER BY uid LIMIT 1 OFFSET ?"
    cut = tx.row(sql, account, mailbox, ROWS_PER_SLICE)
    last = cut[0] if cut else (1 << 62)
    ending = (
        "UPDATE email SET copies = copies - gone.number,"
        " ended = CASE WHEN copies = gone.number THEN ? ELSE ended END"
        " FROM (SELECT email AS lost, count(*) AS number FROM presence"
        " WHERE account = ? AND mailbox = ? AND uid <= ? GROUP BY email) AS gone"
        " WHERE email.account = ? AND email.email = gone.lost"
    )
    tx.run(ending, now, account, mailbox, last, account)
    tx.run("DELETE FROM presence WHERE account = ? AND mailbox = ? AND uid <= ?", account, mailbox, last)
    return cut is None


_ACCOUNT_TABLES: Sequence[tuple[str, str]] = (
    ("presence", "mailbox, uid"),
    ("change", "modseq"),
    ("counter", "mailbox"),
    ("mailbox", "mailbox"),
    ("subscription", "name"),
    ("keyword", "bit"),
)


def _purge_account(tx: Transaction, account: int, now: int) -> bool:
    """True when nothing is left but the tombstone."""
    sql = "SELECT email FROM email WHERE account = ? AND copies > 0 ORDER BY email LIMIT 1 OFFSET ?"
    cut = tx.row(sql, account, ROWS_PER_SLICE)
    last = cut[0] if cut else (1 << 62)
    ended = tx.run(
        "UPDATE email SET copies = 0, ended = ? WHERE account = ? AND email <= ? AND copies > 0", now, account, last
    )
    if cut is not None or ended:
        return False
    for table, keys in _ACCOUNT_TABLES:
        columns = tuple(keys.split(", "))
        rows = tx.rows(f"SELECT {keys} FROM {table} WHERE account = ? LIMIT ?", account, ROWS_PER_SLICE)
        if rows:
            tx.delete_many(table, ("account", *columns), [(account, *row) for row in rows])
            return False
    tx.delete_many("dropped", ("account",), [(account,)])
    return True


def forget_deliveries(tx: Transaction, below: str, start: str = "") -> bool:
    """Forget ids from `start` on that sort below `below`: the queue has settled them all. True: there are more."""
    sql = "SELECT delivery, account FROM delivery WHERE delivery >= ? AND delivery < ? ORDER BY delivery LIMIT ?"
    rows = tx.rows(sql, start, below, ROWS_PER_SLICE)
    tx.delete_many("delivery", ("delivery", "account"), rows)
    return len(rows) == ROWS_PER_SLICE


def age_deliveries(tx: Transaction, before: int) -> bool:
    """Forget ids stored before `before`, longer ago than any queue keeps mail. True: there may be more.

    Of each giver the lowest ids are the oldest. Our own come first, then those of others, giver by giver.
    """
    more, start = False, ""
    while True:
        more |= _age_from(tx, start, before)
        row = tx.row("SELECT delivery FROM delivery WHERE delivery >= ? ORDER BY delivery LIMIT 1", _next_giver(start))
        if row is None:
            return more
        start = giver_of(row[0])


def _next_giver(start: str) -> str:
    """Above all ids that begin with `start`, which ends in a "/"."""
    return start[:-1] + chr(ord("/") + 1) if start else GIVEN


def _age_from(tx: Transaction, start: str, before: int) -> bool:
    columns = "SELECT delivery, account, saved FROM delivery WHERE delivery >= ? ORDER BY delivery, account LIMIT ?"
    first = tx.row(columns, start, 1)
    if first is None or first[2] >= before:
        return False
    rows = tx.rows(columns, start, ROWS_PER_SLICE)
    tx.delete_many("delivery", ("delivery", "account"), [(row[0], row[1]) for row in rows if row[2] < before])
    return len(rows) == ROWS_PER_SLICE
