"""Replies of a server: RFC 5321 section 4.2, enhanced codes by RFC 2034 and 3463. Bounded in lines and octets."""

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

LINE_LIMIT = 2048  # octets; RFC 5321 section 4.5.3.1.5 says 512, some say more than that
LINES_LIMIT = 128  # of one reply
TEXT_LIMIT = 4096  # characters of a reply that are kept

_USUAL = re.compile(rb"([2345][0-9]{2}) ([ -~]{0,100})\r")
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")


class Reply(msgspec.Struct, frozen=True):
    """`text`: lines joined by "\\n", printable, without code and enhanced code. `enhanced`: "" if there was none."""

    code: int
    enhanced: str = ""
    text: str = ""

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text.replace("\n", " ")) if part)


class BadReply(Exception):
    """What came is not SMTP, or beyond the limits; says what in plain words."""


class ReplyReader:
    """Octets in, whole replies out. After BadReply it is of no use."""

    __slots__ = ("_code", "_lines", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        self._code = 0
        self._lines: list[bytes] = []

    def receive(self, data: bytes) -> list[Reply]:
        """Raises BadReply. Replies before the bad one are lost with it: the connection is, too."""
        lines = (self._tail + data if self._tail else data).split(b"\n")
        self._tail = lines.pop()
        if len(self._tail) > LINE_LIMIT:
            raise BadReply(f"a reply line of more than {LINE_LIMIT} octets")
        return [reply for line in lines if (reply := self._line(line)) is not None]

    def leftover(self) -> bytes:
        return self._tail

    @property
    def idle(self) -> bool:
        """True between replies."""
        return not self._tail and not self._lines

    def _line(self, line: bytes) -> Reply | None:
        if not self._lines and (known := _usual(line)) is not None:
            return known
        if line.endswith(b"\r"):
            line = line[:-1]
        digits, separator = line[:3], line[3:4]
        # RFC 5321 section 4.2: Reply-code = %x32-35 %x30-35 %x30-39; the middle digit is not insisted upon
        if len(line) > LINE_LIMIT or len(digits) != 3 or not digits.isdigit() or digits[0] not in b"2345":
            raise BadReply("a line that is no reply" if len(line) <= LINE_LIMIT else "a reply line that is too long")
        code = int(digits)
        if self._lines and code != self._code:
            raise BadReply("a reply whose lines have different codes")
        if separator == b"-":
            if len(self._lines) >= LINES_LIMIT:
                raise BadReply(f"a reply of more than {LINES_LIMIT} lines")
            self._code = code
            self._lines.append(line[4:])
            return None
        if separator not in (b" ", b""):
            raise BadReply("a line that is no reply")
        if not self._lines:
            return make_reply(code, (line[4:],))
        lines, self._lines = [*self._lines, line[4:]], []
        return make_reply(code, lines)


@lru_cache(maxsize=256)
def _usual(line: bytes) -> Reply | None:
    """What servers say all the time, read once; None: to be read with all care."""
    found = _USUAL.fullmatch(line)
    return None if found is None else make_reply(int(found[1]), (found[2],))


def make_reply(code: int, lines: Sequence[bytes]) -> Reply:
    texts = []
    enhanced = ""
    for line in lines:
        text = _printable(line)
        found = _ENHANCED.match(text)
        if found is not None and found[1][0] == str(code)[0]:
            enhanced = enhanced or found[1]
            text = text[found.end() :]
        texts.append(text)
    return Reply(code, enhanced, "\n".join(texts)[:TEXT_LIMIT])


def _printable(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
