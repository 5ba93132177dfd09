"""Changing flags of any number of messages: one UPDATE for each wide range and one set-wise for what is scattered, one
change number, one row in the change log."""

from collections.abc import Sequence

import msgspec

from rookery.base.errors import Refusal
from rookery.base.ids import AccountId
from rookery.base.numberset import NumberSet
from rookery.storage.batch import AccountRow, Batch
from rookery.storage.counters import Counter
from rookery.storage.engine import Row, Transaction
from rookery.storage.keywords import keyword_bits
from rookery.storage.selection import as_set, find, take_slice
from rookery.storage.values import SYSTEM_FLAGS, Flag, Flagged, FlagMode, Kind, Verb

MESSAGES_PER_SLICE = 100_000  # about 40 ms of the writer
RANGES_PER_SLICE = 5_000
NARROW = 4  # UIDs of a range that is not worth a statement of its own
ALL_FLAGS = (1 << 62) - 1

_SEEN = int(Flag.SEEN)
_DELETED = int(Flag.DELETED)
_KEYS = ("account", "mailbox", "uid")


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
    uids, rest = take_slice(tx, row, counter, item.uids, MESSAGES_PER_SLICE, ranges=RANGES_PER_SLICE)
    wide, few = divide(uids)
    singles = tx.select_many("presence", ("uid", "flags", "changed"), _KEYS, _keys(row, counter, few))
    conflicts = NumberSet()
    since = item.unchanged_since
    if since is not None:
        newer = NumberSet.of(uid for uid, _, changed in singles if changed > since)
        conflicts = find(tx, row, counter.mailbox, wide.ranges, "changed > ?", (since,)).uids
        wide, conflicts = wide - conflicts, conflicts | newer
        singles = [single for single in singles if single[2] <= since]
    made = _assign(tx, batch, row, counter, wide, singles, added, removed)
    return FlaggedSlice(Flagged(made, conflicts, row.whole.modseq), rest)


def divide(uids: NumberSet) -> tuple[NumberSet, NumberSet]:
    """Ranges worth a statement each, and the UIDs that are looked up one by one, set-wise."""
    wide = [r for r in uids.ranges if r[1] - r[0] >= NARROW]
    return as_set(wide), as_set(r for r in uids.ranges if r[1] - r[0] < NARROW)


def _keys(row: AccountRow, counter: Counter, uids: NumberSet) -> list[tuple[int, int, int]]:
    return [(row.number, counter.mailbox, uid) for uid in uids]


def _assign(
    tx: Transaction,
    batch: Batch,
    row: AccountRow,
    counter: Counter,
    wide: NumberSet,
    singles: Sequence[Row],
    added: int,
    removed: int,
) -> NumberSet:
    """flags = (flags & ~removed) | added where that makes a difference; answers where it did."""
    kept = ALL_FLAGS & ~removed
    differs = "((flags & ?) | ?) <> flags"
    found = find(tx, row, counter.mailbox, wide.ranges, differs, (kept, added))
    altered = [(uid, old, old & kept | added) for uid, old, _ in singles if old & kept | added != old]
    messages = found.messages + len(altered)
    if not messages:
        return NumberSet()
    modseq = row.step()
    sql = (
        "UPDATE presence SET flags = (flags & ?) | ?, changed = ?"
        f" WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ? AND {differs}"
    )
    for low, high in wide.ranges if found.messages else ():
        tx.run(sql, kept, added, modseq, row.number, counter.mailbox, low, high, kept, added)
    if altered:
        rows = [(row.number, counter.mailbox, uid, new, modseq) for uid, _, new in altered]
        tx.update_many("presence", _KEYS, ("flags", "changed"), rows)
    seen = found.seen + sum(1 for _, old, _ in altered if old & _SEEN)
    deleted = found.deleted + sum(1 for _, old, _ in altered if old & _DELETED)
    if added & _SEEN:
        counter.unseen -= messages - seen
    elif removed & _SEEN:
        counter.unseen += seen
    if added & _DELETED:
        counter.deleted += messages - deleted
    elif removed & _DELETED:
        counter.deleted -= deleted
    counter.modseq = modseq
    counter.dirty = True
    changed = NumberSet.of_sorted(sorted(uid for uid, _, _ in altered))
    if found.messages:
        changed |= found.uids
    batch.log(row, modseq, Kind.MESSAGE, Verb.CHANGED, counter.mailbox, changed, added, removed)
    return changed
