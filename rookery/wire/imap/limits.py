"""How much one IMAP connection may make the server hold or read past, before and after its login."""

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """In octets: one line, one gathered literal, one command with its literals; and what is skipped after an error.

    `bad` commands in a row end the connection.
    """

    line: int
    literal: int
    command: int
    skip: int
    bad: int


BEFORE_LOGIN = Limits(line=8192, literal=4096, command=16384, skip=16384, bad=10)
AFTER_LOGIN = Limits(line=65536, literal=65536, command=262144, skip=1 << 20, bad=50)
APPEND_SKIP = 100 << 20  # octets of a refused LITERAL+ message read past before we would rather close
LITERAL_MINUS = 4096  # RFC 7888 section 5
