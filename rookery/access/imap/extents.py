"""Where in a message the octets of a fetch item lie, so that they can be sent as they are read, and never gathered."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec

from rookery.formats.mime import Part
from rookery.formats.structure import locate
from rookery.formats.transfer import decoded
from rookery.wire.imap.fetch import Section
from rookery.wire.imap.sections import Tree, read_section, section_range

PIECE = 256 * 1024  # octets taken at once

Partial: TypeAlias = tuple[int, int] | None  # the first octet and how many


class Extent(msgspec.Struct, frozen=True):
    """Octets [start, stop) of a message. With `encoding`: that is taken away, and `partial` is of what results."""

    start: int
    stop: int
    encoding: bytes | None = None
    partial: Partial = None

    def content(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """What is sent, from the octets of the extent. Raises ValueError when the encoding is not known."""
        return iter(pieces) if self.encoding is None else decoded(pieces, self.encoding, self.partial)


class Measured(msgspec.Struct, frozen=True):
    """`octets`: how many are sent. `eight`: it is BINARY, and there are NUL octets among them."""

    extent: Extent
    octets: int
    eight: bool = False


Found: TypeAlias = Extent | bytes | None  # bytes: fields picked from a header; None: no such part


def of_message(size: int, partial: Partial) -> Extent:
    return Extent(0, size) if partial is None else _narrowed(0, size, partial)


def _narrowed(start: int, stop: int, partial: tuple[int, int]) -> Extent:
    first, count = partial
    start = min(start + first, stop)
    return Extent(start, min(start + count, stop))


def of_section(data: bytes, tree: Tree, section: Section, partial: Partial) -> Found:
    """BODY[section]<partial>."""
    if section.fields:
        return read_section(data, tree, section, partial)
    found = section_range(data, tree, section)
    if found is None:
        return None
    return Extent(*found) if partial is None else _narrowed(*found, partial)


def of_binary(data: bytes, tree: Tree, numbers: tuple[int, ...], partial: Partial) -> Found:
    """BINARY[numbers]<partial>."""
    part: Part | None = locate(tree(), numbers) if numbers else None
    if part is not None:
        return Extent(part.body_start, part.end, part.encoding, partial)
    return None if numbers else Extent(0, len(data), b"", partial)


def measure(data: bytes, extent: Extent) -> Measured:
    """`data` is the whole message. Raises ValueError when the encoding is not known."""
    if extent.encoding is None:
        return Measured(extent, extent.stop - extent.start)
    octets, eight = 0, False
    pieces = (data[at : min(at + PIECE, extent.stop)] for at in range(extent.start, extent.stop, PIECE))
    for piece in extent.content(pieces):
        octets += len(piece)
        eight = eight or b"\0" in piece
    return Measured(extent, octets, eight)


__all__ = ["Extent", "Found", "Measured", "Partial", "measure", "of_binary", "of_message", "of_section"]
