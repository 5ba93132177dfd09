"""The arguments of SEARCH (RFC 9051 section 6.4.4): RETURN, CHARSET and the tree of keys.

Nesting and the number of keys are limited, so that neither this parser nor whoever walks the tree can be driven deep.
"""

import re
from collections.abc import Callable
from datetime import date

from rookery.formats.charset import codec_of
from rookery.formats.dates import parse_imap_date
from rookery.wire.imap import search as keys
from rookery.wire.imap.commands import Search
from rookery.wire.imap.scanner import NUMBER_32, NUMBER_63, Scanner, Wrong
from rookery.wire.imap.search import Moment, Relation, SearchKey, SearchReturn

DEPTH_LIMIT = 50  # nesting of NOT, OR and parentheses
KEY_LIMIT = 1000  # keys of one command
NEEDLE_LIMIT = 4096  # octets of one text looked for

_NAME = re.compile(rb"[A-Za-z]+")
_DATE = re.compile(rb'"([0-9A-Za-z-]{1,20})"|([0-9A-Za-z-]{1,20})')
_ALL = keys.All()


class _Keys:
    """One command's keys being read."""

    __slots__ = ("codec", "count", "scanner")

    def __init__(self, scanner: Scanner, codec: str) -> None:
        self.scanner = scanner
        self.codec = codec
        self.count = 0

    def conjunction(self, depth: int, close: bool) -> SearchKey:
        """Keys with spaces between, to the end of the command or to `)`."""
        found = [self.key(depth)]
        while not (self.scanner.accept(b")") if close else self.scanner.at_end):
            self.scanner.space()
            found.append(self.key(depth))
        return found[0] if len(found) == 1 else keys.And(tuple(found))

    def key(self, depth: int) -> SearchKey:
        scanner = self.scanner
        self.count += 1
        if self.count > KEY_LIMIT:
            raise Wrong(f"more than {KEY_LIMIT} search keys", scanner.pos)
        if depth > DEPTH_LIMIT:
            raise Wrong(f"search keys nested deeper than {DEPTH_LIMIT}", scanner.pos)
        if scanner.accept(b"("):
            return self.conjunction(depth + 1, True)
        start = scanner.pos
        found = _NAME.match(scanner.data, start)
        if found is None:
            return keys.InSequence(scanner.sequence())
        scanner.pos = found.end()
        name = found[0].upper()
        plain = _PLAIN.get(name)
        if plain is not None:
            return plain
        reader = _READERS.get(name)
        if reader is None:
            raise Wrong("no such search key", start)
        scanner.space()
        return reader(self, depth)

    # --- arguments

    def text(self) -> str:
        start = self.scanner.pos
        data = self.scanner.astring("a string to look for")
        if len(data) > NEEDLE_LIMIT:
            raise Wrong(f"a search text of more than {NEEDLE_LIMIT} octets", start)
        try:
            return data.decode(self.codec)
        except (UnicodeDecodeError, ValueError):
            raise Wrong("a string that is not in the charset of the search", start) from None

    def day(self) -> date:
        start = self.scanner.pos
        found = self.scanner.match(_DATE, "a date")
        try:
            return parse_imap_date(found[1] or found[2])
        except ValueError:
            raise Wrong("not a date: expected d-Mon-yyyy", start) from None

    # --- keys with arguments

    def either(self, depth: int) -> SearchKey:
        left = self.key(depth + 1)
        self.scanner.space()
        return keys.Or(left, self.key(depth + 1))

    def negation(self, depth: int) -> SearchKey:
        return keys.Not(self.key(depth + 1))

    def header(self, depth: int) -> SearchKey:
        start = self.scanner.pos
        name = self.scanner.astring("a header field name")
        if not name or not name.isascii() or b":" in name or b"\r" in name or b"\n" in name:
            raise Wrong("not a header field name", start)
        self.scanner.space()
        return keys.HeaderHas(name.decode("ascii").lower(), self.text())

    def keyword(self, present: bool) -> SearchKey:
        return keys.HasFlag(self.scanner.atom("a keyword").decode("ascii"), present)

    def modseq(self, depth: int) -> SearchKey:
        """`MODSEQ ["entry" (priv|shared|all)] n`, RFC 7162 section 3.1.5."""
        scanner = self.scanner
        if scanner.peek() == b'"':
            scanner.string()
            scanner.space()
            if scanner.word("priv, shared or all") not in ("PRIV", "SHARED", "ALL"):
                raise scanner.wrong("priv, shared or all")
            scanner.space()
        return keys.ModifiedSince(scanner.number(NUMBER_63, expected="a mod-sequence"))

    def interval(self, younger: bool) -> SearchKey:
        return keys.Aged(self.scanner.number(NUMBER_32, least=1, expected="an interval in seconds"), younger)


