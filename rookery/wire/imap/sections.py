"""From a message's octets and a fetch item to the octets to send: BODY[...], BINARY[...], BINARY.SIZE."""

from collections.abc import Callable

from rookery.formats.headers import HEADER_LIMIT, body_start, select_fields
from rookery.formats.mime import Part, parse
from rookery.formats.structure import locate, message_in
from rookery.formats.text import decode_body
from rookery.wire.imap.fetch import Section, SectionText

Tree = Callable[[], Part]  # parses the message when first called; a section of the whole message needs none


def tree_of(data: bytes) -> Tree:
    """The tree of `data`, made at the first call."""
    made: list[Part] = []

    def tree() -> Part:
        if not made:
            made.append(parse(data))
        return made[0]

    return tree


def section_range(data: bytes, tree: Tree, section: Section) -> tuple[int, int] | None:
    """Where a section without field names lies in the message; None: no such part."""
    text = section.text
    if not section.part:
        if text is SectionText.WHOLE:
            return 0, len(data)
        start = body_start(data)
        return (start, len(data)) if text is SectionText.TEXT else (0, start)
    part = locate(tree(), section.part)
    if part is None:
        return None
    if text is SectionText.WHOLE:
        return part.body_start, part.end
    if text is SectionText.MIME:
        return part.header_start, part.body_start
    message = message_in(part)
    if message is None:
        return None
    if text is SectionText.TEXT:
        return message.body_start, message.end
    return message.header_start, message.body_start


def read_section(data: bytes, tree: Tree, section: Section, partial: tuple[int, int] | None = None) -> bytes | None:
    """The octets of BODY[section]<partial>, perhaps none; None when there is no such part (answered by NIL)."""
    found = section_range(data, tree, section)
    if found is None:
        return None
    start, end = found
    if section.fields:
        exclude = section.text is SectionText.HEADER_FIELDS_NOT
        content = select_fields(data, section.fields, start, min(end, start + HEADER_LIMIT), exclude=exclude)
        return content if partial is None else content[partial[0] : partial[0] + partial[1]]
    if partial is not None:
        start = min(start + partial[0], end)
        end = min(start + partial[1], end)
    return data[start:end]


def read_binary(data: bytes, tree: Tree, part: tuple[int, ...], partial: tuple[int, int] | None = None) -> bytes | None:
    """The decoded octets of BINARY[part]<partial>; None when there is no such part.

    Raises ValueError when its transfer encoding is unknown (NO [UNKNOWN-CTE], RFC 3516 section 4.3).
    """
    if not part:
        content = data
    else:
        found = locate(tree(), part)
        if found is None:
            return None
        content = decode_body(data, found)
    return content if partial is None else content[partial[0] : partial[0] + partial[1]]
