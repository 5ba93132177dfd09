"""What a FETCH asks for (RFC 9051 section 6.4.5, RFC 3516 BINARY, RFC 7162 MODSEQ, RFC 8474, RFC 8514).

Macros (ALL, FAST, FULL) are already replaced by their items. Names that are answered under what the client wrote
carry that name in `label`, ready to be sent.
"""

from enum import Enum
from typing import TypeAlias

import msgspec


class Attribute(Enum):
    """Items without parameters; the value is the name in the response."""

    FLAGS = b"FLAGS"
    UID = b"UID"
    INTERNALDATE = b"INTERNALDATE"
    SIZE = b"RFC822.SIZE"
    ENVELOPE = b"ENVELOPE"
    BODY = b"BODY"
    BODYSTRUCTURE = b"BODYSTRUCTURE"
    MODSEQ = b"MODSEQ"
    SAVEDATE = b"SAVEDATE"
    EMAILID = b"EMAILID"
    THREADID = b"THREADID"


class SectionText(Enum):
    """The last word of a section."""

    WHOLE = ""  # BODY[], BODY[1.2]
    HEADER = "HEADER"
    HEADER_FIELDS = "HEADER.FIELDS"
    HEADER_FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"


class Section(msgspec.Struct, frozen=True):
    """`part` counts from 1, () is the message itself. `fields` are header names in lower case, for HEADER.FIELDS*."""

    part: tuple[int, ...] = ()
    text: SectionText = SectionText.WHOLE
    fields: tuple[bytes, ...] = ()


class FetchSection(msgspec.Struct, frozen=True):
    r"""`BODY[...]<...>`, `BODY.PEEK[...]`, `RFC822`, `RFC822.HEADER`, `RFC822.TEXT`.

    `label` is the response name with `<start>` when partial. Not `peek`: the fetch sets \Seen.
    `partial` is (first octet, at most so many octets).
    """

    section: Section
    peek: bool
    partial: tuple[int, int] | None
    label: bytes


class FetchBinary(msgspec.Struct, frozen=True):
    """`BINARY[1.2]<...>`: a part's content without its transfer encoding (RFC 3516)."""

    part: tuple[int, ...]
    peek: bool
    partial: tuple[int, int] | None
    label: bytes


class FetchBinarySize(msgspec.Struct, frozen=True):
    part: tuple[int, ...]
    label: bytes


FetchItem: TypeAlias = Attribute | FetchSection | FetchBinary | FetchBinarySize
