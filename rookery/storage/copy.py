"""Copying and moving messages inside an account: a copy is a new presence of the same email, and touches no blob."""

from collections.abc import Sequence

import msgspec

from rookery.base.errors import Cause, Refusal
from rookery.base.ids import AccountId
from rookery.base.numberset import NumberSet
from rookery.storage.append import UID_LIMIT
from rookery.storage.batch import AccountRow, Batch, Source
from rookery.storage.counters import Counter
from rookery.storage.engine import Transaction
from rookery.storage.expunge import delete_presences, subtract
from rookery.storage.selection import Found, find, take_slice, total_size
from rookery.storage.values import Copied, Kind, Verb

MESSAGES_PER_SLICE = 20_000  # about 50 ms of the writer


class Copy(msgspec.Struct, frozen=True):
    """`move`: the source's presence ends in the same transaction."""

    account: AccountId
    mailbox: int
    uids: NumberSet
    target: int
    move: bool = False
    epoch: int | None = None


class CopiedSlice(msgspec.Struct, frozen=True):
    """`rest` was not looked at yet: ask again for it."""

    copied: Copied
    rest: NumberSet


def copy(tx: Transaction, batch: Batch, items: Sequence[Copy]) -> list[CopiedSlice | Refusal]:
    return [_copy(tx, batch, item) for item in items]


def _copy(tx: Transaction, batch: Batch, item: Copy) -> CopiedSlice | Refusal:
    row = batch.account(item)
    if isinstance(row, Refusal):
        return row
    source = batch.mailbox(tx, row, item.mailbox)
    if isinstance(source, Refusal):
        return source
    target = batch.mailbox(tx, row, item.target)
    if isinstance(target, Refusal):
        return target
    wanted = item.uids & NumberSet(((1, max(1, source.uidnext - 1)),))
    refusal = None if item.move else _no_room(tx, row, source, wanted)
    if refusal is not None:
        return refusal
    uids, rest = take_slice(tx, row, source, wanted, MESSAGES_PER_SLICE)
    found = find(tx, row, source.mailbox, uids.ranges)
    if not found.messages:
        nothing = Copied(target.uidvalidity, NumberSet(), NumberSet(), row.whole.modseq)
        return CopiedSlice(nothing, rest)
    if target.uidnext + found.messages - 1 > UID_LIMIT:
        return Refusal(Cause.TOO_MANY, "the target mailbox has given out every UID")
    return CopiedSlice(_place(tx, batch, row, source, target, found, move=item.move), rest)


def _no_room(tx: Transaction, row: AccountRow, source: Counter, uids: NumberSet) -> Refusal | None:
    """Checked for all that is asked before the first slice is copied: COPY is all or nothing (RFC 9051 6.4.7)."""
    if not row.size_limit and not row.message_limit:
        return None
    count = find(tx, row, source.mailbox, uids.ranges).messages
    return row.room(total_size(tx, row, source.mailbox, uids.ranges), count) if count else None


def _place(
    tx: Transaction, batch: Batch, row: AccountRow, source: Counter, target: Counter, found: Found, *, move: bool
) -> Copied:
    modseq = row.step()
    first = target.uidnext
    size = total_size(tx, row, source.mailbox, found.uids.ranges)
    sql = (
        "INSERT INTO presence (account, mailbox, uid, email, flags, changed, created, saved)"
        " SELECT account, ?, ? + row_number() OVER (ORDER BY uid), email, flags, ?, ?, ?"
        " FROM presence WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ?"
    )
    for low, high in found.uids.ranges:
        before = target.uidnext - 1
        where = (row.number, source.mailbox, low, high)
        target.uidnext += tx.run(sql, target.mailbox, before, modseq, modseq, batch.now, *where)
    made = NumberSet(((first, target.uidnext - 1),))
    if not move:
        _count_copies(tx, row, source.mailbox, found.uids)
        row.whole.messages += found.messages
        row.whole.size += size
    target.messages += found.messages
    target.unseen += found.messages - found.seen
    target.deleted += found.deleted
    target.size += size
    target.modseq = modseq
    target.dirty = True
    batch.log(row, modseq, Kind.MESSAGE, Verb.CREATED, target.mailbox, made)
    if row.detailed:
        row.sources[modseq] = Source(source.mailbox, found.uids)
    if move:
        delete_presences(tx, row, source.mailbox, found.uids)
        subtract(source, found, size)
        source.modseq = row.step()
        batch.log(row, source.modseq, Kind.MESSAGE, Verb.DESTROYED, source.mailbox, found.uids)
    return Copied(target.uidvalidity, found.uids, made, row.whole.modseq)


def _count_copies(tx: Transaction, row: AccountRow, mailbox: int, uids: NumberSet) -> None:
    sql = (
        "UPDATE email SET copies = copies + more.number"
        " FROM (SELECT email AS gained, count(*) AS number FROM presence"
        " WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ? GROUP BY email) AS more"
        " WHERE email.account = ? AND email.email = more.gained"
    )
    for low, high in uids.ranges:
        tx.run(sql, row.number, mailbox, low, high, row.number)
