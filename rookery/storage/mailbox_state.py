"""The messages of one mailbox in memory: UIDs, flags and change numbers as three parallel arrays, shared by all
sessions that have it selected.

The arrays grow by append and change in place; an expunge *replaces* them, so that a session may hold on to the ones it
knows until it is allowed to tell its client. 24 octets a message.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from rookery.base.numberset import NumberSet
from rookery.storage.engine import Reader, Row
from rookery.storage.flags import ALL_FLAGS
from rookery.storage.values import Change, Verb

_LARGE = 512  # from here on whole-array arithmetic beats a loop
_COLUMNS = "SELECT uid, flags, changed FROM presence WHERE account = ? AND mailbox = ?"


class MailboxState:
    """`uids` rises; `generation` counts the replacements of the arrays. Only its OpenAccount changes it."""

    __slots__ = ("flags", "generation", "holders", "modseqs", "number", "uids")

    uids: "array[int]"
    flags: "array[int]"
    modseqs: "array[int]"

    def __init__(self, number: int) -> None:
        self.number = number
        self.generation = 0
        self.holders = 0
        self.uids = array("Q")
        self.flags = array("Q")
        self.modseqs = array("Q")

    def release(self) -> None:
        """The caller has closed the mailbox."""
        self.holders -= 1

    def __len__(self) -> int:
        return len(self.uids)

    def position(self, uid: int) -> int | None:
        """Index of a UID in the arrays (its sequence number less one), or None."""
        index = bisect_left(self.uids, uid)
        return index if index < len(self.uids) and self.uids[index] == uid else None

    def flags_of(self, uids: NumberSet) -> list[int]:
        """Of those that are here, in order."""
        found: list[int] = []
        for low, high in uids.ranges:
            found.extend(self.flags[bisect_left(self.uids, low) : bisect_right(self.uids, high)])
        return found

    # --- for the OpenAccount -------------------------------------------------------------------------------------

    def add_rows(self, rows: Iterable[Row]) -> None:
        """(uid, flags, modseq) in order of UID; those not above the greatest UID known are taken for repeats."""
        last = self.uids[-1] if self.uids else 0
        fresh = [row for row in rows if row[0] > last]
        self.uids.extend([row[0] for row in fresh])
        self.flags.extend([row[1] for row in fresh])
        self.modseqs.extend([row[2] for row in fresh])

    def apply(self, change: Change) -> None:
        """Flags and removals; for births see `add_rows`."""
        if change.verb is Verb.CHANGED:
            self.assign(change.uids, change.added, change.removed, change.modseq)
        elif change.verb is Verb.DESTROYED:
            self.remove(change.uids)

    def assign(self, uids: NumberSet, added: int, removed: int, modseq: int) -> None:
        """flags = (flags & ~removed) | added; UIDs that are gone are passed over."""
        kept = ALL_FLAGS & ~removed
        for low, high in uids.ranges:
            start, stop = bisect_left(self.uids, low), bisect_right(self.uids, high)
            if stop - start < _LARGE:
                for index in range(start, stop):
                    self.flags[index] = self.flags[index] & kept | added
                    self.modseqs[index] = modseq
                continue
            count = stop - start
            if not kept & ~added:
                self.flags[start:stop] = array("Q", [added]) * count
            else:
                self.flags[start:stop] = _assigned(self.flags[start:stop], kept, added)
            self.modseqs[start:stop] = array("Q", [modseq]) * count

    def remove(self, uids: NumberSet) -> None:
        """New arrays without these; the old ones stay as they are for whoever holds them."""
        cuts: list[tuple[int, int]] = []
        for low, high in uids.ranges:
            start, stop = bisect_left(self.uids, low), bisect_right(self.uids, high)
            if start < stop:
                cuts.append((start, stop))
        if cuts:
            self.uids = _without(self.uids, cuts)
            self.flags = _without(self.flags, cuts)
            self.modseqs = _without(self.modseqs, cuts)
            self.generation += 1

    def replace(self, rows: Iterable[Row]) -> None:
        """Start anew from what the database says."""
        self.uids, self.flags, self.modseqs = array("Q"), array("Q"), array("Q")
        self.generation += 1
        self.add_rows(rows)


def _assigned(flags: "array[int]", kept: int, added: int) -> "array[int]":
    """Every flag & kept | added, as arithmetic on one long number."""
    count = len(flags)
    number = int.from_bytes(flags.tobytes(), "little")  # any order, the same throughout: each word is handled alike
    keeping = int.from_bytes((array("Q", [kept]) * count).tobytes(), "little")
    adding = int.from_bytes((array("Q", [added]) * count).tobytes(), "little")
    made = array("Q")
    made.frombytes((number & keeping | adding).to_bytes(8 * count, "little"))
    return made


def _without(old: "array[int]", cuts: list[tuple[int, int]]) -> "array[int]":
    new = array("Q")
    position = 0
    for start, stop in cuts:
        new.extend(old[position:start])
        position = stop
    new.extend(old[position:])
    return new


def read_all(reader: Reader, number: int, mailbox: int) -> list[Row]:
    """(uid, flags, modseq) of every message, in order of UID."""
    return reader.rows(f"{_COLUMNS} ORDER BY uid", number, mailbox)


def read_next(reader: Reader, number: int, mailbox: int, after: int, limit: int) -> list[Row]:
    """The same, for the next `limit` messages above the UID `after`."""
    return reader.rows(f"{_COLUMNS} AND uid > ? ORDER BY uid LIMIT ?", number, mailbox, after, limit)


def read_range(reader: Reader, number: int, mailbox: int, uids: NumberSet) -> list[Row]:
    """The same, for these UIDs."""
    sql = f"{_COLUMNS} AND uid BETWEEN ? AND ? ORDER BY uid"
    return [row for low, high in uids.ranges for row in reader.rows(sql, number, mailbox, low, high)]