_Reader = Callable[[_Keys, int], SearchKey]


def _header_reader(name: str) -> _Reader:
    return lambda reader, depth: keys.HeaderHas(name, reader.text())


def _date_reader(moment: Moment, relation: Relation) -> _Reader:
    return lambda reader, depth: keys.Dated(moment, relation, reader.day())


def _flag(flag: str, present: bool = True) -> SearchKey:
    return keys.HasFlag(flag, present)


_PLAIN: dict[bytes, SearchKey] = {
    b"ALL": _ALL,
    b"ANSWERED": _flag("\\Answered"),
    b"DELETED": _flag("\\Deleted"),
    b"DRAFT": _flag("\\Draft"),
    b"FLAGGED": _flag("\\Flagged"),
    b"SEEN": _flag("\\Seen"),
    b"UNANSWERED": _flag("\\Answered", False),
    b"UNDELETED": _flag("\\Deleted", False),
    b"UNDRAFT": _flag("\\Draft", False),
    b"UNFLAGGED": _flag("\\Flagged", False),
    b"UNSEEN": _flag("\\Seen", False),
    b"RECENT": keys.Recent(),
    b"OLD": keys.Not(keys.Recent()),
    b"NEW": keys.And((keys.Recent(), _flag("\\Seen", False))),
    b"SAVEDATESUPPORTED": keys.SaveDateSupported(),
}
_READERS: dict[bytes, _Reader] = {
    b"OR": _Keys.either,
    b"NOT": _Keys.negation,
    b"HEADER": _Keys.header,
    b"MODSEQ": _Keys.modseq,
    b"KEYWORD": lambda reader, depth: reader.keyword(True),
    b"UNKEYWORD": lambda reader, depth: reader.keyword(False),
    b"BODY": lambda reader, depth: keys.BodyHas(reader.text()),
    b"TEXT": lambda reader, depth: keys.TextHas(reader.text()),
    b"UID": lambda reader, depth: keys.InUids(reader.scanner.sequence()),
    b"LARGER": lambda reader, depth: keys.Larger(reader.scanner.number(NUMBER_63, expected="a size")),
    b"SMALLER": lambda reader, depth: keys.Smaller(reader.scanner.number(NUMBER_63, expected="a size")),
    b"OLDER": lambda reader, depth: reader.interval(False),
    b"YOUNGER": lambda reader, depth: reader.interval(True),
    b"EMAILID": lambda reader, depth: keys.HasEmailId(reader.scanner.atom("an object id").decode("ascii")),
    b"THREADID": lambda reader, depth: keys.HasThreadId(reader.scanner.atom("an object id").decode("ascii")),
} | {
    name.upper().encode("ascii"): _header_reader(name) for name in ("from", "to", "cc", "bcc", "subject")
} | {
    f"{prefix}{relation.value}".encode("ascii"): _date_reader(moment, relation)
    for prefix, moment in (("", Moment.INTERNAL), ("SENT", Moment.SENT), ("SAVED", Moment.SAVED))
    for relation in Relation
}  # fmt: skip


def search(scanner: Scanner, uid: bool) -> Search:
    returns = _returns(scanner) if _word_is_next(scanner, b"RETURN ") else None
    charset, codec = None, "utf-8"  # unlabelled: US-ASCII by the letter, UTF-8 in practice and in IMAP4rev2
    if _word_is_next(scanner, b"CHARSET "):
        start = scanner.pos
        charset = scanner.astring("a charset").decode("ascii", "replace").upper()
        known = codec_of(charset)
        if known is None:
            raise Wrong("unknown charset", start, status="NO", code="BADCHARSET (UTF-8 US-ASCII)")
        codec = "ascii" if charset == "US-ASCII" else known
        scanner.space()
    key = _Keys(scanner, codec).conjunction(0, False)
    return Search(key, uid, returns, charset)


def _word_is_next(scanner: Scanner, word: bytes) -> bool:
    if scanner.data[scanner.pos : scanner.pos + len(word)].upper() != word:
        return False
    scanner.pos += len(word)
    return True


def _returns(scanner: Scanner) -> frozenset[SearchReturn]:
    scanner.expect(b"(")
    found: set[SearchReturn] = set()
    while not scanner.accept(b")"):
        if found:
            scanner.space()
        start = scanner.pos
        try:
            found.add(SearchReturn(scanner.word("a result option")))
        except ValueError:
            raise Wrong("no such result option", start) from None
    scanner.space()
    return frozenset(found or {SearchReturn.ALL})
