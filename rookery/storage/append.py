"""The hot rule: storing messages, set-wise over any number of accounts.

Two promises live here. A delivery id that was stored before answers with the UID of then (nothing is stored twice), and
quotas are checked in the transaction that uses them up.
"""

from collections.abc import Sequence

import msgspec

from rookery.base.errors import Cause, Refusal
from rookery.base.ids import AccountId, BlobId
from rookery.base.numberset import NumberSet
from rookery.storage.batch import AccountRow, Batch
from rookery.storage.counters import Birth, Counter
from rookery.storage.engine import Transaction, Value
from rookery.storage.keywords import keyword_bits
from rookery.storage.staging import Staged
from rookery.storage.values import INBOX, SYSTEM_FLAGS, Appended, Change, Flag, Kind, Verb

_EMAIL_COLUMNS = (
    "account",
    "email",
    "thread",
    "blob",
    "size",
    "received",
    "mailbox",
    "uid",
    "flags",
    "copies",
    "ended",
)
_PRESENCE_COLUMNS = ("account", "mailbox", "uid", "email", "flags", "changed", "created", "saved")
_DELIVERY_COLUMNS = ("delivery", "account", "mailbox", "uid", "modseq", "saved")
_BLOB_COLUMNS = ("blob", "segment", "offset", "length", "codec", "size", "refs", "ended")

_SEEN = int(Flag.SEEN)
_DELETED = int(Flag.DELETED)
UID_LIMIT = (1 << 32) - 1  # RFC 9051 2.3.1.1


class Append(msgspec.Struct, frozen=True):
    """What a caller hands to `Store.append`. flags: system flags; received: seconds UTC (0: now).

    epoch: as in every item; None: the one under which the account is hosted here now.
    """

    account: AccountId
    staged: Staged
    mailbox: int = INBOX
    flags: int = 0
    keywords: tuple[str, ...] = ()
    received: int = 0
    delivery_id: str | None = None
    epoch: int | None = None


class AppendItem(msgspec.Struct, frozen=True, gc=False):
    """One message for one mailbox. The blob comes with the batch, or exists and is referred to.

    size: octets of the body. flags: system flags. received: seconds UTC. delivery: the queue's id, or None.
    """

    account: AccountId
    blob: BlobId
    size: int
    received: int
    mailbox: int = INBOX
    flags: int = 0
    keywords: tuple[str, ...] = ()
    delivery: str | None = None
    epoch: int | None = None


def append_batch(tx: Transaction, batch: Batch, items: Sequence[AppendItem]) -> list[Appended | Refusal]:
    """Store each message or say why not; one change number each."""
    rows = [batch.account(item) for item in items]
    batch.load_counters(tx, [(r, i.mailbox) for r, i in zip(rows, items, strict=True) if isinstance(r, AccountRow)])
    known = _known_deliveries(tx, batch, items, rows)
    refs = _existing_refs(tx, batch, items)
    work = _Rows()
    results: list[Appended | Refusal] = []
    for item, row in zip(items, rows, strict=True):
        if isinstance(row, Refusal):
            results.append(row)
            continue
        if item.delivery is not None:
            before = known.get((item.delivery, row.number))
            if before is not None:
                results.append(before)
                continue
        counter = row.counters.get(item.mailbox)
        refusal = _refusal(row, counter, item, batch, refs)
        if refusal is not None or counter is None:
            results.append(refusal or Refusal(Cause.NOT_FOUND, "no such mailbox"))
            continue
        flags = item.flags & SYSTEM_FLAGS
        if item.keywords:
            bits = keyword_bits(tx, row, item.keywords)
            if isinstance(bits, Refusal):
                results.append(bits)
                continue
            flags |= bits
        appended = _store(batch, work, row, counter, item, flags)
        if item.delivery is not None:
            known[item.delivery, row.number] = msgspec.structs.replace(appended, duplicate=True)
        results.append(appended)
    work.write(tx, batch, refs)
    return results


