"""Header blocks as octets: where they end, their fields in order, single values. Nothing is copied until asked for.

RFC 5322 section 2.2, read liberally: lines may end in a lone LF, a space may stand before the colon, a line that is
no field is passed over. Values stay raw; `unfold` and `encoded_words` make them readable.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

VALUE_LIMIT = 1 << 20  # octets of a folded value looked at
HEADER_LIMIT = 512 << 10  # octets of a header block in which single fields are looked for: one step of the matcher

_FIELD = re.compile(rb"^([!-9;-~]{1,998}+)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)\n?", re.MULTILINE)


class Field(NamedTuple):
    """One field: `name` as written, and offsets into the data of its first octet, its raw value and its end."""

    name: bytes
    start: int
    value: int
    end: int


def body_start(data: bytes, start: int = 0, end: int | None = None) -> int:
    """Where the body begins: after the first empty line, or `end` when there is none."""
    stop = len(data) if end is None else end
    if data.startswith(b"\r\n", start, stop):
        return start + 2
    if data.startswith(b"\n", start, stop):
        return start + 1
    window = 4096
    while True:  # in steps: of the two ends, the one that never comes is not looked for in the whole body
        reach = min(start + window, stop)
        crlf = data.find(b"\n\r\n", start, reach)
        lf = data.find(b"\n\n", start, crlf if crlf >= 0 else reach)
        if lf >= 0:
            return lf + 2
        if crlf >= 0:
            return crlf + 3
        if reach == stop:
            return stop
        start, window = reach - 2, window * 4


def fields(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields of a header block, in order. `end` is best `body_start`."""
    stop = body_start(data, start) if end is None else end
    for found in _FIELD.finditer(data, start, stop):
        yield Field(found[1], found.start(), found.start(2), found.end())


def unfold(value: bytes) -> bytes:
    """A raw value on one line, without the space around it (RFC 5322 section 2.2.3)."""
    if b"\n" in value:
        value = value[:VALUE_LIMIT].replace(b"\r\n", b"").replace(b"\n", b"")
    return value.strip(b" \t\r")


@lru_cache(256)
def _finder(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    choice = b"|".join(re.escape(name) for name in names)
    return re.compile(rb"^(%b)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)" % choice, re.MULTILINE | re.IGNORECASE)


def first_values(data: bytes, names: tuple[bytes, ...], start: int = 0, end: int | None = None) -> dict[bytes, bytes]:
    """The unfolded value of the first field of each of `names` (in lower case) that occurs.

    Meant for fixed sets of names: the matcher for a set is kept.
    """
    stop = min(body_start(data, start) if end is None else end, start + HEADER_LIMIT)
    found: dict[bytes, bytes] = {}
    for match in _finder(names).finditer(data, start, stop):
        name = match[1].lower()
        if name not in found:
            found[name] = unfold(match[2])
    return found


def all_values(data: bytes, name: bytes, start: int = 0, end: int | None = None) -> list[bytes]:
    """The unfolded values of every field called `name` (in lower case), in order."""
    stop = body_start(data, start) if end is None else end
    return [unfold(data[f.value : f.end]) for f in fields(data, start, stop) if f.name.lower() == name]


def select_fields(
    data: bytes, names: Iterable[bytes], start: int = 0, end: int | None = None, *, exclude: bool = False
) -> bytes:
    """The fields called one of `names` (lower case), or all others, as they stand, and an empty line.

    This is HEADER.FIELDS and HEADER.FIELDS.NOT of RFC 9051 section 6.4.5.
    """
    stop = body_start(data, start) if end is None else end
    wanted = frozenset(names)
    parts = [data[f.start : f.end] for f in fields(data, start, stop) if (f.name.lower() in wanted) is not exclude]
    if parts and not parts[-1].endswith(b"\n"):
        parts.append(b"\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)
