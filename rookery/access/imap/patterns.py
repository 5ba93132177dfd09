"""Mailbox name patterns of LIST and LSUB (RFC 9051 section 6.3.9): `*` is anything, `%` anything within one level.

A pattern is chunks between stars, and a chunk is literals between percent signs. Each chunk is put at its earliest end:
what follows a star cannot do better with a later one. Within a chunk each literal stands at its first place behind the
one before: a literal with a separator in it has no other (it must cover the next separator of the name), and for one
without a later place on the same level leads nowhere else. When a separator comes in between, the chunk moves behind
it. So a name is searched at most once for each of its levels, whatever `%*%*%*%*x` is made of, and searching is
`str.find`; how often that is called is counted, and a command may call it `STEP_LIMIT` times.
"""

import re
from collections.abc import Iterable, Iterator

from rookery.base.errors import Cause, RookeryError
from rookery.storage.names import INBOX_NAME, canonical
from rookery.storage.values import SEPARATOR

_RUN = re.compile(r"[*%]{2,}")
PATTERN_LIMIT = 4000  # characters of reference and pattern together; longer ones match nothing
STEP_LIMIT = 5_000_000  # searches of one command: about two seconds; 50 patterns on 10,000 names take a tenth of it
SLICE_STEPS = 10_000  # searches between two turns, some milliseconds


class Patterns:
    """The patterns of one command, each understood after `reference`. `steps`: searches made so far."""

    __slots__ = ("_exact", "_folded", "_wild", "steps")

    def __init__(self, reference: str, patterns: Iterable[str]) -> None:
        whole = {canonical(pattern) for pattern in map(reference.__add__, patterns) if len(pattern) <= PATTERN_LIMIT}
        wild = [pattern for pattern in whole if "*" in pattern or "%" in pattern]
        self._exact = whole.difference(wild)
        self._wild = [_chunks(pattern) for pattern in wild]
        self._folded = [_chunks(pattern.upper()) for pattern in wild]
        self.steps = 0

    def __len__(self) -> int:
        return len(self._exact) + len(self._wild)

    def matches(self, name: str) -> bool:
        """Whether any of the patterns does."""
        self.steps += 1
        if name in self._exact or any(self._fits(name, chunks) for chunks in self._wild):
            return True
        # The name INBOX has no case of its own: "iNb%" finds it.
        return name == INBOX_NAME and any(self._fits(name, chunks) for chunks in self._folded)

    def some(self, names: Iterator[str]) -> tuple[list[str], bool]:
        """Of the next of `names` those that match, and whether there may be more; after `SLICE_STEPS` it pauses.

        Raises RookeryError (TOO_MANY) when the command has taken more than its share.
        """
        if self.steps > STEP_LIMIT:
            raise RookeryError(Cause.TOO_MANY, "wildcards for so many names, ask for fewer at a time")
        found: list[str] = []
        pause = self.steps + SLICE_STEPS
        for name in names:
            if self.matches(name):
                found.append(name)
            if self.steps >= pause:
                return found, True
        return found, False

    def _fits(self, name: str, chunks: list[list[str]]) -> bool:
        self.steps += 1
        if not name.startswith(chunks[0][0]) or not name.endswith(chunks[-1][-1]):
            return False
        last = len(chunks) - 1
        at = 0
        for place, chunk in enumerate(chunks):
            at = self._place(name, at, chunk, floats=place > 0, ends=place == last)
            if at < 0:
                return False
        return True

    def _place(self, name: str, at: int, chunk: list[str], *, floats: bool, ends: bool) -> int:
        """Where the earliest match of `chunk` from `at` on ends, -1 for none.

        It begins at `at` unless it `floats`, and covers the end of the name if it `ends`; that the name begins and ends
        with the outermost literals has been seen.
        """
        first, inner = chunk[0], len(chunk) - 1
        if ends and not inner:
            return len(name) if len(name) - len(first) >= at else -1
        while True:
            self.steps += 1
            start = name.find(first, at) if floats else at
            if start < 0:
                return -1
            end = start + len(first)
            for number in range(1, inner + 1):
                literal = chunk[number]
                self.steps += 1
                found = len(name) - len(literal) if ends and number == inner else name.find(literal, end)
                if found < end:
                    return -1  # nor from a later start
                if name.find(SEPARATOR, end, found) >= 0:
                    break
                end = found + len(literal)
            else:
                return end
            if not floats:
                return -1
            # The next start is the one whose first separator is another.
            at = name.find(SEPARATOR, start) + 1 - max(0, first.find(SEPARATOR))


def _chunks(pattern: str) -> list[list[str]]:
    """Between stars, between percent signs; of several wildcards in a row one says it all."""
    pattern = _RUN.sub(lambda run: "*" if "*" in run[0] else "%", pattern)
    return [chunk.split("%") for chunk in pattern.split("*")]
