"""The arguments of FETCH and STORE (RFC 9051 sections 6.4.5 and 6.4.6).

Clients send the same few item lists all day, so lists without literals are remembered by their octets.
"""

import re
from functools import lru_cache

from rookery.wire.imap.commands import Fetch, Store, StoreMode
from rookery.wire.imap.fetch import (
    Attribute,
    FetchBinary,
    FetchBinarySize,
    FetchItem,
    FetchSection,
    Section,
    SectionText,
)
from rookery.wire.imap.scanner import NUMBER_63, Scanner, Wrong

ITEM_LIMIT = 200  # items of one FETCH
FIELD_LIMIT = 200  # names of one HEADER.FIELDS
PART_LIMIT = 100  # depth of a section number: 1.2.3...
_MEMO_LENGTH = 400  # octets of an argument worth remembering

_ITEM = re.compile(rb"[A-Za-z0-9.]+")
_PART = re.compile(rb"[1-9][0-9]{0,9}(?:\.[1-9][0-9]{0,9})*")
_SECTION_TEXT = re.compile(rb"[A-Za-z.]+")
_PARTIAL = re.compile(rb"<([0-9]{1,10})\.([0-9]{1,10})>")
_HOT_FETCH = re.compile(rb"([0-9:*,]+|\$) ([^{]*)\Z", re.DOTALL)

_ATTRIBUTES = {attribute.value: attribute for attribute in Attribute} | {b"INTERNALDATE": Attribute.INTERNALDATE}
_MACROS: dict[bytes, tuple[FetchItem, ...]] = {
    b"FAST": (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.SIZE),
    b"ALL": (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.SIZE, Attribute.ENVELOPE),
    b"FULL": (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.SIZE, Attribute.ENVELOPE, Attribute.BODY),
}
_RFC822: dict[bytes, FetchSection] = {
    b"RFC822": FetchSection(Section(), False, None, b"RFC822"),
    b"RFC822.HEADER": FetchSection(Section((), SectionText.HEADER), True, None, b"RFC822.HEADER"),
    b"RFC822.TEXT": FetchSection(Section((), SectionText.TEXT), False, None, b"RFC822.TEXT"),
}


class _Arguments:
    """Items and modifiers of a FETCH, as one remembered value."""

    __slots__ = ("changed_since", "items", "items_with_uid", "vanished")

    def __init__(self, items: tuple[FetchItem, ...], changed_since: int | None, vanished: bool) -> None:
        self.items = items
        self.items_with_uid = items if Attribute.UID in items else (Attribute.UID, *items)
        self.changed_since = changed_since
        self.vanished = vanished


def fetch(scanner: Scanner, uid: bool) -> Fetch:
    hot = _HOT_FETCH.match(scanner.data, scanner.pos)
    numbers = scanner.sequence()
    scanner.space()
    if hot is not None and len(hot[2]) <= _MEMO_LENGTH:
        try:
            arguments = _remembered(hot[2])
        except Wrong as wrong:
            raise Wrong(wrong.answer, None if wrong.position is None else scanner.pos + wrong.position) from None
    else:
        arguments = _arguments(scanner)
    if arguments.vanished and not (uid and arguments.changed_since is not None):
        raise Wrong("VANISHED needs UID FETCH and CHANGEDSINCE")
    return Fetch(
        numbers,
        arguments.items_with_uid if uid else arguments.items,
        uid,
        arguments.changed_since,
        arguments.vanished,
    )


@lru_cache(1024)
def _remembered(text: bytes) -> _Arguments:
    return _arguments(Scanner(text))


def _arguments(scanner: Scanner) -> _Arguments:
    items = _items(scanner)
    changed_since, vanished = None, False
    if not scanner.at_end:
        scanner.space()
        changed_since, vanished = _modifiers(scanner)
    scanner.end()
    return _Arguments(items, changed_since, vanished)


def _items(scanner: Scanner) -> tuple[FetchItem, ...]:
    if not scanner.accept(b"("):
        start = scanner.pos
        name = scanner.match(_ITEM, "a fetch item")[0].upper()
        macro = _MACROS.get(name)
        if macro is not None:
            return macro
        scanner.pos = start
        return (_item(scanner),)
    items: dict[FetchItem, None] = {}
    while True:
        items[_item(scanner)] = None
        if len(items) > ITEM_LIMIT:
            raise Wrong(f"more than {ITEM_LIMIT} fetch items", scanner.pos)
        if scanner.accept(b")"):
            return tuple(items)
        scanner.space()


def _item(scanner: Scanner) -> FetchItem:
    start = scanner.pos
    name = scanner.match(_ITEM, "a fetch item")[0].upper()
    if scanner.peek() == b"[":
        if name in (b"BODY", b"BODY.PEEK"):
            return _section(scanner, name == b"BODY.PEEK")
        if name in (b"BINARY", b"BINARY.PEEK"):
            return _binary(scanner, name == b"BINARY.PEEK")
        if name == b"BINARY.SIZE":
            part = _binary_part(scanner)
            return FetchBinarySize(part, b"BINARY.SIZE[%b]" % _written(part))
    else:
        found = _ATTRIBUTES.get(name) or _RFC822.get(name)
        if found is not None:
            return found
    raise Wrong("no such fetch item", start)


