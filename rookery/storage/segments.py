"""Segment files: records one behind another, each with its length, checksum, codec and blob id.

A record is found by its place alone; its header is there to check it, and to find the end of what was written when the
machine stopped in the middle.
"""

import struct
import zlib
from collections.abc import Iterator
from enum import Enum

import msgspec

from rookery.base.ids import BlobId
from rookery.storage.files import File

HEADER = struct.Struct(">4sB3xIQ16s")  # magic, codec, checksum, length, blob id
MAGIC = b"RkB\x01"
IDENTITY, DEFLATE = 0, 1
LENGTH_LIMIT = 1 << 32
_SCAN = 1 << 20


class Place(msgspec.Struct, frozen=True):
    """Where a blob's octets are: `offset` and `length` of the stored octets. Segment 0: a file of its own."""

    segment: int
    offset: int
    length: int
    codec: int


class Health(Enum):
    GOOD = "good"
    ROTTEN = "rotten"


class Record(msgspec.Struct, frozen=True):
    blob: BlobId
    place: Place
    health: Health


def checksum(codec: int, blob: bytes, pieces: Iterator[bytes] | list[bytes]) -> int:
    value = zlib.crc32(blob, codec)
    for piece in pieces:
        value = zlib.crc32(piece, value)
    return value


def header(blob: BlobId, codec: int, length: int, crc: int) -> bytes:
    return HEADER.pack(MAGIC, codec, crc, length, blob)


def check(data: bytes, blob: BlobId, length: int) -> str | None:
    """What is wrong with header and octets of one record, None when it is good."""
    if len(data) < HEADER.size + length:
        return "it ends too early"
    magic, codec, crc, stored, owner = HEADER.unpack_from(data)
    if magic != MAGIC or owner != blob or stored != length:
        return "its header does not fit"
    value = zlib.crc32(memoryview(data)[HEADER.size : HEADER.size + length], zlib.crc32(blob, codec))
    return None if value == crc else "its checksum is wrong"


def scan(file: File, segment: int, start: int = 0) -> Iterator[Record]:
    """All records whose headers follow each other from `start`; stops at the first place that is no header."""
    offset, size = start, file.size()
    while offset + HEADER.size <= size:
        magic, codec, crc, length, blob = HEADER.unpack(file.read_at(offset, HEADER.size))
        begin = offset + HEADER.size
        if magic != MAGIC or length > LENGTH_LIMIT or begin + length > size:
            return
        value = zlib.crc32(blob, codec)
        for at in range(begin, begin + length, _SCAN):
            value = zlib.crc32(file.read_at(at, min(_SCAN, begin + length - at)), value)
        health = Health.GOOD if value == crc else Health.ROTTEN
        yield Record(BlobId(blob), Place(segment, begin, length, codec), health)
        offset = begin + length


def sound_after(file: File, start: int) -> bool:
    """Whether a good record begins anywhere at or behind `start`."""
    size = file.size()
    while start + HEADER.size <= size:
        data = file.read_at(start, _SCAN + HEADER.size)
        at = data.find(MAGIC)
        while at >= 0:
            place = start + at
            head = file.read_at(place, HEADER.size)
            if len(head) == HEADER.size:
                length, blob = HEADER.unpack(head)[3:]
                fits = place + HEADER.size + length <= size
                if fits and check(file.read_at(place, HEADER.size + length), BlobId(blob), length) is None:
                    return True
            at = data.find(MAGIC, at + 1)
        start += _SCAN
    return False


def good_end(file: File, segment: int, known: int) -> int:
    """Behind the last good record; what follows was never acknowledged: a flush had not ended.

    Looked for behind `known` only, the end of a record: a start does not read what it knows.
    """
    end = known
    for record in scan(file, segment, known):
        if record.health is Health.GOOD:
            end = record.place.offset + record.place.length
    return end
