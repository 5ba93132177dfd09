"""Announcements of literals at the ends of lines, and reading past those of a command that was refused (RFC 9051
section 4.3, RFC 7888).
"""

import re
from enum import Enum
from typing import NamedTuple

_ANNOUNCEMENT = re.compile(rb"~?\{([0-9]{1,20})(\+?)\}\Z")
_LENGTH = 32  # octets in which one fits


class Announcement(NamedTuple):
    """A literal of `size` octets follows; `synchronizing`: once it was asked for. `start`: where this begins."""

    size: int
    synchronizing: bool
    start: int


def announcement(buffer: bytearray, line: int, end: int) -> Announcement | None:
    """What the line that begins at `line`, and whose CRLF begins at `end`, announces."""
    found = _ANNOUNCEMENT.search(buffer, max(line, end - _LENGTH), end)
    return None if found is None else Announcement(int(found[1]), not found[2], found.start())


class Past(Enum):
    """How far reading past a command has come."""

    MORE = 1  # octets are needed
    DONE = 2  # the next command starts here
    TOO_MUCH = 3


class Skipper:
    """Reads past the rest of a refused command: octets nobody wants, a line, and the literals that it announces."""

    __slots__ = ("_left", "_skipped")

    def __init__(self, left: int = 0, skipped: int = 0) -> None:
        """`left`: octets before the next line. `skipped`: what counts already towards the limit."""
        self._left = left
        self._skipped = skipped

    def read(self, buffer: bytearray, limit: int) -> Past:
        """Takes from the buffer what is skipped, at most `limit` octets in all."""
        while True:
            gone = min(self._left, len(buffer))
            del buffer[:gone]
            self._left -= gone
            if self._left:
                return Past.MORE
            end = buffer.find(b"\n")
            used = end + 1 if end >= 0 else max(0, len(buffer) - _LENGTH)
            literal = announcement(buffer, 0, end - 1) if end > 3 else None
            size = literal.size if literal is not None and not literal.synchronizing else 0
            self._skipped += used + size
            if self._skipped > limit:
                return Past.TOO_MUCH
            del buffer[:used]
            if end < 0:
                return Past.MORE
            if not size:
                return Past.DONE
            self._left = size
