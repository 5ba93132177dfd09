"""Bodies in parts of 256 kB, each with its checksum, so that a piece of a large one is checked without all the rest."""

import struct
import zlib
from collections.abc import Iterator

from rookery.base.ids import BlobId
from rookery.storage.segments import HEADER, IDENTITY, checksum
from rookery.storage.staging import CHUNK, Staged

PART = CHUNK
MAGIC = b"RkP\x01"
_CHECKSUM = struct.Struct(">I")


def part_checksum(blob: bytes, part: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(blob, part))


def parts(blob: BlobId, staged: Staged) -> Iterator[tuple[int, int, bytes]]:
    """Number, checksum and octets; every part but the last is PART octets long. An empty body has one empty part."""
    number, buffer = 0, bytearray()
    for chunk in staged.chunks():
        buffer += chunk
        while len(buffer) > PART:
            data = bytes(buffer[:PART])
            del buffer[:PART]
            yield number, part_checksum(blob, number, data), data
            number += 1
    yield number, part_checksum(blob, number, bytes(buffer)), bytes(buffer)


def head_size(length: int) -> int:
    """Octets before a body of `length`, where it is a record of its own: HEADER, then the checksums of its parts."""
    return HEADER.size + max(1, -(-length // PART)) * _CHECKSUM.size


def head(blob: BlobId, staged: Staged) -> bytes:
    """The header's own checksum is that of the others."""
    table = b"".join(_CHECKSUM.pack(value) for _, value, _ in parts(blob, staged))
    return HEADER.pack(MAGIC, IDENTITY, checksum(IDENTITY, blob, [table]), staged.size, blob) + table


def read_head(data: bytes, blob: BlobId, length: int) -> list[int] | str:
    """The checksums of all parts, or what is wrong."""
    if len(data) < head_size(length):
        return "it ends too early"
    magic, codec, crc, stored, owner = HEADER.unpack_from(data)
    if magic != MAGIC or codec != IDENTITY or owner != blob or stored != length:
        return "its header does not fit"
    table = data[HEADER.size : head_size(length)]
    if checksum(codec, blob, [table]) != crc:
        return "the checksum of its header is wrong"
    return [value for (value,) in _CHECKSUM.iter_unpack(table)]
