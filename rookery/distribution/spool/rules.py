"""The hot rules of the spool: accept, claim, settle. Set-wise functions over a transaction; they know no SQLite.

THE FIRST COMMIT POINT of a message is the commit of the batch that ran `accept_batch` for it. The body is durable
before the batch begins. A crash

    before it  leaves nothing, or octets in a segment that no row names (they count as dead, and go with the segment);
               the client got no 250 and will come again;
    after it   leaves message, recipients and body; the next incarnation finds the recipients claimed by one that is
               no more, and makes them due. What had been delivered and not yet settled is delivered once more: our
               own mailboxes know the delivery id and answer without storing it twice.

`settle_batch` is the other end: fates, new recipients, notices to the sender and the removal of what is finished are
one transaction, so that a crash neither loses a notice nor sends it twice. Dead octets are given up only after it.
"""

from collections.abc import Mapping, Sequence
from enum import IntFlag
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from rookery.base.errors import Cause, Refusal
from rookery.base.ids import AccountId, BlobId
from rookery.distribution.spool.ids import message_text
from rookery.distribution.spool.values import (
    LAST_OPEN,
    TEXT_LIMIT,
    Claimed,
    ClaimedRecipient,
    Envelope,
    Expansion,
    Fate,
    Incoming,
    MessageReport,
    NoticeKind,
    Notify,
    Recipient,
    RecipientReport,
    Settled,
    State,
)
from rookery.storage.blobs import Place
from rookery.storage.engine import Row, Transaction, Value

RECIPIENT_LIMIT = 100_000  # of one message, those of expanded groups included
HEADER_ID_LIMIT = 300  # characters of a Message-ID that are kept
HISTORY_RECIPIENTS = 100  # kept of a finished message; the number of all is kept too


Places: TypeAlias = Mapping[BlobId, Place]


class Fact(IntFlag):
    EIGHT_BIT = 1
    SMTPUTF8 = 2
    HELD = 4
    WARNED = 8
    REMOVED = 16  # by an administrator, while some of its recipients were being delivered


MESSAGE_COLUMNS = (
    "message", "sender", "session", "peer", "submitter", "received", "size", "hops", "facts", "header_id",
    "envelope_id", "notice", "blob", "segment", "start", "length", "codec",
)  # fmt: skip
RECIPIENT_COLUMNS = (
    "message", "n", "address", "given", "original", "notify", "depth", "state", "next", "attempts", "claimant",
    "code", "enhanced", "text", "remote", "changed",
)  # fmt: skip
_CHANGING = ("state", "next", "attempts", "claimant", "code", "enhanced", "text", "remote", "changed")
_N, _ADDRESS, _GIVEN, _ORIGINAL, _NOTIFY, _DEPTH, _STATE, _NEXT, _ATTEMPTS, _CLAIMANT = range(1, 11)
_CODE, _ENHANCED, _TEXT, _REMOTE, _CHANGED = range(11, 16)

_EIGHT_BIT, _SMTPUTF8, _HELD_FACT, _WARNED, _REMOVED_FACT = map(int, Fact)
_CLAIMED, _DEFERRED, _DUE, _HELD = int(State.CLAIMED), int(State.DEFERRED), int(State.DUE), int(State.HELD)
_encode_report = msgspec.json.Encoder().encode


class Acceptance(msgspec.Struct, frozen=True):
    """A message whose body comes with the batch, as `blob`. `claimant` None: its recipients are due, not claimed."""

    number: int
    blob: BlobId
    incoming: Incoming
    received: int
    claimant: int | None


class Accepted(msgspec.Struct, frozen=True):
    """`item`: with the recipients that were taken."""

    item: Acceptance
    envelope: Envelope


class Claiming(msgspec.Struct, frozen=True):
    now: int
    limit: int
    incarnation: int


class Settling(msgspec.Struct, frozen=True):
    """A settlement as the rule needs it; the bodies of `notices` are durable."""

    envelope: Envelope
    fates: tuple[Fate, ...]
    expansions: tuple[Expansion, ...]
    notices: tuple[Acceptance, ...]
    warned: bool
    now: int
    incarnation: int


def _envelope(item: Acceptance, place: Place) -> Envelope:
    incoming = item.incoming
    return Envelope(
        message=message_text(item.number), number=item.number, sender=incoming.sender, session=incoming.session,
        peer=incoming.peer, submitted_by=incoming.submitted_by, received=item.received, size=incoming.staged.size,
        hops=incoming.hops, eight_bit=incoming.eight_bit, smtputf8=incoming.smtputf8, held=False, warned=False,
        header_id=incoming.header_id[:HEADER_ID_LIMIT], envelope_id=incoming.envelope_id,
        notice=incoming.notice, blob=item.blob, place=place,
    )  # fmt: skip


