"""A frame: 3 octets length of the payload, 1 octet type, 4 octets number of stream or call, payload. Big-endian.

Number 0 is the connection itself. Those whom the dialler begins are odd, the acceptor's even; both only rise.
"""

from enum import IntEnum
from struct import Struct

HEADER = 8  # octets
PAYLOAD_LIMIT = 64 * 1024  # octets
WORD_LIMIT = 4096  # octets of a payload that introduces, refuses or says goodbye
OPTIONAL = 0x80  # a type from here on that is not known is skipped; one below ends the connection
LAST_NUMBER = 2**32 - 1


class Kind(IntEnum):
    HELLO = 1  # Hello; the first frame each way, unless that is GOODBYE
    OPEN = 2  # Preface; a new stream
    DATA = 3  # octets of a stream
    END = 4  # no more DATA of the sender
    RESET = 5  # cause and text; both halves of a stream are over, or a call is refused or given up
    REFER = 6  # Referral; the stream goes on elsewhere
    WINDOW = 7  # u32: so many more octets of DATA may be sent
    PING = 8  # 8 octets, to be sent back
    PONG = 9  # those; of PINGs that came together the last is answered
    CALL = 10  # a question
    ANSWER = 11  # its answer
    CONTROL = 12  # Signal; arrives at most once and is not answered
    GOODBYE = 13  # text; nothing new is begun any more, the connection ends when what was begun has
    URGE = OPTIONAL  # of who has opened a stream: come to an end of what has begun on it, and then end it


LONGEST: dict[int, int] = {
    Kind.HELLO: WORD_LIMIT,
    Kind.OPEN: PAYLOAD_LIMIT,
    Kind.DATA: PAYLOAD_LIMIT,
    Kind.END: 0,
    Kind.RESET: WORD_LIMIT,
    Kind.REFER: PAYLOAD_LIMIT,
    Kind.WINDOW: 4,
    Kind.PING: 8,
    Kind.PONG: 8,
    Kind.CALL: PAYLOAD_LIMIT,
    Kind.ANSWER: PAYLOAD_LIMIT,
    Kind.CONTROL: PAYLOAD_LIMIT,
    Kind.GOODBYE: WORD_LIMIT,
    Kind.URGE: 0,
}
WHOLE: frozenset[int] = frozenset({Kind.WINDOW, Kind.PING, Kind.PONG})  # exactly so long
OF_CONNECTION: frozenset[int] = frozenset({Kind.HELLO, Kind.PING, Kind.PONG, Kind.CONTROL, Kind.GOODBYE})  # number 0

_HEADER = Struct(">II")
read_header = _HEADER.unpack_from  # (length << 8 | type, number)


def header(kind: Kind, number: int, length: int) -> bytes:
    return _HEADER.pack(length << 8 | kind, number)


def frame(kind: Kind, number: int = 0, payload: bytes = b"") -> bytes:
    return _HEADER.pack(len(payload) << 8 | kind, number) + payload