def _section(scanner: Scanner, peek: bool) -> FetchSection:
    scanner.expect(b"[")
    section = Section(*_spec(scanner))
    scanner.expect(b"]")
    label = b"BODY[%b]" % _section_label(section)
    partial = _partial(scanner)
    return FetchSection(section, peek, partial, label if partial is None else b"%b<%d>" % (label, partial[0]))


def _spec(scanner: Scanner) -> tuple[tuple[int, ...], SectionText, tuple[bytes, ...]]:
    if scanner.peek() == b"]":
        return (), SectionText.WHOLE, ()
    part = _part(scanner)
    if part and not scanner.accept(b"."):
        return part, SectionText.WHOLE, ()
    start = scanner.pos
    name = scanner.match(_SECTION_TEXT, "a section")[0].decode("ascii").upper()
    if name == "MIME" and not part:
        raise Wrong("MIME needs a part number", start)
    if name in ("HEADER", "TEXT", "MIME"):
        return part, SectionText(name), ()
    if name in ("HEADER.FIELDS", "HEADER.FIELDS.NOT"):
        scanner.space()
        return part, SectionText(name), _field_names(scanner)
    raise Wrong("no such section", start)


def _part(scanner: Scanner) -> tuple[int, ...]:
    found = _PART.match(scanner.data, scanner.pos)
    if found is None:
        return ()
    numbers = found[0].split(b".")
    if len(numbers) > PART_LIMIT:
        raise Wrong(f"a part number of more than {PART_LIMIT} levels", scanner.pos)
    scanner.pos = found.end()
    return tuple(map(int, numbers))


def _field_names(scanner: Scanner) -> tuple[bytes, ...]:
    scanner.expect(b"(")
    names: dict[bytes, None] = {}
    while True:
        start = scanner.pos
        name = scanner.astring("a header field name")
        if not name or not name.isascii() or b"\r" in name or b"\n" in name or b":" in name:
            raise Wrong("not a header field name", start)
        names[name.lower()] = None
        if len(names) > FIELD_LIMIT:
            raise Wrong(f"more than {FIELD_LIMIT} header field names", start)
        if scanner.accept(b")"):
            return tuple(names)
        scanner.space()


_FIELD_ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')


def _section_label(section: Section) -> bytes:
    words = []
    if section.part:
        words.append(_written(section.part))
    if section.text is not SectionText.WHOLE:
        words.append(section.text.value.encode("ascii"))
    label = b".".join(words)
    if section.fields:
        label += b" (%b)" % b" ".join(_quoted_name(name.upper()) for name in section.fields)
    return label


def _quoted_name(name: bytes) -> bytes:
    if _FIELD_ATOM.fullmatch(name):
        return name
    return b'"%b"' % name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def _written(part: tuple[int, ...]) -> bytes:
    return ".".join(map(str, part)).encode("ascii")


def _partial(scanner: Scanner) -> tuple[int, int] | None:
    if scanner.peek() != b"<":
        return None
    start = scanner.pos
    found = scanner.match(_PARTIAL, "<first.count>")
    first, count = int(found[1]), int(found[2])
    if not count or count >= 1 << 32 or first >= 1 << 32:
        raise Wrong("a partial range is out of range", start)
    return first, count


def _binary_part(scanner: Scanner) -> tuple[int, ...]:
    scanner.expect(b"[")
    part = _part(scanner)
    scanner.expect(b"]")
    return part


def _binary(scanner: Scanner, peek: bool) -> FetchBinary:
    part = _binary_part(scanner)
    partial = _partial(scanner)
    label = b"BINARY[%b]" % _written(part)
    return FetchBinary(part, peek, partial, label if partial is None else b"%b<%d>" % (label, partial[0]))


def _modifiers(scanner: Scanner) -> tuple[int | None, bool]:
    """`(CHANGEDSINCE n [VANISHED])`, RFC 7162 sections 3.1.4.1 and 3.2.6."""
    scanner.expect(b"(")
    changed_since, vanished = None, False
    while True:
        start = scanner.pos
        name = scanner.word("a fetch modifier")
        if name == "CHANGEDSINCE":
            scanner.space()
            changed_since = scanner.number(NUMBER_63, expected="a mod-sequence")
        elif name == "VANISHED":
            vanished = True
        else:
            raise Wrong("no such fetch modifier", start)
        if scanner.accept(b")"):
            return changed_since, vanished
        scanner.space()


def store(scanner: Scanner, uid: bool) -> Store:
    numbers = scanner.sequence()
    scanner.space()
    unchanged_since = None
    if scanner.accept(b"("):
        if scanner.word("UNCHANGEDSINCE") != "UNCHANGEDSINCE":
            raise Wrong("no such store modifier", scanner.pos)
        scanner.space()
        unchanged_since = scanner.number(NUMBER_63, expected="a mod-sequence")
        scanner.expect(b")")
        scanner.space()
    start = scanner.pos
    item, _, silent = scanner.match(_STORE_ITEM, "FLAGS, +FLAGS or -FLAGS")[0].upper().partition(b".")
    if silent not in (b"", b"SILENT") or item not in _STORE_MODES:
        raise Wrong("expected FLAGS, +FLAGS or -FLAGS, perhaps with .SILENT", start)
    scanner.space()
    flags = scanner.flag_list() if scanner.peek() == b"(" else scanner.bare_flags()
    scanner.end()
    return Store(numbers, _STORE_MODES[item], flags, bool(silent), uid, unchanged_since)


_STORE_ITEM = re.compile(rb"[+-]?[A-Za-z.]+")
_STORE_MODES = {mode.value: mode for mode in StoreMode}