def message_row(envelope: Envelope) -> tuple[Value, ...]:
    facts = (
        (_EIGHT_BIT if envelope.eight_bit else 0)
        | (_SMTPUTF8 if envelope.smtputf8 else 0)
        | (_HELD_FACT if envelope.held else 0)
        | (_WARNED if envelope.warned else 0)
    )
    place = envelope.place
    return (
        envelope.number, envelope.sender, envelope.session, envelope.peer, envelope.submitted_by, envelope.received,
        envelope.size, envelope.hops, facts, envelope.header_id, envelope.envelope_id, int(envelope.notice),
        envelope.blob, place.segment, place.offset, place.length, place.codec,
    )  # fmt: skip


def envelope_of(row: Row) -> Envelope:
    facts = row[8]
    return Envelope(
        message=message_text(row[0]), number=row[0], sender=row[1], session=row[2], peer=row[3],
        submitted_by=None if row[4] is None else AccountId(bytes(row[4])), received=row[5], size=row[6], hops=row[7],
        eight_bit=bool(facts & _EIGHT_BIT), smtputf8=bool(facts & _SMTPUTF8), held=bool(facts & _HELD_FACT),
        warned=bool(facts & _WARNED), header_id=row[9], envelope_id=row[10],
        notice=NoticeKind(row[11]), blob=BlobId(bytes(row[12])), place=Place(row[13], row[14], row[15], row[16]),
    )  # fmt: skip


def claimed_recipient(row: Sequence[Any]) -> ClaimedRecipient:
    return ClaimedRecipient(
        n=row[_N], address=row[_ADDRESS], given=row[_GIVEN], original=row[_ORIGINAL], notify=Notify(row[_NOTIFY]),
        depth=row[_DEPTH], attempts=row[_ATTEMPTS],
    )  # fmt: skip


# --- accept --------------------------------------------------------------------------------------------------------


def accept_new(tx: Transaction, places: Places, items: Sequence[Acceptance]) -> list[Accepted | Refusal]:
    """As `accept_batch`, without recipients that were taken before: of a message with no others nothing is written
    (EXISTS)."""
    given = {(recipient.given,) for item in items for recipient in item.incoming.recipients if recipient.given}
    if not given:
        return [Accepted(*pair) for pair in zip(items, accept_batch(tx, places, items), strict=True)]
    known = {row[0] for row in tx.select_many("taken", ("given",), ("given",), sorted(given))}
    left = [_without(item, known) for item in items]
    kept = [item for item in left if item is not None]
    ids = [(one.given, item.received) for item in kept for one in item.incoming.recipients if one.given]
    if ids:
        tx.insert_many("taken", ("given", "at"), ids)
    made = iter([Accepted(*pair) for pair in zip(kept, accept_batch(tx, places, kept), strict=True)] if kept else ())
    again = Refusal(Cause.EXISTS, "the message was taken before")
    return [again if item is None else next(made) for item in left]


def _without(item: Acceptance, known: set[str]) -> Acceptance | None:
    """Without recipients whose delivery ids are known; those of the others are from now on. None: nobody is left."""
    recipients: list[Recipient] = []
    for one in item.incoming.recipients:
        if one.given and one.given in known:
            continue
        known.add(one.given)
        recipients.append(one)
    if len(recipients) == len(item.incoming.recipients):
        return item
    return replace(item, incoming=replace(item.incoming, recipients=tuple(recipients))) if recipients else None


def accept_batch(tx: Transaction, places: Places, items: Sequence[Acceptance]) -> list[Envelope]:
    messages: list[tuple[Value, ...]] = []
    recipients: list[tuple[Value, ...]] = []
    envelopes: list[Envelope] = []
    for item in items:
        envelope = _envelope(item, places[item.blob])
        envelopes.append(envelope)
        messages.append(message_row(envelope))
        number, received, claimant = item.number, item.received, item.claimant
        state, next_ = (_DUE, received) if claimant is None else (_CLAIMED, None)
        for n, recipient in enumerate(item.incoming.recipients, 1):
            address = recipient.address
            recipients.append(
                (number, n, address, address, recipient.original, int(recipient.notify), 0, state, next_, 0, claimant,
                 0, "", "", "", received)
            )  # fmt: skip
    tx.insert_many("message", MESSAGE_COLUMNS, messages)
    tx.insert_many("recipient", RECIPIENT_COLUMNS, recipients)
    return envelopes


