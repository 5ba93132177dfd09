"""Sets of positive numbers kept as ranges: UIDs, sequence numbers, change-log rows.

Text form as in IMAP (RFC 9051 `sequence-set` without `*`): "1:3,7". A set of 100,000 neighbours costs one range.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class NumberSet:
    """An immutable set of integers >= 1, as sorted, disjoint, non-touching inclusive ranges."""

    __slots__ = ("ranges",)

    ranges: tuple[tuple[int, int], ...]

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """`ranges` in any order, overlapping or not; (high, low) is taken as (low, high)."""
        merged: list[tuple[int, int]] = []
        for low, high in sorted((min(r), max(r)) for r in ranges):
            if merged and low <= merged[-1][1] + 1:
                if high > merged[-1][1]:
                    merged[-1] = (merged[-1][0], high)
            else:
                merged.append((low, high))
        self.ranges = tuple(merged)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "NumberSet":
        return cls((n, n) for n in numbers)

    @classmethod
    def of_sorted(cls, numbers: Iterable[int]) -> "NumberSet":
        """As `of`, for numbers that already rise strictly; linear."""
        ranges: list[tuple[int, int]] = []
        low = high = -1
        for n in numbers:
            if n == high + 1 and low >= 0:
                high = n
            else:
                if low >= 0:
                    ranges.append((low, high))
                low = high = n
        if low >= 0:
            ranges.append((low, high))
        made = cls()
        made.ranges = tuple(ranges)
        return made

    @classmethod
    def parse(cls, text: str) -> "NumberSet":
        """Raises ValueError on anything but "n" and "n:m" joined by commas."""
        if not text:
            return cls()
        ranges = []
        for part in text.split(","):
            low, colon, high = part.partition(":")
            if not low.isascii() or not low.isdigit() or (colon and not (high.isascii() and high.isdigit())):
                raise ValueError(f"not a number set: {text[:80]!r}")
            ranges.append((int(low), int(high) if colon else int(low)))
        return cls(ranges)

    def __str__(self) -> str:
        return ",".join(str(low) if low == high else f"{low}:{high}" for low, high in self.ranges)

    def __repr__(self) -> str:
        return f"NumberSet({str(self)!r})"

    def __iter__(self) -> Iterator[int]:
        for low, high in self.ranges:
            yield from range(low, high + 1)

    def __len__(self) -> int:
        return sum(high - low + 1 for low, high in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        index = bisect_right(self.ranges, (number, 1 << 63)) - 1
        return index >= 0 and self.ranges[index][0] <= number <= self.ranges[index][1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NumberSet) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __or__(self, other: "NumberSet") -> "NumberSet":
        return NumberSet((*self.ranges, *other.ranges))

    def __and__(self, other: "NumberSet") -> "NumberSet":
        found: list[tuple[int, int]] = []
        mine, theirs = self.ranges, other.ranges
        i = j = 0
        while i < len(mine) and j < len(theirs):
            low, high = max(mine[i][0], theirs[j][0]), min(mine[i][1], theirs[j][1])
            if low <= high:
                found.append((low, high))
            if mine[i][1] < theirs[j][1]:
                i += 1
            else:
                j += 1
        return NumberSet(found)

    def __sub__(self, other: "NumberSet") -> "NumberSet":
        left: list[tuple[int, int]] = []
        cuts, j = other.ranges, 0
        for low, high in self.ranges:
            while j < len(cuts) and cuts[j][1] < low:
                j += 1
            k = j
            while k < len(cuts) and cuts[k][0] <= high:
                if cuts[k][0] > low:
                    left.append((low, cuts[k][0] - 1))
                low = cuts[k][1] + 1
                k += 1
            if low <= high:
                left.append((low, high))
        return NumberSet(left)

    @property
    def least(self) -> int:
        """The smallest member; raises IndexError when empty."""
        return self.ranges[0][0]

    @property
    def greatest(self) -> int:
        """The largest member; raises IndexError when empty."""
        return self.ranges[-1][1]
