"""From the items of a FETCH to a plan: one template for the whole response line, and a column of values for each item.

A slice of messages is answered column by column and then formatted row by row, so that what costs Python time is
counted in items and slices, not in messages times items.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import lru_cache
from functools import partial as bind
from typing import TypeAlias

import msgspec

from rookery.access.imap.content import Content
from rookery.access.imap.derive import COMMON_FIELDS, Kind, field_selector, values
from rookery.access.imap.extents import Found, Partial, of_binary, of_message, of_section
from rookery.formats.dates import format_imap_date_time
from rookery.formats.mime import parse
from rookery.wire.imap.fetch import (
    Attribute,
    FetchBinary,
    FetchBinarySize,
    FetchItem,
    FetchSection,
    Section,
    SectionText,
)
from rookery.wire.imap.responses import literal, literal8
from rookery.wire.imap.sections import Tree, read_binary, read_section

Values: TypeAlias = Sequence[int] | Sequence[bytes]
Find: TypeAlias = Callable[[bytes, Tree, int], Found]


class Need(IntEnum):
    """What a column wants to have been read, each with all before it."""

    ROW = 0
    PRESENCE = 1
    DERIVED = 2
    RANGE = 3  # some octets of each message
    HEAD = 4  # the header, to look into it
    WHOLE = 5  # all octets, as they are
    BODY = 6  # the message, to look into it


class Column(msgspec.Struct, frozen=True):
    """`form`: what stands in the template, with one %d or %b for the value. `kind`: the derived data to prepare.

    Of a large message the value is not made but found, and sent as it is read: `find` is given the message and its
    tree, or nothing at all for a RANGE, and the message's size. `counts`: the value is how much was found. Not
    `spaced`: the value begins with the space before it, or is empty.
    """

    form: bytes
    values: Callable[[Content], Values]
    need: Need = Need.ROW
    kind: Kind | None = None
    find: Find | None = None
    counts: bool = False
    spaced: bool = True


class Plan(msgspec.Struct, frozen=True):
    r"""`seen`: this fetch sets \Seen. `kinds`: derived data to prepare before rendering. `bulk`: how many columns
    may be as long as the message. `parses`: some column looks into messages."""

    template: bytes
    columns: tuple[Column, ...]
    need: Need
    seen: bool
    kinds: frozenset[Kind]
    bulk: int
    parses: bool

    def render(self, content: Content) -> bytes:
        """The FETCH lines of all rows of `content`, whose presences were taken if they are needed."""
        columns = [column.values(content) for column in self.columns]
        template = self.template
        return b"".join([template % row for row in zip(content.rows.numbers, *columns, strict=True)])


def _uids(content: Content) -> Values:
    return content.rows.uids


def _modseqs(content: Content) -> Values:
    return content.rows.modseqs


def _flags(content: Content) -> Values:
    texts = content.texts
    return [texts[flags] for flags in content.flags()]


def _new_flags(content: Content) -> Values:
    r"""FLAGS of those messages that this fetch has made \Seen."""
    if not content.changed:
        return [b""] * len(content.rows)
    texts, changed = content.texts, content.changed
    return [
        b" FLAGS (%b)" % texts[flags] if uid in changed else b""
        for uid, flags in zip(content.rows.uids, content.flags(), strict=True)
    ]


def _received(content: Content) -> Values:
    return [format_imap_date_time(presence.received) for presence in content.presences]


def _saved(content: Content) -> Values:
    return [format_imap_date_time(presence.saved) for presence in content.presences]


def _sizes(content: Content) -> Values:
    return [presence.size for presence in content.presences]


def _emails(content: Content) -> Values:
    return [presence.email for presence in content.presences]


def _threads(content: Content) -> Values:
    return [presence.thread for presence in content.presences]


def _derived(form: bytes, kind: Kind) -> Column:
    return Column(form, lambda content: values(content, kind), Need.DERIVED, kind=kind)


_ATTRIBUTES: dict[Attribute, Column] = {
    Attribute.UID: Column(b"UID %d", _uids),
    Attribute.FLAGS: Column(b"FLAGS (%b)", _flags),
    Attribute.MODSEQ: Column(b"MODSEQ (%d)", _modseqs),
    Attribute.INTERNALDATE: Column(b"INTERNALDATE %b", _received, Need.PRESENCE),
    Attribute.SAVEDATE: Column(b"SAVEDATE %b", _saved, Need.PRESENCE),
    Attribute.SIZE: Column(b"RFC822.SIZE %d", _sizes, Need.PRESENCE),
    Attribute.EMAILID: Column(b"EMAILID (M%x)", _emails, Need.PRESENCE),
    Attribute.THREADID: Column(b"THREADID (T%x)", _threads, Need.PRESENCE),
    Attribute.ENVELOPE: _derived(b"ENVELOPE %b", Kind.ENVELOPE),
    Attribute.BODY: _derived(b"BODY %b", Kind.BODY),
    Attribute.BODYSTRUCTURE: _derived(b"BODYSTRUCTURE %b", Kind.BODYSTRUCTURE),
}
_WHOLE = Section()


def _section(item: FetchSection) -> Column:
    section, partial = item.section, item.partial
    form = _form(item.label, b"%b")
    if section == _WHOLE:
        return _message(form, partial)
    if section.text is SectionText.HEADER_FIELDS and not section.part and partial is None:
        select = field_selector(section.fields)
        if COMMON_FIELDS.issuperset(section.fields):
            return Column(
                form,
                lambda content: [literal(select(head)) for head in values(content, Kind.FIELDS)],
                Need.DERIVED,
                kind=Kind.FIELDS,
            )
        return Column(
            form,
            lambda content: [literal(select(head)) for head in content.heads()],
            Need.HEAD,
            find=lambda data, tree, size: select(data),
        )
    cut = bind(read_section, section=section, partial=partial)

    def find(data: bytes, tree: Tree, size: int) -> Found:
        return of_section(data, tree, section, partial)

    if not section.part and section.text is not SectionText.TEXT:
        return Column(
            form,
            lambda content: [_nstring(cut(head, bind(parse, head))) for head in content.heads()],
            Need.HEAD,
            find=find,
        )
    return Column(
        form, lambda content: [_nstring(cut(body, tree)) for body, tree in content.parsed()], Need.BODY, find=find
    )


def _message(form: bytes, partial: Partial) -> Column:
    def find(data: bytes, tree: Tree, size: int) -> Found:
        return of_message(size, partial)

    if partial is None:
        return Column(form, lambda content: [literal(body) for body in content.bodies()], Need.WHOLE, find=find)
    first, count = partial
    return Column(form, lambda content: [literal(part) for part in content.ranges(first, count)], Need.RANGE, find=find)


def _form(label: bytes, value: bytes) -> bytes:
    """A label may hold what a client wrote, even a percent sign."""
    return label.replace(b"%", b"%%") + b" " + value


def _nstring(data: bytes | None) -> bytes:
    return b"NIL" if data is None else literal(data)


def _binary_string(data: bytes | None) -> bytes:
    if data is None:
        return b"NIL"
    return literal8(data) if b"\0" in data else literal(data)


def _binary(item: FetchBinary) -> Column:
    part, partial = item.part, item.partial

    def decoded(content: Content) -> Values:
        found = (read_binary(body, tree, part, partial) for body, tree in content.parsed())
        return [_binary_string(data) for data in found]

    return Column(_form(item.label, b"%b"), decoded, Need.BODY, find=_find_binary(part, partial))


def _binary_size(item: FetchBinarySize) -> Column:
    part = item.part

    def sizes(content: Content) -> Values:
        return [len(read_binary(body, tree, part) or b"") for body, tree in content.parsed()]

    return Column(_form(item.label, b"%d"), sizes, Need.BODY, find=_find_binary(part, None), counts=True)


def _find_binary(part: tuple[int, ...], partial: Partial) -> Find:
    return lambda data, tree, size: of_binary(data, tree, part, partial)


def _column(item: FetchItem) -> Column:
    if isinstance(item, Attribute):
        return _ATTRIBUTES[item]
    if isinstance(item, FetchSection):
        return _section(item)
    if isinstance(item, FetchBinary):
        return _binary(item)
    return _binary_size(item)


@lru_cache(256)
def make_plan(items: tuple[FetchItem, ...]) -> Plan:
    """Clients ask the same things all day: plans are remembered by their items."""
    columns = [_column(item) for item in items]
    seen = any(isinstance(item, FetchSection | FetchBinary) and not item.peek for item in items)
    template = b"* %d FETCH (" + b" ".join(column.form for column in columns)
    if seen and Attribute.FLAGS not in items:
        columns.append(Column(b"%b", _new_flags, spaced=False))
        template += b"%b"
    kinds = frozenset(column.kind for column in columns if column.kind is not None)
    long = [column for column in columns if column.need >= Need.RANGE]
    return Plan(
        template + b")\r\n",
        tuple(columns),
        max(column.need for column in columns),
        seen,
        kinds,
        len(long),
        any(column.need in (Need.HEAD, Need.BODY) for column in long),
    )