class _Rows:
    """What a batch is going to insert."""

    __slots__ = ("blobs", "deliveries", "emails", "presences", "sizes")

    def __init__(self) -> None:
        self.emails: list[tuple[Value, ...]] = []
        self.presences: list[tuple[Value, ...]] = []
        self.deliveries: list[tuple[Value, ...]] = []
        self.blobs: dict[BlobId, int] = {}  # new references
        self.sizes: dict[BlobId, int] = {}

    def write(self, tx: Transaction, batch: Batch, refs: dict[BlobId, int]) -> None:
        self._keep_refused(tx, batch, refs)
        if not self.emails:
            return
        tx.insert_later("email", _EMAIL_COLUMNS, self.emails)
        tx.insert_later("presence", _PRESENCE_COLUMNS, self.presences)
        if self.deliveries:
            tx.insert_later("delivery", _DELIVERY_COLUMNS, self.deliveries)
        fresh: list[tuple[Value, ...]] = []
        again: list[tuple[Value, ...]] = []
        for blob, count in self.blobs.items():
            before = refs.get(blob)
            if before is None:
                place = batch.places[blob]
                where = (place.segment, place.offset, place.length, place.codec)
                fresh.append((blob, *where, self.sizes[blob], count, None))
            else:
                again.append((blob, before + count))
        if fresh:
            tx.insert_later("blob", _BLOB_COLUMNS, fresh)
        if again:
            tx.update_many("blob", ("blob",), ("refs",), again)

    def _keep_refused(self, tx: Transaction, batch: Batch, refs: dict[BlobId, int]) -> None:
        """A refused message's body with a file of its own gets a row without references, for the sweeper to find."""
        idle = [b for b in batch.used_blobs if b in batch.places and b not in self.blobs and b not in refs]
        rows: list[tuple[Value, ...]] = []
        for blob in idle:
            place = batch.places[blob]
            if place.segment == 0:
                rows.append((blob, 0, place.offset, place.length, place.codec, place.length, 0, batch.now))
        if rows:
            tx.insert_many("blob", _BLOB_COLUMNS, rows, keep_existing=True)


def _known_deliveries(
    tx: Transaction, batch: Batch, items: Sequence[AppendItem], rows: Sequence[AccountRow | Refusal]
) -> dict[tuple[str, int], Appended]:
    keys = {
        (item.delivery, row.number)
        for item, row in zip(items, rows, strict=True)
        if item.delivery is not None and isinstance(row, AccountRow)
    }
    known: dict[tuple[str, int], Appended] = {}
    if keys:
        for found in tx.select_many("delivery", _DELIVERY_COLUMNS, ("delivery", "account"), sorted(keys)):
            delivery, account, mailbox, uid, modseq, _ = found
            counter = batch.by_number[account].counters.get(mailbox)
            validity = counter.uidvalidity if counter else 0
            known[delivery, account] = Appended(mailbox, validity, uid, modseq, duplicate=True)
    return known


def _existing_refs(tx: Transaction, batch: Batch, items: Sequence[AppendItem]) -> dict[BlobId, int]:
    """References of blobs that were in the store before this batch, or earlier in it. None left: cannot gain one."""
    places, used = batch.places, batch.used_blobs
    older = {item.blob for item in items if item.blob not in places or item.blob in used}
    used.update(item.blob for item in items)
    if not older:
        return {}
    keys = [(blob,) for blob in older]
    tx.lock_many("blob", ("blob",), keys)
    return {row[0]: row[1] for row in tx.select_many("blob", ("blob", "refs"), ("blob",), keys)}


def _refusal(
    row: AccountRow, counter: Counter | None, item: AppendItem, batch: Batch, refs: dict[BlobId, int]
) -> Refusal | None:
    if counter is None:
        return Refusal(Cause.NOT_FOUND, "no such mailbox")
    if counter.uidnext > UID_LIMIT:
        return Refusal(Cause.TOO_MANY, "the mailbox has given out every UID")
    if refs.get(item.blob, 0) == 0 and (item.blob in refs or item.blob not in batch.places):
        return Refusal(Cause.NOT_FOUND, "the message's body is not in this store")
    return row.room(item.size)


def _store(batch: Batch, work: _Rows, row: AccountRow, counter: Counter, item: AppendItem, flags: int) -> Appended:
    modseq = row.birth()
    uid = counter.uidnext
    counter.uidnext = uid + 1
    counter.modseq = modseq
    counter.messages += 1
    counter.size += item.size
    if not flags & _SEEN:
        counter.unseen += 1
    if flags & _DELETED:
        counter.deleted += 1
    counter.dirty = True
    row.whole.messages += 1
    row.whole.size += item.size
    number, mailbox = row.number, item.mailbox
    row.born.append(Birth(mailbox, modseq, uid, flags, item.size))
    work.emails.append((number, modseq, modseq, item.blob, item.size, item.received, mailbox, uid, flags, 1, 0))
    work.presences.append((number, mailbox, uid, modseq, flags, modseq, modseq, batch.now))
    if item.delivery is not None:
        work.deliveries.append((item.delivery, number, mailbox, uid, modseq, batch.now))
    work.blobs[item.blob] = work.blobs.get(item.blob, 0) + 1
    work.sizes[item.blob] = item.size
    if row.detailed:
        row.changes.append(Change(modseq, Kind.MESSAGE, Verb.CREATED, mailbox, NumberSet(((uid, uid),)), flags))
    return Appended(mailbox, counter.uidvalidity, uid, modseq)
