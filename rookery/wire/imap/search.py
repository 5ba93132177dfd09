"""SEARCH keys as a tree (RFC 9051 section 6.4.4; RFC 7162 MODSEQ; RFC 5032 WITHIN; RFC 8474; RFC 8514).

Values only: evaluating a key against messages is the session's work. Text is decoded from the command's charset.
"""

from datetime import date
from enum import Enum
from typing import TypeAlias

import msgspec

from rookery.wire.imap.sequence import SequenceSet


class All(msgspec.Struct, frozen=True):
    """Every message."""


class And(msgspec.Struct, frozen=True):
    keys: tuple["SearchKey", ...]


class Or(msgspec.Struct, frozen=True):
    left: "SearchKey"
    right: "SearchKey"


class Not(msgspec.Struct, frozen=True):
    key: "SearchKey"


class HasFlag(msgspec.Struct, frozen=True):
    r"""`SEEN`, `UNSEEN`, `KEYWORD x`...: `flag` is `\Seen` or a keyword as written; `present`: wanted so."""

    flag: str
    present: bool


class Recent(msgspec.Struct, frozen=True):
    r"""`RECENT` (`OLD` is Not of it; `NEW` is And of it and not \Seen). IMAP4rev1 only."""


class InSequence(msgspec.Struct, frozen=True):
    """Message sequence numbers, or `$`."""

    numbers: SequenceSet


class InUids(msgspec.Struct, frozen=True):
    numbers: SequenceSet


class HeaderHas(msgspec.Struct, frozen=True):
    """`FROM`, `TO`, `CC`, `BCC`, `SUBJECT`, `HEADER name text`. `name` is lower case; empty text: the field exists."""

    name: str
    text: str


class BodyHas(msgspec.Struct, frozen=True):
    text: str


class TextHas(msgspec.Struct, frozen=True):
    """Header or body."""

    text: str


class Moment(Enum):
    """Which date of a message."""

    INTERNAL = "INTERNALDATE"
    SENT = "Date"
    SAVED = "SAVEDATE"


class Relation(Enum):
    BEFORE = "BEFORE"
    ON = "ON"
    SINCE = "SINCE"


class Dated(msgspec.Struct, frozen=True):
    """`BEFORE`, `SENTON`, ... against the date as written in the message, its time and zone disregarded."""

    moment: Moment
    relation: Relation
    day: date


class Aged(msgspec.Struct, frozen=True):
    """`OLDER n` and `YOUNGER n` (RFC 5032): seconds of age of the internal date."""

    seconds: int
    younger: bool


class SaveDateSupported(msgspec.Struct, frozen=True):
    """`SAVEDATESUPPORTED` (RFC 8514)."""


class Larger(msgspec.Struct, frozen=True):
    octets: int


class Smaller(msgspec.Struct, frozen=True):
    octets: int


class ModifiedSince(msgspec.Struct, frozen=True):
    """`MODSEQ n`: mod-sequence at least n (RFC 7162 3.1.5). An entry name is read and, as allowed, disregarded."""

    modseq: int


class HasEmailId(msgspec.Struct, frozen=True):
    id: str


class HasThreadId(msgspec.Struct, frozen=True):
    id: str


SearchKey: TypeAlias = (
    All
    | And
    | Or
    | Not
    | HasFlag
    | Recent
    | InSequence
    | InUids
    | HeaderHas
    | BodyHas
    | TextHas
    | Dated
    | Aged
    | SaveDateSupported
    | Larger
    | Smaller
    | ModifiedSince
    | HasEmailId
    | HasThreadId
)


class SearchReturn(Enum):
    """Result options of `RETURN (...)` (RFC 4731, RFC 5182)."""

    MIN = "MIN"
    MAX = "MAX"
    ALL = "ALL"
    COUNT = "COUNT"
    SAVE = "SAVE"
