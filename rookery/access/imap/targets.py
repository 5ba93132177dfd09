"""Which messages a command names, and how they stand now, in slices small enough to answer one after another."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from copy import copy

from rookery.access.imap.view import Mirror, View
from rookery.base.numberset import NumberSet
from rookery.wire.imap.sequence import SequenceSet

Spans = list[tuple[int, int]]  # [start, stop) of positions in a view, rising


class OutOfRange(Exception):
    """A message sequence number that is not in use (RFC 9051 section 9, seq-number: a BAD answer)."""


def find(view: View, numbers: SequenceSet, saved: NumberSet, *, uid: bool) -> Spans:
    """Positions of the messages meant. UIDs that are not there are passed over; `saved` is what `$` stands for.

    `n:*` beyond the end means the last message, with numbers as with UIDs. Raises OutOfRange.
    """
    if numbers.saved:
        return view.spans_of_uids(saved)
    if uid:
        return view.spans_of_uids(numbers.resolve(view.largest_uid))
    count = view.count
    for low, high in numbers.ranges:
        if low > count or high > count:
            if low and high:
                raise OutOfRange
            if count:
                return _clipped(numbers, count)
            return []
    return view.spans_of_numbers(numbers.resolve(count))


def _clipped(numbers: SequenceSet, count: int) -> Spans:
    """As `find` for a set in which some `n:*` begins after the last message."""
    ranges = []
    for low, high in numbers.ranges:
        if low and high and max(low, high) > count:
            raise OutOfRange
        ranges.append((min(low or count, count), min(high or count, count)))
    return [(low - 1, high) for low, high in NumberSet(ranges).ranges]


def slices(spans: Spans, size: int) -> Iterator[tuple[int, int]]:
    """The same positions in spans of at most `size`."""
    for start, stop in spans:
        for at in range(start, stop, size):
            yield at, min(stop, at + size)


class Rows:
    """A slice of messages as columns: sequence number, UID, and flags and MODSEQ as of now. Gone ones are left out."""

    __slots__ = ("flags", "missing", "modseqs", "numbers", "uids")

    def __init__(self, view: View, mirror: Mirror, start: int, stop: int) -> None:
        self.numbers: Sequence[int] = range(start + 1, stop + 1)
        self.missing = 0
        if view.uids is mirror.uids:
            self.uids = view.uids[start:stop]
            self.flags = mirror.flags[start:stop]
            self.modseqs = mirror.modseqs[start:stop]
        else:
            self._look_up(view, mirror, start, stop)

    def _look_up(self, view: View, mirror: Mirror, start: int, stop: int) -> None:
        """The client's numbers and the mailbox's places differ: some of these, or of those before, are gone."""
        uids, flags, modseqs, numbers = array("Q"), array("Q"), array("Q"), []
        now, count = mirror.uids, len(mirror.uids)
        place = bisect_left(now, view.uids[start]) if start < stop else 0
        for at in range(start, stop):
            uid = view.uids[at]
            if place < count and now[place] < uid:
                place = bisect_left(now, uid, place)
            if place < count and now[place] == uid:
                numbers.append(at + 1)
                uids.append(uid)
                flags.append(mirror.flags[place])
                modseqs.append(mirror.modseqs[place])
                place += 1
            else:
                self.missing += 1
        self.numbers, self.uids, self.flags, self.modseqs = numbers, uids, flags, modseqs

    def __len__(self) -> int:
        return len(self.uids)

    def part(self, start: int, stop: int) -> "Rows":
        """The same of some of the rows."""
        piece = copy(self)
        piece.missing = 0
        piece.numbers = self.numbers[start:stop]
        piece.uids = self.uids[start:stop]
        piece.flags = self.flags[start:stop]
        piece.modseqs = self.modseqs[start:stop]
        return piece

    def keep(self, places: Sequence[int]) -> None:
        """Leave only the rows at these places; the others count as missing."""
        self.missing += len(self.uids) - len(places)
        self.numbers = [self.numbers[i] for i in places]
        self.uids = array("Q", [self.uids[i] for i in places])
        self.flags = array("Q", [self.flags[i] for i in places])
        self.modseqs = array("Q", [self.modseqs[i] for i in places])
