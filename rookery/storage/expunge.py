"""Taking messages out of a mailbox.

The presence goes at once; the email row stays, marked with when its last presence ended, until the sweeper removes it
and gives up its reference to the blob (sweeper.py). Nothing here touches a blob.
"""

from collections.abc import Sequence

import msgspec

from rookery.base.errors import Refusal
from rookery.base.ids import AccountId
from rookery.base.numberset import NumberSet
from rookery.storage.batch import AccountRow, Batch
from rookery.storage.counters import Counter
from rookery.storage.engine import Transaction
from rookery.storage.selection import RANGES_PER_SLICE, Found, find, split, take_slice, total_size
from rookery.storage.values import Expunged, Kind, Verb

MESSAGES_PER_SLICE = 20_000  # about 50 ms of the writer
SCANNED_PER_SLICE = 100_000  # looked at for Deleted


class Expunge(msgspec.Struct, frozen=True):
    """uids None: the whole mailbox. Only what carries Deleted, unless `force`."""

    account: AccountId
    mailbox: int
    uids: NumberSet | None = None
    force: bool = False
    epoch: int | None = None


class ExpungedSlice(msgspec.Struct, frozen=True):
    """`rest` was not looked at yet: ask again for it."""

    expunged: Expunged
    rest: NumberSet


def expunge(tx: Transaction, batch: Batch, items: Sequence[Expunge]) -> list[ExpungedSlice | Refusal]:
    return [_expunge(tx, batch, item) for item in items]


def _expunge(tx: Transaction, batch: Batch, item: Expunge) -> ExpungedSlice | Refusal:
    row = batch.account(item)
    if isinstance(row, Refusal):
        return row
    counter = batch.mailbox(tx, row, item.mailbox)
    if isinstance(counter, Refusal):
        return counter
    wanted = item.uids if item.uids is not None else NumberSet(((1, max(1, counter.uidnext - 1)),))
    found, rest = _next_slice(tx, row, counter, wanted, force=item.force)
    if not found.messages:
        return ExpungedSlice(Expunged(found.uids, row.whole.modseq), rest)
    size = total_size(tx, row, counter.mailbox, found.uids.ranges)
    end_emails(tx, row, counter.mailbox, found.uids, batch.now)
    delete_presences(tx, row, counter.mailbox, found.uids)
    row.whole.messages -= found.messages
    row.whole.size -= size
    subtract(counter, found, size)
    modseq = row.step()
    counter.modseq = modseq
    batch.log(row, modseq, Kind.MESSAGE, Verb.DESTROYED, counter.mailbox, found.uids)
    return ExpungedSlice(Expunged(found.uids, modseq), rest)


def _next_slice(
    tx: Transaction, row: AccountRow, counter: Counter, uids: NumberSet, *, force: bool
) -> tuple[Found, NumberSet]:
    if force:
        taken, rest = take_slice(tx, row, counter, uids, MESSAGES_PER_SLICE)
        return find(tx, row, counter.mailbox, taken.ranges), rest
    if not counter.deleted:
        return Found(NumberSet(), 0, 0, 0), NumberSet()
    seen, rest = take_slice(tx, row, counter, uids, SCANNED_PER_SLICE)
    marked = "(flags & 8) <> 0"
    found = find(tx, row, counter.mailbox, seen.ranges, marked)
    if found.messages > MESSAGES_PER_SLICE or len(found.uids.ranges) > RANGES_PER_SLICE:
        taken, more = split(found.uids, MESSAGES_PER_SLICE)
        return find(tx, row, counter.mailbox, taken.ranges, marked), more | rest
    return found, rest


def subtract(counter: Counter, found: Found, size: int) -> None:
    """Take what left a mailbox off its running numbers."""
    counter.messages -= found.messages
    counter.unseen -= found.messages - found.seen
    counter.deleted -= found.deleted
    counter.size -= size
    counter.dirty = True


def end_emails(tx: Transaction, row: AccountRow, mailbox: int, uids: NumberSet, now: int) -> None:
    """One presence fewer for each email; the last one's end is written down."""
    sql = (
        "UPDATE email SET copies = copies - gone.number,"
        " ended = CASE WHEN copies = gone.number THEN ? ELSE ended END"
        " FROM (SELECT email AS lost, count(*) AS number FROM presence"
        " WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ? GROUP BY email) AS gone"
        " WHERE email.account = ? AND email.email = gone.lost"
    )
    for low, high in uids.ranges:
        tx.run(sql, now, row.number, mailbox, low, high, row.number)


def delete_presences(tx: Transaction, row: AccountRow, mailbox: int, uids: NumberSet) -> None:
    sql = "DELETE FROM presence WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ?"
    for low, high in uids.ranges:
        tx.run(sql, row.number, mailbox, low, high)
