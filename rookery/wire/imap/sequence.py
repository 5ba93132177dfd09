"""Sequence sets with `*` and `$` as a client wrote them (RFC 9051 section 9 `sequence-set`, RFC 5182 `$`).

They become a `NumberSet` only against a mailbox, which knows what `*` is.
"""

import re

import msgspec

from rookery.base.numberset import NumberSet

STAR = 0  # stands for `*`, the largest number in use
RANGE_LIMIT = 10_000  # ranges in one set

_NUMBER = rb"(?:[1-9][0-9]{0,9}|\*)"
_SET = re.compile(rb"%b(?::%b)?(?:,%b(?::%b)?)*" % ((_NUMBER,) * 4))
_NUMBER_LIMIT = 1 << 32


class SequenceSet(msgspec.Struct, frozen=True):
    """Ranges as written, `*` as STAR. `saved` is `$`: the saved search result, and `ranges` is empty then."""

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False

    def resolve(self, largest: int) -> NumberSet:
        """The numbers meant when the largest in use is `largest` (0 when the mailbox is empty).

        An empty mailbox has no `*`: `*` and `n:*` mean nothing then. `5:*` with a largest of 3 means 3:5
        (RFC 9051 section 9, "seq-range"). Numbers beyond the largest stay in: the caller judges them.
        """
        found = []
        for low, high in self.ranges:
            if (low == STAR or high == STAR) and not largest:
                continue
            found.append((low or largest, high or largest))
        return NumberSet(found)

    @property
    def stars(self) -> bool:
        """Whether `*` occurs."""
        return any(low == STAR or high == STAR for low, high in self.ranges)

    def __str__(self) -> str:
        if self.saved:
            return "$"
        return ",".join(
            (str(low or "*") if low == high else f"{low or '*'}:{high or '*'}") for low, high in self.ranges
        )


SAVED = SequenceSet((), True)


def parse_sequence(text: bytes) -> SequenceSet:
    """Read a whole `sequence-set`. Raises ValueError that says what is wrong."""
    if text == b"$":
        return SAVED
    if not _SET.fullmatch(text):
        raise ValueError("not a sequence set")
    parts = text.split(b",")
    if len(parts) > RANGE_LIMIT:
        raise ValueError(f"a sequence set of more than {RANGE_LIMIT} ranges")
    ranges = []
    for part in parts:
        low, colon, high = part.partition(b":")
        first = STAR if low == b"*" else int(low)
        last = first if not colon else STAR if high == b"*" else int(high)
        if first >= _NUMBER_LIMIT or last >= _NUMBER_LIMIT:
            raise ValueError("a number of more than 32 bits in a sequence set")
        ranges.append((first, last))
    return SequenceSet(tuple(ranges))