# --- claim ---------------------------------------------------------------------------------------------------------


def claim_batch(tx: Transaction, items: Sequence[Claiming]) -> list[tuple[Claimed, ...]]:
    """Takes what is due longest. A message's due recipients beyond `limit` are left for the next claim."""
    return [_claim(tx, item) for item in items]


def _claim(tx: Transaction, item: Claiming) -> tuple[Claimed, ...]:
    due = tx.take(
        "SELECT message, n FROM recipient WHERE next IS NOT NULL AND next <= ? ORDER BY next LIMIT ?",
        item.now,
        item.limit,
    )
    if not due:
        return ()
    rows = tx.select_many("recipient", RECIPIENT_COLUMNS, ("message", "n"), due)
    tx.update_many(
        "recipient",
        ("message", "n"),
        ("state", "next", "claimant"),
        [(message, n, _CLAIMED, None, item.incarnation) for message, n in due],
    )
    by_message: dict[int, list[ClaimedRecipient]] = {}
    for row in sorted(rows, key=lambda r: (r[0], r[1])):
        by_message.setdefault(row[0], []).append(claimed_recipient(row))
    envelopes = tx.select_many("message", MESSAGE_COLUMNS, ("message",), [(number,) for number in by_message])
    return tuple(
        Claimed(envelope, tuple(by_message[envelope.number])) for envelope in map(envelope_of, sorted(envelopes))
    )


# --- settle --------------------------------------------------------------------------------------------------------


class _Work:
    """The rows of one message while a batch changes them."""

    __slots__ = ("addresses", "changed", "fresh", "rows")

    def __init__(self) -> None:
        self.rows: dict[int, list[Any]] = {}
        self.changed: set[int] = set()
        self.fresh: list[list[Any]] = []
        self.addresses: set[str] | None = None

    def open(self) -> bool:
        return any(row[_STATE] <= LAST_OPEN for row in self.rows.values())


def settle_batch(tx: Transaction, places: Places, items: Sequence[Settling]) -> list[Settled | Refusal]:
    works: dict[int, _Work] = {item.envelope.number: _Work() for item in items}
    keys = [(number,) for number in works]
    tx.lock_many("message", ("message",), keys)  # other nodes may settle other recipients of the same messages
    for row in tx.select_many("recipient", RECIPIENT_COLUMNS, ("message",), keys):
        works[row[0]].rows[row[_N]] = list(row)
    facts = _facts(tx, items)
    results: list[Settled | Refusal] = []
    for item in items:
        work = works[item.envelope.number]
        if len(work.rows) + len(item.expansions) > RECIPIENT_LIMIT:
            results.append(Refusal(Cause.TOO_MANY, f"a message has at most {RECIPIENT_LIMIT} recipients"))
            continue
        lost = sum(not _apply(work, fate, item, facts.get(item.envelope.number, 0)) for fate in item.fates)
        added = _expand(work, item) if item.expansions else ()
        notices = accept_batch(tx, places, item.notices) if item.notices and not lost else ()
        results.append(Settled(finished=False, added=added, notices=tuple(notices), lost=lost))
        if item.warned:
            tx.run("UPDATE message SET facts = facts | ? WHERE message = ?", _WARNED, item.envelope.number)
    finished = _store(tx, works, items)
    return [
        Settled(True, result.added, result.notices, finished[item.envelope.number], result.lost)
        if isinstance(result, Settled) and item.envelope.number in finished
        else result
        for item, result in zip(items, results, strict=True)
    ]


def _facts(tx: Transaction, items: Sequence[Settling]) -> dict[int, int]:
    """What an administrator wants of the messages meanwhile; asked only when something is to be tried again."""
    asked = {(item.envelope.number,) for item in items if any(fate.state <= LAST_OPEN for fate in item.fates)}
    if not asked:
        return {}
    return {row[0]: row[1] for row in tx.select_many("message", ("message", "facts"), ("message",), list(asked))}


