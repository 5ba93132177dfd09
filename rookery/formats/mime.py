"""The MIME tree of a message as offsets into it (RFC 2045, RFC 2046): nothing is copied, decoded or judged.

Linear in the size of the message: the work is counted, and where it runs out (nesting, parts, scanned octets) a part
is left whole. Broken messages are read as Dovecot reads them: the boundary of an enclosing part ends everything
inside, a missing end goes to the end, lines may end in a lone LF.
"""

import re
from functools import lru_cache

import msgspec

from rookery.formats.headers import body_start, first_values

_CONTENT = (
    b"content-type", b"content-transfer-encoding", b"content-id", b"content-description", b"content-disposition",
    b"content-language", b"content-location", b"content-md5",
)  # fmt: skip
_TOKEN = rb'[^\x00-\x20\x7f-\xff()<>@,;:\\"/\[\]?=]+'
_TYPE = re.compile(rb"\s*(%b)\s*/\s*(%b)" % (_TOKEN, _TOKEN))
_PARAMETER = re.compile(
    rb""";[\s;]*+([^\s()<>@,;:\\"/\[\]?=]+)\s*=\s*(?:"((?:[^"\\]|\\.)*+)"?|([^\s;"(]*))|;[\s;]*+|"(?:[^"\\]|\\.)*+"?|[^;"]+""",
    re.DOTALL,
)
# Quoted strings and escapes stay. An escape is stepped over as such, and an open comment goes to the end: a search that
# failed and began again at each parenthesis would take quadratic time.
_COMMENT = re.compile(rb'("(?:[^"\\]|\\.)*+"?|\\.)|\((?:[^()\\]|\\.)*+(?:\)|\\?\Z)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_LWSP = b" \t\r"

VALUE_LIMIT = 16384  # octets of one structured Content- field looked at
PARAMETER_LIMIT = 200
BOUNDARY_LIMIT = 1000  # octets; RFC 2046 allows 70
SCAN_FLOOR = 32 << 20  # octets that may be looked at in any message, however small
_MISS_COST = 2048  # octets charged for a line that only looked like a boundary


class Limits(msgspec.Struct, frozen=True):
    """`scan`: octets that may be looked at, as a multiple of the message's size."""

    depth: int = 100
    parts: int = 10_000
    scan: int = 10


DEFAULT_LIMITS = Limits()

Parameters = tuple[tuple[bytes, bytes], ...]


class ContentType(msgspec.Struct, frozen=True):
    """`type` and `subtype` in lower case; parameter names in lower case, values without quotes, otherwise raw."""

    type: bytes
    subtype: bytes
    parameters: Parameters = ()

    def parameter(self, name: bytes) -> bytes | None:
        for found, value in self.parameters:
            if found == name:
                return value
        return None


TEXT_PLAIN = ContentType(b"text", b"plain", ((b"charset", b"us-ascii"),))  # RFC 2045 section 5.2
MESSAGE = ContentType(b"message", b"rfc822")  # default inside multipart/digest
OCTETS = ContentType(b"application", b"octet-stream")


class Disposition(msgspec.Struct, frozen=True):
    kind: bytes
    parameters: Parameters = ()


class Part:
    """One part. Octets: header [header_start, body_start), body [body_start, end). `lines`: LFs in the body.

    `children`: the parts of a multipart, or the one message inside message/rfc822. `encoding` in lower case.
    Where a limit was hit, a multipart is called text/plain and a message application/octet-stream.
    """

    __slots__ = (
        "body_start", "children", "content_type", "description", "disposition", "encoding", "end", "header_start",
        "id", "language", "lines", "location", "md5",
    )  # fmt: skip

    def __init__(self, header_start: int, body: int, end: int) -> None:
        self.header_start = header_start
        self.body_start = body
        self.end = end
        self.lines = 0
        self.content_type = TEXT_PLAIN
        self.encoding = b"7bit"
        self.id: bytes | None = None
        self.description: bytes | None = None
        self.disposition: Disposition | None = None
        self.language: tuple[bytes, ...] = ()
        self.location: bytes | None = None
        self.md5: bytes | None = None
        self.children: list[Part] = []

    @property
    def is_multipart(self) -> bool:
        return self.content_type.type == b"multipart"

    @property
    def is_message(self) -> bool:
        kind = self.content_type
        return kind.type == b"message" and kind.subtype in (b"rfc822", b"global")

    @property
    def size(self) -> int:
        """Octets of the body, transfer encoding and all."""
        return self.end - self.body_start


def parse(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Part:
    """The tree of a whole message. Never raises."""
    return _Parser(data, limits).part(0, len(data), TEXT_PLAIN, 0)


def parse_content_type(value: bytes) -> ContentType | None:
    """An unfolded Content-Type, or None when it makes no sense."""
    return _content_type(value) if len(value) <= 256 else _content_type.__wrapped__(value[:VALUE_LIMIT])


@lru_cache(1024)
def _content_type(value: bytes) -> ContentType | None:
    value = _without_comments(value)
    found = _TYPE.match(value)
    if found is None:
        return None
    return ContentType(found[1].lower(), found[2].lower(), _parameters(value, found.end()))


def parse_disposition(value: bytes) -> Disposition | None:
    """An unfolded Content-Disposition (RFC 2183)."""
    value = _without_comments(value[:VALUE_LIMIT])
    kind = value.partition(b";")[0].strip()
    return Disposition(kind.lower(), _parameters(value, value.find(b";"))) if kind else None


def _without_comments(value: bytes) -> bytes:
    if b"(" not in value:
        return value
    return _COMMENT.sub(lambda match: match[1] or b" ", value)


def _parameters(value: bytes, pos: int) -> Parameters:
    if pos < 0:
        return ()
    found: list[tuple[bytes, bytes]] = []
    for match in _PARAMETER.finditer(value, pos):
        if match[1] is not None:
            text = match[2] if match[2] is not None else match[3]
            if b"\\" in text and match[2] is not None:
                text = _ESCAPED.sub(rb"\1", text)
            found.append((match[1].lower(), text))
            if len(found) >= PARAMETER_LIMIT:
                break
    return tuple(found)


class _Parser:
    """One message being read; `budget` is the octets that may still be scanned."""

    __slots__ = ("budget", "data", "limits", "parts")

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.parts = 0
        self.budget = max(limits.scan * len(data), SCAN_FLOOR)

    def part(self, start: int, end: int, default: ContentType, depth: int) -> Part:
        """Recursion is bounded by `limits.depth`."""
        data = self.data
        self.parts += 1
        body = body_start(data, start, end)
        part = Part(start, body, end)
        self._describe(part, first_values(data, _CONTENT, start, body), default)
        self.budget -= 2 * (body - start)
        kind = part.content_type.type
        room = depth < self.limits.depth and self.parts < self.limits.parts and self.budget > 0
        if kind == b"multipart":
            boundary = part.content_type.parameter(b"boundary")
            if not room:
                part.content_type = TEXT_PLAIN
            elif boundary and len(boundary) <= BOUNDARY_LIMIT:
                self._multipart(part, boundary.rstrip(b" \t"), depth)
        elif part.is_message:
            if room:
                self.budget -= end - body  # its lines will be counted
                part.children.append(self.part(body, end, TEXT_PLAIN, depth + 1))
            else:
                part.content_type = OCTETS
        if kind == b"text" or part.content_type.type in (b"text", b"message"):
            part.lines = data.count(b"\n", body, end)
        return part

    def _describe(self, part: Part, values: dict[bytes, bytes], default: ContentType) -> None:
        if not values:
            part.content_type = default
            return
        get = values.get
        value = get(b"content-type")
        part.content_type = (parse_content_type(value) if value else None) or default
        encoding = get(b"content-transfer-encoding")
        if encoding:
            part.encoding = _without_comments(encoding[:200]).strip().rstrip(b";").lower() or b"7bit"
        value = get(b"content-disposition")
        if value:
            part.disposition = parse_disposition(value)
        value = get(b"content-language")
        if value:
            words = _without_comments(value[:VALUE_LIMIT]).split(b",")
            part.language = tuple(word.strip() for word in words if word.strip())[:PARAMETER_LIMIT]
        part.id = get(b"content-id")
        part.description = get(b"content-description")
        part.location = get(b"content-location")
        part.md5 = get(b"content-md5")

    def _multipart(self, part: Part, boundary: bytes, depth: int) -> None:
        """Cut the body at its delimiter lines (RFC 2046 section 5.1.1)."""
        default = MESSAGE if part.content_type.subtype == b"digest" else TEXT_PLAIN
        end = part.end
        needle = b"\n--" + boundary
        self.budget -= end - part.body_start
        found = self._delimiter(needle, part.body_start - 1, end)
        while found is not None:
            _, start, closing = found
            if closing or self.parts >= self.limits.parts:
                return
            found = self._delimiter(needle, start - 1, end)
            stop = end if found is None else max(start, found[0])
            if self.parts + 1 >= self.limits.parts:
                stop = end  # the last part that may be has all the rest
            part.children.append(self.part(start, stop, default, depth + 1))

    def _delimiter(self, needle: bytes, pos: int, end: int) -> tuple[int, int, bool] | None:
        """The next delimiter line: where the content before it ends, where the line after it starts, if it closes."""
        data = self.data
        while self.budget > 0:
            at = data.find(needle, pos, end)
            if at < 0:
                return None
            after = at + len(needle)
            line_end = data.find(b"\n", after, end)
            stop = end if line_end < 0 else line_end
            next_line = end if line_end < 0 else line_end + 1
            closing = data.startswith(b"--", after, stop)
            if closing or not data[after:stop].strip(_LWSP):
                return at - 1 if data[at - 1] == 13 else at, next_line, closing
            self.budget -= _MISS_COST + stop - after
            pos = stop
        return None
