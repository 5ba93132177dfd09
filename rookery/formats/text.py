"""What a person reads in a message, for searching: decoded header fields, decoded bodies, and how they compare."""

import binascii
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from rookery.formats.charset import TEXT_LIMIT
from rookery.formats.charset import decode as decode_charset
from rookery.formats.encoded_words import decode_base64, decode_words
from rookery.formats.headers import all_values, fields, unfold
from rookery.formats.mime import Part

FOLD_CHARACTERS = 16 * 1024  # folded in one step: what the interpreter does not let others in between of
MARKS_LIMIT = 30  # combining marks in a row that are put in order (UAX #15 section 13, Stream-Safe Text Format)
_JOINER = "\u034f"  # COMBINING GRAPHEME JOINER: no mark moves past it

PLAIN_ENCODINGS = frozenset((b"7bit", b"8bit", b"binary", b""))


def fold_case(text: str) -> str:
    """The form in which texts are compared: case, and compatibility variants, disregarded (RFC 5051 in spirit)."""
    if text.isascii():
        return text.lower()
    if len(text) > FOLD_CHARACTERS:
        return "".join(_fold(piece) for piece in _cut(text))
    return _fold(text)


def holds(text: str, needle: str) -> bool:
    """Whether `needle`, already folded, is in `text`, which is folded piece by piece: some text grows 18-fold."""
    if len(text) <= FOLD_CHARACTERS:
        return needle in fold_case(text)
    tail = ""
    for piece in _cut(text):
        folded = tail + _fold(piece)
        if needle in folded:
            return True
        tail = folded[1 - len(needle) :] if len(needle) > 1 else ""
    return False


def _fold(text: str) -> str:
    text = _marks().sub(lambda run: run[0] + _JOINER, text)
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())


@lru_cache(1)
def _marks() -> re.Pattern[str]:
    """A run of combining marks that is as long as may be: ordering a longer one takes quadratic time."""
    combining = unicodedata.combining
    found = "".join(c for c in map(chr, range(0x300, 0x20000)) if combining(unicodedata.normalize("NFKD", c)[0]))
    return re.compile(f"[{re.escape(found)}]{{{MARKS_LIMIT}}}")


def _cut(text: str) -> Iterator[str]:
    """Pieces to be folded one by one: none begins with a mark, unless there are marks only."""
    start = 0
    while start < len(text):
        end = start + FOLD_CHARACTERS
        furthest = min(end + MARKS_LIMIT, len(text))
        while end < furthest and unicodedata.combining(text[end]):
            end += 1
        yield text[start:end]
        start = end


def decoded_header(data: bytes, name: bytes, start: int = 0, end: int | None = None) -> list[str]:
    """The values, as text, of every field called `name` (lower case)."""
    return [decode_words(value) for value in all_values(data, name, start, end)]


def header_text(data: bytes, start: int = 0, end: int | None = None) -> str:
    """A whole header block as text, a field a line, for SEARCH TEXT."""
    return "\n".join(
        f"{field.name.decode('ascii')}: {decode_words(unfold(data[field.value : field.end]))}"
        for field in fields(data, start, end)
    )


def decode_body(data: bytes, part: Part, limit: int | None = None) -> bytes:
    """A part's body without its transfer encoding. Raises ValueError when the encoding is not known."""
    end = part.end if limit is None else min(part.end, part.body_start + limit)
    body = data[part.body_start : end]
    if part.encoding in PLAIN_ENCODINGS:
        return body
    if part.encoding == b"base64":
        return decode_base64(body.partition(b"=")[0])
    if part.encoding == b"quoted-printable":
        return binascii.a2b_qp(body)
    raise ValueError("unknown transfer encoding")


def text_of(data: bytes, part: Part, limit: int = TEXT_LIMIT) -> str:
    """The text of a text/* part, "" of any other; at most `limit` octets are looked at."""
    if part.content_type.type != b"text":
        return ""
    try:
        body = decode_body(data, part, limit)
    except ValueError:
        body = data[part.body_start : min(part.end, part.body_start + limit)]
    charset = part.content_type.parameter(b"charset")
    return decode_charset(body, charset.decode("ascii", "replace") if charset else None, limit)


def walk(root: Part) -> Iterator[Part]:
    """Every part, outermost first, in order; not recursive."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        yield part
        waiting.extend(reversed(part.children))


def body_contains(data: bytes, root: Part, needle: str, limit: int = TEXT_LIMIT) -> bool:
    """SEARCH BODY: `needle`, already through `fold_case`, in the text of any part or the header of a message inside.

    Of all text together `limit` octets are looked at.
    """
    if not needle:
        return True
    for part in walk(root):
        if part.is_message and part.children:
            inner = part.children[0]
            if holds(header_text(data, inner.header_start, inner.body_start), needle):
                return True
        elif part.content_type.type == b"text" and limit > 0:
            if holds(text_of(data, part, limit), needle):
                return True
            limit -= part.size
    return False


def message_contains(data: bytes, root: Part, needle: str, limit: int = TEXT_LIMIT) -> bool:
    """SEARCH TEXT: as `body_contains`, or in the message's own header."""
    header = header_text(data, root.header_start, root.body_start)
    return holds(header, needle) or body_contains(data, root, needle, limit)
