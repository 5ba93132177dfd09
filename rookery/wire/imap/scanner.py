"""The tokens of a command (RFC 9051 section 9): atoms, strings, literals, mailbox names, flags, numbers.

A scanner walks over one whole command, its literals in place. Regular expressions do the walking; nothing here loops
per octet, and nothing nests.
"""

import re
from datetime import datetime

from rookery.formats import mailbox_utf7
from rookery.formats.dates import parse_imap_date_time
from rookery.wire.imap.sequence import SequenceSet, parse_sequence

FLAG_LIMIT = 200  # flags in one list
FLAG_LENGTH = 200  # octets of one keyword

_ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_ASTRING = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
_LIST_MAILBOX = re.compile(rb'[^\x00-\x20\x7f-\xff(){"\\]+')
_QUOTED = re.compile(rb'"([^"\\\r\n\x00]*+(?:\\["\\][^"\\\r\n\x00]*+)*+)"')
_LITERAL = re.compile(rb"(~?)\{([0-9]{1,20})\+?\}\r\n")
_NUMBER = re.compile(rb"[0-9]{1,20}")
_SEQUENCE = re.compile(rb"[0-9:*,]+|\$")
_FLAG = re.compile(rb'\\?[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)

SYSTEM_FLAG_NAMES = {
    flag.lower(): flag for flag in ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "\\Recent")
}
NUMBER_32 = (1 << 32) - 1
NUMBER_63 = (1 << 63) - 1


class Wrong(Exception):
    """The command breaks the grammar at `position`. `answer` goes to the client; it quotes nothing of the input."""

    def __init__(self, answer: str, position: int | None = None, *, status: str = "BAD", code: str = "") -> None:
        super().__init__(answer)
        self.answer = answer
        self.position = position
        self.status = status
        self.code = code


