"""Changing flags of any number of messages: one UPDATE a range, one change number, one row in the change log."""

from collections.abc import Sequence

import msgspec

from rookery.base.errors import Refusal
from rookery.base.ids import AccountId
from rookery.base.numberset import NumberSet
from rookery.storage.batch import AccountRow, Batch, Counter
from rookery.storage.engine import Transaction
from rookery.storage.keywords import keyword_bits
from rookery.storage.selection import find, take_slice
from rookery.storage.values import SYSTEM_FLAGS, Flag, Flagged, FlagMode, Kind, Verb

MESSAGES_PER_SLICE = 100_000  # about 40 ms of the writer
ALL_FLAGS = (1 << 62) - 1

_SEEN = int(Flag.SEEN)
_DELETED = int(Flag.DELETED)


class SetFlags(msgspec.Struct, frozen=True):
    """`unchanged_since`: leave alone what has a greater change number, and name it (RFC 7162 3.1.3)."""

    account: AccountId
    mailbox: int
    uids: NumberSet
    mode: FlagMode
    flags: int
    keywords: tuple[str, ...] = ()
    unchanged_since: int | None = None
    epoch: int | None = None


class FlaggedSlice(msgspec.Struct, frozen=True):
    """`rest` was not looked at yet: ask again for it."""

    flagged: Flagged
    rest: NumberSet


def set_flags(tx: Transaction, batch: Batch, items: Sequence[SetFlags]) -> list[FlaggedSlice | Refusal]:
    return [_set_flags(tx, batch, item) for item in items]


def _set_flags(tx: Transaction, batch: Batch, item: SetFlags) -> FlaggedSlice | Refusal:
    row = batch.account(item)
    if isinstance(row, Refusal):
        return row
    counter = batch.mailbox(tx, row, item.mailbox)
    if isinstance(counter, Refusal):
        return counter
    bits = keyword_bits(tx, row, item.keywords, create=item.mode is not FlagMode.REMOVE)
    if isinstance(bits, Refusal):
        return bits
    flags = item.flags & SYSTEM_FLAGS | bits
    added = 0 if item.mode is FlagMode.REMOVE else flags
    removed = {FlagMode.ADD: 0, FlagMode.REMOVE: flags, FlagMode.REPLACE: ALL_FLAGS & ~flags}[item.mode]
    uids, rest = take_slice(tx, row, counter, item.uids, MESSAGES_PER_SLICE)
    conflicts = NumberSet()
    if item.unchanged_since is not None:
        conflicts = find(tx, row, counter.mailbox, uids.ranges, "changed > ?", (item.unchanged_since,)).uids
        uids = uids - conflicts
    changed, modseq = _assign(tx, batch, row, counter, uids, added, removed)
    return FlaggedSlice(Flagged(changed, conflicts, modseq), rest)


def _assign(
    tx: Transaction, batch: Batch, row: AccountRow, counter: Counter, uids: NumberSet, added: int, removed: int
) -> tuple[NumberSet, int]:
    """flags = (flags & ~removed) | added where that makes a difference; which UIDs, and the change number."""
    kept = ALL_FLAGS & ~removed
    differs = "((flags & ?) | ?) <> flags"
    found = find(tx, row, counter.mailbox, uids.ranges, differs, (kept, added))
    if not found.messages:
        return found.uids, row.whole.modseq
    modseq = row.step()
    sql = (
        "UPDATE presence SET flags = (flags & ?) | ?, changed = ?"
        f" WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ? AND {differs}"
    )
    ranges = uids.ranges if len(uids.ranges) <= len(found.uids.ranges) else found.uids.ranges
    for low, high in ranges:
        tx.run(sql, kept, added, modseq, row.number, counter.mailbox, low, high, kept, added)
    if added & _SEEN:
        counter.unseen -= found.messages - found.seen
    elif removed & _SEEN:
        counter.unseen += found.seen
    if added & _DELETED:
        counter.deleted += found.messages - found.deleted
    elif removed & _DELETED:
        counter.deleted -= found.deleted
    counter.modseq = modseq
    counter.dirty = True
    batch.log(row, modseq, Kind.MESSAGE, Verb.CHANGED, counter.mailbox, found.uids, added, removed)
    return found.uids, modseq
