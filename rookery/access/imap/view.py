r"""What one client knows of the mailbox it has selected, and how it learns what has changed.

The mailbox itself (`Mirror`: the account's shared arrays) moves on with every commit of any session. A client must be
told in an order and at moments that keep its sequence numbers true (RFC 9051 sections 5.5 and 7.5.1): so a view stands
still until `advance`, keeps messages that are gone visible until they may be reported, and gives back what to say:

    EXPUNGE of each message gone (from the end, so that no number shifts before its turn), EXISTS, then changed flags.

A view shares the array of UIDs with the mailbox as long as both agree; it has a copy of its own only while it holds
back an expunge and has shown new messages since.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from rookery.base.numberset import NumberSet
from rookery.storage.values import Change, Kind, Verb


class Mirror(Protocol):
    """The mailbox as of the last commit. An expunge replaces the arrays; everything else changes them in place."""

    @property
    def uids(self) -> "array[int]": ...

    @property
    def flags(self) -> "array[int]": ...

    @property
    def modseqs(self) -> "array[int]": ...


class Updates(msgspec.Struct):
    """What to tell the client, in this order; sequence numbers of `flagged` hold after the rest was told.

    `exists`: the number of messages now, when new ones came, else None. `flagged`: spans [start, stop) of positions in
    the view; those that are gone are among them.
    """

    expunged: Sequence[int] = ()
    exists: int | None = None
    flagged: Sequence[tuple[int, int]] = ()

    def __bool__(self) -> bool:
        return bool(self.expunged or self.flagged) or self.exists is not None


class View:
    """`uids[:count]` are the messages as the client numbers them. `gone`: visible, but expunged already.

    `modseq`: changes up to this one are known to the view. `own`: change numbers whose flags the client knows.
    """

    __slots__ = ("_mirror", "count", "gone", "highest", "modseq", "own", "uids")

    def __init__(self, mirror: Mirror, modseq: int) -> None:
        self._mirror = mirror
        self.uids = mirror.uids
        self.count = len(mirror.uids)
        self.modseq = modseq
        self.highest = self.uids[-1] if self.count else 0  # the greatest UID ever shown
        self.gone = NumberSet()
        self.own: set[int] | None = None

    def advance(self, changes: Iterable[Change], modseq: int, *, expunge: bool) -> Updates:
        """Take in all `changes` since `self.modseq`, up to `modseq`, which is the mirror's present state.

        Without `expunge` the messages that are gone stay visible, until a call with it.
        """
        gone: list[tuple[int, int]] = []
        changed: list[tuple[int, int]] = []
        own = self.own or ()
        for change in changes:
            if change.kind is not Kind.MESSAGE:
                continue
            if change.verb is Verb.DESTROYED:
                gone.extend(change.uids.ranges)
            elif change.verb is Verb.CHANGED and change.modseq not in own:
                changed.extend(change.uids.ranges)
        return self._take(gone, NumberSet(changed), modseq, expunge=expunge)

    def compare(self, modseq: int, *, expunge: bool) -> Updates:
        """As `advance` when memory does not reach back so far: compare with the mirror, message by message."""
        mirror = self._mirror
        present = set(mirror.uids)
        gone = NumberSet.of_sorted(uid for uid in self.uids[: self.count] if uid not in present)
        known = self.modseq
        changed = [uid for uid, number in zip(mirror.uids, mirror.modseqs, strict=True) if number > known]
        return self._take(gone.ranges, NumberSet.of_sorted(changed), modseq, expunge=expunge)

    def _take(self, gone: Sequence[tuple[int, int]], changed: NumberSet, modseq: int, *, expunge: bool) -> Updates:
        uids, count, highest = self.uids, self.count, self.highest
        now = self._mirror.uids
        first_new = bisect_right(now, highest)
        self.modseq, self.own = modseq, None
        if gone:
            self.gone = self.gone | NumberSet(gone)
        updates = Updates()
        if first_new < len(now):
            self.highest = now[-1]
        if not self.gone or expunge:
            if self.gone:
                updates.expunged = [place + 1 for place in _backwards(uids, count, self.gone)]
                self.gone = NumberSet()
            self.uids, self.count = now, len(now)
        elif first_new < len(now):
            self.uids = uids[:count] + now[first_new:]
            self.count = len(self.uids)
        if first_new < len(now):
            updates.exists = self.count
        if changed:
            # New messages are not among these: the client has yet to ask for their flags.
            seen = changed & NumberSet([(1, highest)]) if highest else NumberSet()
            updates.flagged = self.spans_of_uids(seen)
        return updates

    # --- numbers -------------------------------------------------------------------------------------------------

    def spans_of_uids(self, uids: NumberSet) -> list[tuple[int, int]]:
        """Spans [start, stop) of positions that hold `uids`; absent ones are passed over."""
        return _spans(self.uids, self.count, uids)

    def vanish(self) -> Updates:
        """The mailbox itself is gone: so are all its messages."""
        updates = Updates(range(self.count, 0, -1))
        self.uids, self.count, self.gone = self.uids[:0], 0, NumberSet()
        return updates

    def spans_of_numbers(self, numbers: NumberSet) -> list[tuple[int, int]]:
        """Spans [start, stop) of positions of these message sequence numbers, which must be in use."""
        return [(low - 1, high) for low, high in numbers.ranges]

    def place_of(self, uid: int) -> int | None:
        place = bisect_left(self.uids, uid, 0, self.count)
        return place if place < self.count and self.uids[place] == uid else None

    def uids_in(self, spans: Iterable[tuple[int, int]]) -> NumberSet:
        """The UIDs at these positions; spans must rise. Those already gone are among them."""
        uids = self.uids
        ranges: list[tuple[int, int]] = []
        for start, stop in spans:
            if start < stop:
                low, high = uids[start], uids[stop - 1]
                if high - low == stop - start - 1:
                    ranges.append((low, high))
                else:
                    ranges.extend(NumberSet.of_sorted(uids[start:stop]).ranges)
        return NumberSet(ranges)

    @property
    def largest_uid(self) -> int:
        """What `*` means in a UID set; 0 when there is no message."""
        return self.uids[self.count - 1] if self.count else 0


def _spans(uids: "array[int]", count: int, wanted: NumberSet) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    at = 0
    for low, high in wanted.ranges:
        start = bisect_left(uids, low, at, count)
        if start == count:
            break
        at = bisect_right(uids, high, start, count)
        if start < at:
            spans.append((start, at))
    return spans


def _backwards(uids: "array[int]", count: int, wanted: NumberSet) -> Iterator[int]:
    for start, stop in reversed(_spans(uids, count, wanted)):
        yield from range(stop - 1, start - 1, -1)