class Scanner:
    """`data` is the command after its tag and name, without the final line end; `pos` is the next octet to read."""

    __slots__ = ("data", "pos", "utf8")

    def __init__(self, data: bytes, pos: int = 0, *, utf8: bool = False) -> None:
        self.data = data
        self.pos = pos
        self.utf8 = utf8

    def wrong(self, expected: str) -> Wrong:
        return Wrong(f"expected {expected}", self.pos)

    # --- fixed text

    @property
    def at_end(self) -> bool:
        return self.pos >= len(self.data)

    def end(self) -> None:
        if self.pos < len(self.data):
            raise self.wrong("the end of the command")

    def peek(self) -> bytes:
        """The next octet, or b"" at the end."""
        return self.data[self.pos : self.pos + 1]

    def space(self) -> None:
        """Exactly one space, as the grammar says."""
        if not self.data.startswith(b" ", self.pos):
            raise self.wrong("a space")
        self.pos += 1

    def expect(self, text: bytes) -> None:
        if not self.data.startswith(text, self.pos):
            raise self.wrong(text.decode("ascii"))
        self.pos += len(text)

    def accept(self, text: bytes) -> bool:
        """Step over `text` if it is next; exact case."""
        if self.data.startswith(text, self.pos):
            self.pos += len(text)
            return True
        return False

    # --- words and numbers

    def match(self, pattern: re.Pattern[bytes], expected: str) -> re.Match[bytes]:
        found = pattern.match(self.data, self.pos)
        if found is None:
            raise self.wrong(expected)
        self.pos = found.end()
        return found

    def atom(self, expected: str = "an atom") -> bytes:
        return self.match(_ATOM, expected)[0]

    def word(self, expected: str = "a word") -> str:
        """An atom in upper case."""
        return self.match(_ATOM, expected)[0].decode("ascii").upper()

    def number(self, largest: int = NUMBER_32, *, least: int = 0, expected: str = "a number") -> int:
        start = self.pos
        value = int(self.match(_NUMBER, expected)[0])
        if not least <= value <= largest:
            raise Wrong(f"{expected} is out of range", start)
        return value

    def sequence(self) -> SequenceSet:
        start = self.pos
        text = self.match(_SEQUENCE, "a sequence set")[0]
        try:
            return parse_sequence(text)
        except ValueError as error:
            raise Wrong(str(error), start) from None

    # --- strings

    def string(self, expected: str = "a string") -> bytes:
        """Quoted or literal."""
        data = self.data
        found = _QUOTED.match(data, self.pos)
        if found is not None:
            self.pos = found.end()
            text = found[1]
            return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text
        found = _LITERAL.match(data, self.pos)
        if found is None or found[1]:
            raise self.wrong(expected)
        end = found.end() + int(found[2])
        if end > len(data):
            raise self.wrong(expected)
        text = data[found.end() : end]
        if b"\x00" in text:
            raise Wrong("a literal with a NUL octet", self.pos)
        self.pos = end
        return text

    def astring(self, expected: str = "a string") -> bytes:
        found = _ASTRING.match(self.data, self.pos)
        if found is None:
            return self.string(expected)
        self.pos = found.end()
        return found[0]

    def nstring(self, expected: str = "a string or NIL") -> bytes | None:
        if self.data[self.pos : self.pos + 3].upper() == b"NIL":
            self.pos += 3
            return None
        return self.string(expected)

    def text(self, data: bytes, start: int) -> str:
        """Octets of a string as UTF-8 text."""
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise Wrong("a string that is not UTF-8", start) from None

    # --- mailboxes and flags

    def mailbox(self, expected: str = "a mailbox name") -> str:
        start = self.pos
        name = self._name(self.astring(expected), start)
        return "INBOX" if len(name) == 5 and name.upper() == "INBOX" else name

    def list_pattern(self) -> str:
        """`list-mailbox`: a mailbox name in which `*` and `%` may stand unquoted."""
        start = self.pos
        found = _LIST_MAILBOX.match(self.data, start)
        if found is None:
            return self._name(self.string("a mailbox pattern"), start)
        self.pos = found.end()
        return self._name(found[0], start)

    def _name(self, data: bytes, start: int) -> str:
        if self.utf8:
            return self.text(data, start)
        try:
            return mailbox_utf7.decode(data)
        except ValueError as error:
            raise Wrong(f"the mailbox name is {error}", start, status="NO", code="CANNOT") from None

    def flag(self) -> str:
        start = self.pos
        flag = self.match(_FLAG, "a flag")[0].decode("ascii")
        if len(flag) > FLAG_LENGTH:
            raise Wrong(f"a flag of more than {FLAG_LENGTH} octets", start)
        if flag[0] != "\\":
            return flag
        known = SYSTEM_FLAG_NAMES.get(flag.lower())
        if known is None:
            raise Wrong("no such system flag", start)
        return known

    def flag_list(self) -> tuple[str, ...]:
        """`( ... )`, perhaps empty; repeated flags count once."""
        self.expect(b"(")
        if self.accept(b")"):
            return ()
        return self._flags(b")")

    def bare_flags(self) -> tuple[str, ...]:
        """Flags without parentheses, to the end of the command (STORE)."""
        return self._flags(b"")

    def _flags(self, close: bytes) -> tuple[str, ...]:
        flags = {self.flag(): None}
        while not (self.accept(close) if close else self.at_end):
            self.space()
            flags[self.flag()] = None
            if len(flags) > FLAG_LIMIT:
                raise Wrong(f"more than {FLAG_LIMIT} flags", self.pos)
        return tuple(flags)

    def date_time(self) -> datetime:
        start = self.pos
        found = self.match(_QUOTED, "a quoted date-time")
        try:
            return parse_imap_date_time(found[1])
        except ValueError as error:
            raise Wrong(f"{error}: expected dd-Mon-yyyy hh:mm:ss +zzzz", start) from None

    def literal_size(self) -> tuple[int, bool] | None:
        """The announcement of a message literal at the very end, as (octets, literal8); None when there is none."""
        found = _LITERAL.match(self.data, self.pos)
        if found is None or found.end() != len(self.data):
            return None
        self.pos = found.end()
        return int(found[2]), bool(found[1])
