"""What an administrator sees of the spool and does to it: rules and reads, no protocol, no printing.

Every list is a page: bounded, ordered by id, continued `after` the last one seen.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from rookery.distribution.spool.ids import message_number
from rookery.distribution.spool.rules import (
    HISTORY_RECIPIENTS,
    MESSAGE_COLUMNS,
    RECIPIENT_COLUMNS,
    Fact,
    claimed_recipient,
    envelope_of,
    recipient_report,
)
from rookery.distribution.spool.values import (
    Claimed,
    Counts,
    Envelope,
    MessageReport,
    QueueFilter,
    State,
)
from rookery.storage.blobs import Place
from rookery.storage.engine import Reader, Row, Transaction, Value

PAGE_LIMIT = 1000
TRACE_LIMIT = 100  # messages that one question finds
BULK_LIMIT = 100_000  # messages changed by one act
SLICE = 500

_DUE, _CLAIMED, _HELD, _DEFERRED = int(State.DUE), int(State.CLAIMED), int(State.HELD), int(State.DEFERRED)
_reports = msgspec.json.Decoder(MessageReport)


# --- acts ----------------------------------------------------------------------------------------------------------
# Each takes the numbers of messages and returns how many recipients it changed; unknown messages change none.


def hold(tx: Transaction, numbers: Sequence[int]) -> int:
    """What is being delivered right now goes on; what must be tried again is held then."""
    changed = 0
    for number in numbers:
        tx.run("UPDATE message SET facts = facts | ? WHERE message = ?", int(Fact.HELD), number)
        changed += tx.run(
            "UPDATE recipient SET state = ?, next = NULL WHERE message = ? AND state IN (?, ?)",
            _HELD, number, _DUE, _DEFERRED,
        )  # fmt: skip
    return changed


def release(tx: Transaction, numbers: Sequence[int], now: int) -> int:
    changed = 0
    for number in numbers:
        tx.run("UPDATE message SET facts = facts & ? WHERE message = ?", ~int(Fact.HELD), number)
        changed += tx.run(
            "UPDATE recipient SET state = ?, next = ? WHERE message = ? AND state = ?", _DUE, now, number, _HELD
        )
    return changed


def retry(tx: Transaction, numbers: Sequence[int], now: int) -> int:
    """Try at once what waits; held messages stay held."""
    return sum(
        tx.run(
            "UPDATE recipient SET state = ?, next = ? WHERE message = ? AND state IN (?, ?)",
            _DUE, now, number, _DUE, _DEFERRED,
        )
        for number in numbers
    )  # fmt: skip


def claim_to_remove(tx: Transaction, number: int, incarnation: int) -> Claimed | None:
    """Claim what waits or is held, so that it can be settled as removed; nothing of it will be tried again."""
    row = tx.row(f"SELECT {', '.join(MESSAGE_COLUMNS)} FROM message WHERE message = ?", number)
    if row is None:
        return None
    tx.run("UPDATE message SET facts = facts | ? WHERE message = ?", int(Fact.REMOVED), number)
    rows = tx.rows(
        f"SELECT {', '.join(RECIPIENT_COLUMNS)} FROM recipient WHERE message = ? AND state IN (?, ?, ?) ORDER BY n",
        number, _DUE, _HELD, _DEFERRED,
    )  # fmt: skip
    tx.run(
        "UPDATE recipient SET state = ?, next = NULL, claimant = ? WHERE message = ? AND state IN (?, ?, ?)",
        _CLAIMED, incarnation, number, _DUE, _HELD, _DEFERRED,
    )  # fmt: skip
    return Claimed(envelope_of(row), tuple(claimed_recipient(row) for row in rows))


def trim_history(tx: Transaction, before: int, rows: int) -> int:
    """Forget finished messages with ids below `before`, and the oldest beyond `rows`; a slice a call."""
    row = tx.row("SELECT count(*) FROM history")
    surplus = max(0, int(row[0]) - rows) if row else 0
    gone = tx.run(
        "DELETE FROM history WHERE message IN (SELECT message FROM history WHERE message < ? ORDER BY message LIMIT ?)",
        before, SLICE,
    )  # fmt: skip
    if gone < SLICE and surplus > gone:
        gone += tx.run(
            "DELETE FROM history WHERE message IN (SELECT message FROM history ORDER BY message LIMIT ?)",
            min(SLICE, surplus - gone),
        )
    return gone


def forget_taken(tx: Transaction, before: int) -> int:
    """Delivery ids of other nodes that were taken before; a slice a call."""
    return tx.run(
        "DELETE FROM taken WHERE given IN (SELECT given FROM taken WHERE at < ? ORDER BY at LIMIT ?)", before, SLICE
    )


def forget_given(tx: Transaction, node: str, below: str) -> int:
    """Those of a node that sort below; a slice a call."""
    return tx.run(
        "DELETE FROM taken WHERE given IN (SELECT given FROM taken WHERE given >= ? AND given < ? LIMIT ?)",
        f"{node}/", f"{node}/{below}", SLICE,
    )  # fmt: skip


# --- reads ---------------------------------------------------------------------------------------------------------


def listing(reader: Reader, wanted: QueueFilter, limit: int) -> list[MessageReport]:
    """One page of open messages, oldest first; recipients are cut at HISTORY_RECIPIENTS."""
    where, values = ["1 = 1"], list[Value]()
    if wanted.after:
        where.append("m.message > ?")
        values.append(message_number(wanted.after))
    if wanted.sender:
        where.append(_address_condition("m.sender", wanted.sender, values))
    if wanted.state is not None or wanted.recipient:
        inner = ["r.message = m.message"]
        if wanted.state is not None:
            inner.append("r.state = ?")
            values.append(int(wanted.state))
        if wanted.recipient:
            inner.append(_address_condition("r.address", wanted.recipient, values))
        where.append(f"EXISTS (SELECT 1 FROM recipient r WHERE {' AND '.join(inner)})")
    columns = ", ".join(f"m.{name}" for name in MESSAGE_COLUMNS)
    messages = reader.rows(
        f"SELECT {columns} FROM message m WHERE {' AND '.join(where)} ORDER BY m.message LIMIT ?",
        *values,
        min(limit, PAGE_LIMIT),
    )
    return _with_recipients(reader, messages)


def _address_condition(column: str, wanted: str, values: list[Value]) -> str:
    """`wanted` is a whole address or "@domain"; "<>" is the null sender."""
    if wanted == "<>":
        return f"{column} = ''"
    if not wanted.startswith("@"):
        values.append(wanted.lower())
        return f"lower({column}) = ?"
    values.append("%" + wanted.lower().replace("!", "!!").replace("%", "!%").replace("_", "!_"))
    return f"lower({column}) LIKE ? ESCAPE '!'"


def _with_recipients(reader: Reader, messages: Sequence[Row]) -> list[MessageReport]:
    reports = []
    for row in messages:
        envelope = envelope_of(row)
        count = reader.row("SELECT count(*) FROM recipient WHERE message = ?", envelope.number)
        rows = reader.rows(
            f"SELECT {', '.join(RECIPIENT_COLUMNS)} FROM recipient WHERE message = ? ORDER BY n LIMIT ?",
            envelope.number, HISTORY_RECIPIENTS,
        )  # fmt: skip
        reports.append(_report(envelope, rows, int(count[0]) if count else 0))
    return reports


def _report(envelope: Envelope, rows: Sequence[Sequence[Any]], count: int) -> MessageReport:
    return MessageReport(
        message=envelope.message, session=envelope.session, sender=envelope.sender, header_id=envelope.header_id,
        size=envelope.size, received=envelope.received, recipients=tuple(map(recipient_report, rows)),
        recipient_count=count, peer=envelope.peer, held=envelope.held,
        submitted_by=envelope.submitted_by.hex() if envelope.submitted_by else "",
    )  # fmt: skip


def show(reader: Reader, number: int) -> MessageReport | None:
    """One message, in the queue or in the history."""
    row = reader.row(f"SELECT {', '.join(MESSAGE_COLUMNS)} FROM message WHERE message = ?", number)
    if row is not None:
        return _with_recipients(reader, [row])[0]
    row = reader.row("SELECT record FROM history WHERE message = ?", number)
    return None if row is None else _reports.decode(bytes(row[0]))


def trace_queue(reader: Reader, wanted: str) -> list[MessageReport]:
    """Open messages of a session or with a Message-ID."""
    rows = reader.rows(
        f"SELECT {', '.join(MESSAGE_COLUMNS)} FROM message WHERE session = ? OR header_id = ? ORDER BY message LIMIT ?",
        wanted, wanted, TRACE_LIMIT,
    )  # fmt: skip
    return _with_recipients(reader, rows)


def trace_history(reader: Reader, wanted: str, after: int, rows: int) -> tuple[list[MessageReport], int]:
    """One slice of the history behind `after`: what matches, and where the next slice begins (0: at the end)."""
    last = reader.row(
        "SELECT max(message) FROM (SELECT message FROM history WHERE message > ? ORDER BY message LIMIT ?) AS slice",
        after, rows,
    )  # fmt: skip
    if last is None or last[0] is None:
        return [], 0
    found = reader.rows(
        "SELECT record FROM history WHERE message > ? AND message <= ? AND (session = ? OR header_id = ?) "
        "ORDER BY message LIMIT ?",
        after, last[0], wanted, wanted, TRACE_LIMIT,
    )  # fmt: skip
    return [_reports.decode(bytes(row[0])) for row in found], int(last[0])


def counts(reader: Reader) -> Counts:
    message = reader.row("SELECT count(*), min(received), sum(size) FROM message")
    states = {state.name.lower(): 0 for state in State if state.open}
    for state, count in reader.rows("SELECT state, count(*) FROM recipient WHERE state <= ? GROUP BY state", _DEFERRED):
        states[State(state).name.lower()] = int(count)
    messages, oldest, octets = message if message is not None else (0, None, None)
    return Counts(messages=int(messages), recipients=states, oldest=int(oldest or 0), octets=int(octets or 0))


def next_due(reader: Reader) -> int | None:
    row = reader.row("SELECT min(next) FROM recipient WHERE next IS NOT NULL")
    return None if row is None or row[0] is None else int(row[0])


def lowest(reader: Reader) -> int | None:
    """The number of the oldest message that is not settled."""
    row = reader.row("SELECT min(message) FROM message")
    return None if row is None or row[0] is None else int(row[0])


def greatest(reader: Reader) -> int:
    """The greatest number ever used and still known."""
    found = [reader.row(f"SELECT max(message) FROM {table}") for table in ("message", "history")]
    return max((int(row[0]) for row in found if row is not None and row[0] is not None), default=0)


def numbers_in_state(reader: Reader, states: Sequence[State]) -> list[int]:
    marks = ", ".join("?" * len(states))
    rows = reader.rows(
        f"SELECT DISTINCT message FROM recipient WHERE state IN ({marks}) ORDER BY message LIMIT ?",
        *(int(state) for state in states), BULK_LIMIT,
    )  # fmt: skip
    return [int(row[0]) for row in rows]


def live_octets(reader: Reader) -> list[tuple[int, int, int]]:
    """(segment, records, octets) of the bodies that are still needed."""
    rows = reader.rows("SELECT segment, count(*), sum(length) FROM message WHERE segment > 0 GROUP BY segment")
    return [(int(segment), int(count), int(octets)) for segment, count, octets in rows]


def segment_ends(reader: Reader) -> dict[int, int]:
    """How far the database knows each segment."""
    rows = reader.rows("SELECT segment, max(start + length) FROM message WHERE segment > 0 GROUP BY segment")
    return {int(segment): int(end) for segment, end in rows}


def envelope(reader: Reader, number: int) -> Envelope | None:
    row = reader.row(f"SELECT {', '.join(MESSAGE_COLUMNS)} FROM message WHERE message = ?", number)
    return None if row is None else envelope_of(row)


def envelopes_in(reader: Reader, segment: int, after: int, limit: int) -> list[Envelope]:
    """Messages whose bodies stand in `segment`: what is left to move out of it."""
    rows = reader.rows(
        f"SELECT {', '.join(MESSAGE_COLUMNS)} FROM message WHERE segment = ? AND message > ? ORDER BY message LIMIT ?",
        segment, after, limit,
    )  # fmt: skip
    return [envelope_of(row) for row in rows]


def set_place(tx: Transaction, number: int, place: Place) -> bool:
    """False when the message is finished meanwhile."""
    return bool(
        tx.run(
            "UPDATE message SET segment = ?, start = ?, length = ?, codec = ? WHERE message = ?",
            place.segment, place.offset, place.length, place.codec, number,
        )
    )  # fmt: skip


def large_bodies(reader: Reader) -> set[bytes]:
    return {bytes(row[0]) for row in reader.rows("SELECT blob FROM message WHERE segment = 0")}
