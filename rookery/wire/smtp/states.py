"""The states of a server connection, and what it may cost."""

from enum import Enum

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Lines in octets, CRLF included. RFC 5321 section 4.5.3.1.4 says 512, plus what each extension adds."""

    line: int = 2048
    auth_line: int = 12288  # RFC 4954 section 4
    skip: int = 65536  # of a line that is too long; then the connection ends
    errors: int = 20  # bad commands of one connection
    idle_commands: int = 100  # commands that lead to no message (NOOP, RSET, VRFY, ...) since the last one
    swallow: int = 10 << 20  # octets of a refused message read past before the connection ends
    name: int = 255


LIMITS = Limits()


class Mode(Enum):
    COMMAND = 1
    ANSWER = 2  # an event waits for its answer
    SASL = 3  # a line that answers a challenge
    BODY = 4  # octets of a message
    SKIP_LINE = 5
    HALT = 6  # TLS or the end
