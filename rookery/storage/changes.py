"""Reading and trimming an account's change log.

The log is two tables: `change`, and `email`, whose rows are the births of the messages that were appended. A birth is
answered even when the message is gone again; the change that destroyed it has a greater number and follows.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.numberset import NumberSet
from rookery.storage.engine import Reader, Transaction
from rookery.storage.values import Change, Kind, Verb

TAIL_LIMIT = 1_000  # changes an open account keeps in memory
TAIL_RANGES = 20_000  # ranges of UIDs in all of them
ROWS_KEPT = 100_000  # change rows of one account; older ones go, whatever their age
DAYS_KEPT = 90
ACCOUNTS_PER_SLICE = 200
ROWS_PER_SLICE = 5_000


def read_changes(reader: Reader, number: int, since: int, mailbox: int | None = None) -> list[Change]:
    """All changes with a number greater than `since`, in order. Raises NOT_FOUND when some were trimmed away."""
    found = reader.row("SELECT floor FROM account WHERE account = ?", number)
    if found is None or since < found[0]:
        raise RookeryError(Cause.NOT_FOUND, "the change log does not reach back so far")
    only = "" if mailbox is None else " AND mailbox = ?"
    keys = (number, since) if mailbox is None else (number, since, mailbox)
    sql = f"SELECT modseq, kind, verb, mailbox, uids, added, removed FROM change WHERE account = ? AND modseq > ?{only}"
    changes = [
        Change(modseq, Kind(kind), Verb(verb), where, NumberSet.parse(uids), added, removed)
        for modseq, kind, verb, where, uids, added, removed in reader.rows(sql, *keys)
    ]
    others = sorted(change.modseq for change in changes)
    sql = f"SELECT email, mailbox, uid, flags FROM email WHERE account = ? AND email > ?{only} ORDER BY email"
    changes.extend(_births(reader.rows(sql, *keys), others))
    changes.sort(key=lambda change: change.modseq)
    return changes


def _births(rows: Iterable[tuple[int, int, int, int]], others: list[int]) -> list[Change]:
    """Runs of neighbours become one change, unless something else happened between them."""
    made: list[Change] = []
    upcoming = deque(others)
    mailbox = flags = low = high = last = -1
    for email, where, uid, born in rows:
        while upcoming and upcoming[0] < last:
            upcoming.popleft()
        interrupted = bool(upcoming) and upcoming[0] < email
        if where != mailbox or born != flags or uid != high + 1 or interrupted:
            if low > 0:
                made.append(Change(last, Kind.MESSAGE, Verb.CREATED, mailbox, NumberSet(((low, high),)), flags))
            mailbox, flags, low = where, born, uid
        high, last = uid, email
    if low > 0:
        made.append(Change(last, Kind.MESSAGE, Verb.CREATED, mailbox, NumberSet(((low, high),)), flags))
    return made


class Tail:
    """The newest changes of an open account, in memory: everything with a number greater than `start`."""

    __slots__ = ("_changes", "_ranges", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self._ranges = 0
        self._changes: deque[Change] = deque()

    def add(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._changes.append(change)
            self._ranges += len(change.uids.ranges)
        while len(self._changes) > TAIL_LIMIT or self._ranges > TAIL_RANGES:
            oldest = self._changes.popleft()
            self._ranges -= len(oldest.uids.ranges)
            self.start = oldest.modseq

    def since(self, since: int, mailbox: int | None) -> list[Change] | None:
        """None: it does not reach back so far."""
        if since < self.start:
            return None
        found: list[Change] = []
        for change in reversed(self._changes):
            if change.modseq <= since:
                break
            if mailbox is None or change.mailbox == mailbox:
                found.append(change)
        found.reverse()
        return found


class Trimmed(msgspec.Struct, frozen=True):
    """One slice of trimming: go on behind account number `after`; None: that was the last one."""

    after: int | None
    rows: int


def trim(tx: Transaction, after: int, now: int, *, days: int = DAYS_KEPT, rows: int = ROWS_KEPT) -> Trimmed:
    """Forget old changes of the next few accounts, and raise their floors."""
    last = after + ACCOUNTS_PER_SLICE
    sql = (
        "SELECT account, count(*), max(CASE WHEN saved < ? THEN modseq ELSE 0 END)"
        " FROM change WHERE account > ? AND account <= ? GROUP BY account"
    )
    removed = 0
    for number, count, old in tx.rows(sql, now - days * 86_400, after, last):
        cut = old
        if count > rows:
            over = "SELECT modseq FROM change WHERE account = ? ORDER BY modseq LIMIT 1 OFFSET ?"
            found = tx.row(over, number, count - rows - 1)
            cut = max(cut, found[0] if found else 0)
        if not cut:
            continue
        bound = "SELECT modseq FROM change WHERE account = ? ORDER BY modseq LIMIT 1 OFFSET ?"
        found = tx.row(bound, number, ROWS_PER_SLICE)
        cut = min(cut, found[0]) if found else cut
        tx.run("UPDATE account SET floor = ? WHERE account = ? AND floor < ?", cut, number, cut)
        removed += tx.run("DELETE FROM change WHERE account = ? AND modseq <= ?", number, cut)
        if removed >= ROWS_PER_SLICE:
            return Trimmed(number, removed)
    following = tx.row("SELECT min(account) FROM change WHERE account > ?", last)
    return Trimmed(following[0] - 1 if following and following[0] is not None else None, removed)
