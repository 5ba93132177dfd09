"""Address lists of message headers (RFC 5322 section 3.4 with section 4.4), read as mail is, never failing.

Values are octets as written, without quotes and escapes; encoded words stay encoded (the ENVELOPE wants them so).
What lacks a domain or a mailbox gets the placeholder that Dovecot gives it.
"""

import re
from typing import NamedTuple

ADDRESS_LIMIT = 10_000  # addresses of one field
TEXT_LIMIT = 256 << 10  # octets of one field looked at
MISSING_DOMAIN = b"MISSING_DOMAIN"
MISSING_MAILBOX = b"MISSING_MAILBOX"


class Address(NamedTuple):
    """As in an ENVELOPE (RFC 9051 section 7.5.2). A group starts with (None, None, name, None), ends with all None."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None

    @property
    def is_group_mark(self) -> bool:
        return self.host is None

    @property
    def spec(self) -> bytes:
        """`mailbox@host`; b"" for the marks of a group."""
        return b"" if self.mailbox is None or self.host is None else b"%b@%b" % (self.mailbox, self.host)


GROUP_END = Address(None, None, None, None)

_SIMPLE = re.compile(
    rb"""(?:"([^"\\\r\n]*)"|([^\s()<>@,:;\\".\[\]]+(?:[ ][^\s()<>@,:;\\".\[\]]+)*))?[ ]?"""
    rb"""<([^\s()<>@,:;\\"\[\]]+)@([^\s()<>@,:;\\"\[\]]+)>"""
)
_BARE = re.compile(rb"""([^\s()<>@,:;\\"\[\]]+)@([^\s()<>@,:;\\"\[\]]+)""")
_TOKEN = re.compile(
    rb"""(?P<space>[\s\x00]+)|(?P<quoted>"(?:[^"\\]|\\.)*+"?)|(?P<literal>\[[^\]]*+\]?)|(?P<special>[()<>@,:;.\]\\])"""
    rb"""|(?P<atom>[^\s\x00"\[()<>@,:;.\]\\]+)""",
    re.DOTALL,
)
_COMMENT_STEP = re.compile(rb"[()\\]")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def parse_addresses(value: bytes, limit: int = ADDRESS_LIMIT) -> list[Address]:
    """The addresses of an unfolded field value, in order, at most `limit` of them."""
    if not value:
        return []
    value = value[:TEXT_LIMIT]
    found = _SIMPLE.fullmatch(value)
    if found is not None:
        return [Address(found[1] or found[2] or None, None, found[3], found[4])]
    found = _BARE.fullmatch(value)
    if found is not None:
        return [Address(None, None, found[1], found[2])]
    return _List(value, limit).read()


def _unquote(text: bytes) -> bytes:
    text = text[1:-1] if len(text) > 1 and text.endswith(b'"') else text[1:]
    return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text


def _without_space_at_dots(words: list[bytes]) -> list[bytes]:
    """`john . doe` before "@" is john.doe (RFC 5322 section 4.4, obs-local-part)."""
    if b"." not in words:
        return words
    around = [b"", *words, b""]
    return [
        w
        for before, w, after in zip(around, words, around[2:], strict=False)
        if w != b" " or b"." not in (before, after)
    ]


class _List:
    """One field being read. The words so far are a display name until "@" or the end says otherwise."""

    __slots__ = ("addresses", "comment", "host", "in_angle", "in_group", "limit", "name", "route", "spaced", "value",
                 "words")  # fmt: skip

    def __init__(self, value: bytes, limit: int) -> None:
        self.value = value
        self.limit = limit
        self.addresses: list[Address] = []
        self.in_group = False
        self._clear()

    def _clear(self) -> None:
        self.words: list[bytes] = []  # of the phrase or the mailbox, or of the host once there was an "@"
        self.spaced = False  # space before the next word
        self.name: bytes | None = None
        self.route: list[bytes] | None = None
        self.comment: bytes | None = None
        self.host: list[bytes] | None = None
        self.in_angle = False

    def read(self) -> list[Address]:
        value, pos = self.value, 0
        while pos < len(value) and len(self.addresses) < self.limit:
            token = _TOKEN.match(value, pos)
            if token is None:
                pos += 1
                continue
            pos = token.end()
            kind = token.lastgroup
            if kind == "space":
                self.spaced = True
            elif kind == "quoted":
                self._word(_unquote(token[0]))
            elif kind == "special":
                pos = self._special(token[0], pos)
            else:
                self._word(token[0])
        self._finish()
        if self.in_group:
            self.addresses.append(GROUP_END)
        return self.addresses

    def _word(self, word: bytes) -> None:
        if self.host is not None:
            self.host.append(word)
        else:
            if self.spaced and self.words and not self.in_angle:
                self.words.append(b" ")
            self.words.append(word)
        self.spaced = False

    def _special(self, special: bytes, pos: int) -> int:
        if special == b"(":
            return self._read_comment(pos)
        if special == b",":
            if self.in_angle and self.host is not None and not self.words:  # between the domains of a route
                self._route(b",")
                self.host = None
            else:
                self._finish()
        elif special == b"<":
            self.name = b"".join(self.words) if self.words else self.name
            self.words, self.host, self.in_angle = [], None, True
        elif special == b">":
            self.in_angle = False
        elif special == b"@":
            self.words = _without_space_at_dots(self.words)
            self.host = []
        elif special == b":":
            self._colon()
        elif special == b";":
            self._finish()
            if self.in_group:
                self.addresses.append(GROUP_END)
                self.in_group = False
        elif special == b".":
            self._word(b".")
        return pos

    def _colon(self) -> None:
        if self.in_angle:
            if self.host is not None and not self.words:  # the end of a route
                self._route()
                self.host = None
        elif not self.in_group:
            self.addresses.append(Address(None, None, b"".join(self.words), None))
            self.in_group = True
            self._clear()

    def _route(self, *mark: bytes) -> None:
        """One more domain of a source route."""
        if self.route is None:
            self.route = []
        self.route += (b"@", *(self.host or ()), *mark)

    def _read_comment(self, pos: int) -> int:
        start, depth = pos, 1
        value = self.value
        while depth:
            step = _COMMENT_STEP.search(value, pos)
            if step is None:
                pos = len(value)
                break
            pos = step.end()
            if step[0] == b"(":
                depth += 1
            elif step[0] == b")":
                depth -= 1
            else:
                pos += 1
        end = pos - 1 if not depth else pos
        self.comment = _ESCAPED.sub(rb"\1", value[start:end]).strip() or self.comment
        self.spaced = True
        return pos

    def _finish(self) -> None:
        """The end of one address."""
        if self.words or self.host is not None or self.name is not None:
            name = self.name if self.name is not None else self.comment
            host = b"".join(self.host) if self.host else b""
            mailbox = b"".join(self.words)
            self.addresses.append(
                Address(
                    name or None,
                    b"".join(self.route) if self.route else None,
                    mailbox or MISSING_MAILBOX,
                    host or MISSING_DOMAIN,
                )
            )
        self._clear()
