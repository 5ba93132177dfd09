"""Mailbox name patterns of LIST and LSUB (RFC 9051 section 6.3.9): `*` is anything, `%` anything within one level.

A pattern is run as a bit-parallel automaton: one step for each character of the name, whatever the pattern is, so that
no `%*%*%*%*x` makes a server think for hours (a regular expression would).
"""

import re
from collections.abc import Callable, Iterable

from rookery.storage.names import INBOX_NAME, canonical
from rookery.storage.values import SEPARATOR

_RUN = re.compile(r"[*%]{2,}")
PATTERN_LIMIT = 4000  # characters of reference and pattern together; longer ones match nothing


def matcher(reference: str, patterns: Iterable[str]) -> Callable[[str], bool]:
    """A function that says whether a mailbox name matches any of `patterns`, each understood after `reference`."""
    tests = [_one(reference + pattern) for pattern in patterns]
    if len(tests) == 1:
        return tests[0]
    return lambda name: any(test(name) for test in tests)


def _one(pattern: str) -> Callable[[str], bool]:
    if len(pattern) > PATTERN_LIMIT:
        return lambda name: False
    pattern = canonical(pattern)
    if pattern == "*":
        return lambda name: True
    if pattern == "%":
        return lambda name: SEPARATOR not in name
    if "*" not in pattern and "%" not in pattern:
        return lambda name: name == pattern
    plain, folded = _Automaton(pattern), _Automaton(pattern.upper())
    # The name INBOX has no case of its own: "iNb%" finds it.
    return lambda name: plain.accepts(name) or (name == INBOX_NAME and folded.accepts(name))


class _Automaton:
    """Bit i of the state: the first i characters of the pattern have been matched (Shift-And)."""

    __slots__ = ("_any", "_final", "_level", "_masks", "_wild")

    def __init__(self, pattern: str) -> None:
        pattern = _RUN.sub(lambda run: "*" if "*" in run[0] else "%", pattern)
        self._masks: dict[str, int] = {}
        self._any = self._level = 0
        for place, character in enumerate(pattern):
            if character == "*":
                self._any |= 1 << place
            elif character == "%":
                self._level |= 1 << place
            else:
                self._masks[character] = self._masks.get(character, 0) | 1 << place
        self._wild = self._any | self._level
        self._final = 1 << len(pattern)

    def accepts(self, name: str) -> bool:
        masks, some, level, wild = self._masks, self._any, self._level, self._wild
        state = 1 | (1 & wild) << 1
        for character in name:
            stay = state & (some if character == SEPARATOR else some | level)
            state = (state & masks.get(character, 0)) << 1 | stay
            if not state:
                return False
            state |= (state & wild) << 1  # a wildcard may match nothing; no two stand side by side
        return bool(state & self._final)