def _apply(work: _Work, fate: Fate, item: Settling, facts: int) -> bool:
    """False when the claim is not (or no longer) the settler's: such a fate comes too late and changes nothing."""
    row = work.rows.get(fate.n)
    if row is None or row[_STATE] != _CLAIMED or row[_CLAIMANT] != item.incarnation:
        return False
    state: int = fate.state
    next_: int | None = None
    if state <= LAST_OPEN:
        if facts & _REMOVED_FACT:
            state = State.REMOVED
        elif facts & _HELD_FACT:
            state = _HELD
        else:
            next_ = item.now if fate.next is None else fate.next
    row[_STATE], row[_NEXT], row[_CLAIMANT], row[_CHANGED] = int(state), next_, None, item.now
    if fate.state is not State.DUE:
        row[_ATTEMPTS] += 1
        row[_CODE], row[_ENHANCED], row[_TEXT] = fate.code, fate.enhanced, fate.text[:TEXT_LIMIT]
        row[_REMOTE] = fate.remote
    work.changed.add(fate.n)
    return True


def _expand(work: _Work, item: Settling) -> tuple[ClaimedRecipient, ...]:
    """Happens once, with the parent's EXPANDED fate; an address that the message has, or had, is left out."""
    if work.addresses is None:
        work.addresses = {row[_ADDRESS] for row in work.rows.values()}
    n = max(work.rows, default=0)
    added: list[ClaimedRecipient] = []
    for expansion in item.expansions:
        parent = work.rows.get(expansion.parent)
        if parent is None or expansion.parent not in work.changed or expansion.address in work.addresses:
            continue
        n += 1
        work.addresses.add(expansion.address)
        row = list(parent)
        row[_N], row[_ADDRESS], row[_DEPTH] = n, expansion.address, parent[_DEPTH] + 1
        row[_STATE], row[_NEXT], row[_CLAIMANT], row[_ATTEMPTS] = _CLAIMED, None, item.incarnation, 0
        row[_CODE], row[_ENHANCED], row[_TEXT], row[_REMOTE] = 0, "", "", ""
        work.rows[n] = row
        work.fresh.append(row)
        added.append(claimed_recipient(row))
    return tuple(added)


def _store(tx: Transaction, works: dict[int, _Work], items: Sequence[Settling]) -> dict[int, Place]:
    """Writes what changed and removes what is finished; returns the finished ones and where their bodies are now."""
    finished: list[int] = []
    updates: list[tuple[Value, ...]] = []
    fresh: list[list[Any]] = []
    for number, work in works.items():
        if not work.open():
            if work.changed:
                finished.append(number)
            continue
        fresh.extend(work.fresh)
        for n in work.changed:
            row = work.rows[n]
            updates.append((number, n, *row[_STATE : _CHANGED + 1]))
    if updates:
        tx.update_many("recipient", ("message", "n"), _CHANGING, updates)
    if fresh:
        tx.insert_many("recipient", RECIPIENT_COLUMNS, fresh)
    return _remove(tx, works, finished, items) if finished else {}


def _remove(
    tx: Transaction, works: dict[int, _Work], finished: Sequence[int], items: Sequence[Settling]
) -> dict[int, Place]:
    """Messages out of the queue and into the history. Their places are read here: bodies are moved now and then."""
    keys = [(number,) for number in finished]
    places = {
        row[0]: Place(*row[1:])
        for row in tx.select_many("message", ("message", "segment", "start", "length", "codec"), ("message",), keys)
    }
    tx.delete_many("recipient", ("message",), keys)
    tx.delete_many("message", ("message",), keys)
    envelopes = {item.envelope.number: item for item in items}
    rows = [
        history_row(envelopes[number].envelope, list(works[number].rows.values()), envelopes[number].now)
        for number in sorted(finished)
    ]
    columns = ("message", "finished", "session", "header_id", "record")
    tx.insert_many("history", columns, rows, keep_existing=True)
    return places


def history_row(envelope: Envelope, rows: Sequence[Sequence[Any]], now: int) -> tuple[Value, ...]:
    report = MessageReport(
        message=envelope.message, session=envelope.session, sender=envelope.sender, header_id=envelope.header_id,
        size=envelope.size, received=envelope.received, recipient_count=len(rows), peer=envelope.peer, finished=now,
        recipients=tuple(recipient_report(row) for row in rows[:HISTORY_RECIPIENTS]),
        submitted_by=envelope.submitted_by.hex() if envelope.submitted_by else "",
    )  # fmt: skip
    return envelope.number, now, envelope.session, envelope.header_id, _encode_report(report)


def recipient_report(row: Sequence[Any]) -> RecipientReport:
    return RecipientReport(
        address=row[_ADDRESS], given=row[_GIVEN], state=State(row[_STATE]).name.lower(), attempts=row[_ATTEMPTS],
        next=row[_NEXT], code=row[_CODE], enhanced=row[_ENHANCED], text=row[_TEXT], remote=row[_REMOTE],
        changed=row[_CHANGED],
    )  # fmt: skip
