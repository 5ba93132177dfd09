"""Finding messages of a mailbox by UID sets inside a write transaction, in slices that do not hold the writer long.

SQL answers with counts and ranges, so that 100,000 neighbours cost one row and not 100,000.
"""

from collections.abc import Iterable, Sequence

import msgspec

from rookery.base.numberset import NumberSet
from rookery.storage.batch import AccountRow
from rookery.storage.counters import Counter
from rookery.storage.engine import Reader, Value

RANGES_PER_SLICE = 2_000  # each costs a few statements

_WHERE = "account = ? AND mailbox = ? AND uid BETWEEN ? AND ?"


class Found(msgspec.Struct, frozen=True):
    """Messages that met a condition: how many of them carry Seen and Deleted, too."""

    uids: NumberSet
    messages: int
    seen: int
    deleted: int


def as_set(ranges: Iterable[tuple[int, int]]) -> NumberSet:
    """Ranges that are in order and apart already, without looking at each again."""
    made = NumberSet()
    made.ranges = tuple(ranges)
    return made


def take_slice(
    tx: Reader,
    row: AccountRow,
    counter: Counter,
    uids: NumberSet,
    limit: int,
    *,
    ranges: int = RANGES_PER_SLICE,
) -> tuple[NumberSet, NumberSet]:
    """Split `uids` into a part with at most `limit` messages and the rest; both inside the UIDs given out so far."""
    if uids and uids.greatest >= counter.uidnext:
        uids = uids & NumberSet(((1, max(1, counter.uidnext - 1)),))
    known = uids.ranges
    head, tail = list(known[:ranges]), known[ranges:]
    if counter.messages <= limit:
        return as_set(head), as_set(tail)
    left = limit
    for index, (low, high) in enumerate(head):
        if high - low < left:
            left -= high - low + 1
            continue
        sql = f"SELECT uid FROM presence WHERE {_WHERE} ORDER BY uid LIMIT 1 OFFSET ?"
        cut = tx.row(sql, row.number, counter.mailbox, low, high, left)
        if cut is not None:
            now = [*head[:index], (low, cut[0] - 1)] if cut[0] > low else head[:index]
            return as_set(now), as_set([(cut[0], high), *head[index + 1 :], *tail])
        counted = tx.row(f"SELECT count(*) FROM presence WHERE {_WHERE}", row.number, counter.mailbox, low, high)
        left -= counted[0] if counted else 0
    return as_set(head), as_set(tail)


def split(uids: NumberSet, limit: int) -> tuple[NumberSet, NumberSet]:
    """The first `limit` numbers, in at most RANGES_PER_SLICE ranges, and the rest."""
    head: list[tuple[int, int]] = []
    left = limit
    for index, (low, high) in enumerate(uids.ranges):
        if not left or len(head) == RANGES_PER_SLICE:
            return as_set(head), as_set(uids.ranges[index:])
        if high - low + 1 > left:
            head.append((low, low + left - 1))
            return as_set(head), as_set([(low + left, high), *uids.ranges[index + 1 :]])
        head.append((low, high))
        left -= high - low + 1
    return uids, NumberSet()


def find(
    tx: Reader,
    row: AccountRow,
    mailbox: int,
    ranges: Sequence[tuple[int, int]],
    condition: str = "",
    values: Sequence[Value] = (),
) -> Found:
    """The messages inside `ranges` that meet an SQL condition over the columns of `presence`."""
    where = f"{_WHERE} AND {condition}" if condition else _WHERE
    counting = f"SELECT count(*), min(uid), max(uid), sum(flags & 1), sum((flags >> 3) & 1) FROM presence WHERE {where}"
    islands = (
        "SELECT min(uid), max(uid) FROM (SELECT uid, uid - row_number() OVER (ORDER BY uid) AS island"
        f" FROM presence WHERE {where}) AS numbered GROUP BY island ORDER BY 1"
    )
    found: list[tuple[int, int]] = []
    messages = seen = deleted = 0
    for low, high in ranges:
        keys = (row.number, mailbox, low, high, *values)
        counted = tx.row(counting, *keys)
        if counted is None or not counted[0]:
            continue
        count, first, last = counted[0], counted[1], counted[2]
        messages += count
        seen += int(counted[3])
        deleted += int(counted[4])
        if last - first + 1 == count:
            found.append((first, last))
        else:
            found.extend((a, b) for a, b in tx.rows(islands, *keys))
    return Found(NumberSet(found), messages, seen, deleted)


def total_size(tx: Reader, row: AccountRow, mailbox: int, ranges: Sequence[tuple[int, int]]) -> int:
    """Octets of the messages inside `ranges`, each presence counted."""
    sql = (
        "SELECT sum(e.size) FROM presence p JOIN email e ON e.account = p.account AND e.email = p.email"
        " WHERE p.account = ? AND p.mailbox = ? AND p.uid BETWEEN ? AND ?"
    )
    size = 0
    for low, high in ranges:
        found = tx.row(sql, row.number, mailbox, low, high)
        size += int(found[0] or 0) if found else 0
    return size
