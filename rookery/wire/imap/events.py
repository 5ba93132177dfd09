"""What the server engine reports. One command is one `Request`, except APPEND, whose messages stream:

    LiteralStart(append) LiteralChunk* LiteralEnd  [again for each message]  Request(AppendDone)

A `Malformed` at any later point of an APPEND means that it failed as a whole: discard what was staged.
"""

from typing import TypeAlias

import msgspec

from rookery.wire.imap.commands import Append, Command


class Request(msgspec.Struct, frozen=True):
    """A whole command that may be given in the engine's state. `tag` goes into the tagged response unchanged."""

    tag: bytes
    command: Command


class LiteralStart(msgspec.Struct, frozen=True):
    """A message of an APPEND is announced. Answer by `engine.accept_literal()` or `engine.refuse_literal(line)`."""

    tag: bytes
    append: Append


class LiteralChunk(msgspec.Struct, frozen=True):
    data: bytes


class LiteralEnd(msgspec.Struct, frozen=True):
    """All octets of the literal announced last have come. The command goes on: another message, or AppendDone."""


class SaslResponse(msgspec.Struct, frozen=True):
    """The client's answer to `engine.challenge()`. `data` is decoded; None: cancelled with `*`."""

    tag: bytes
    data: bytes | None


class Done(msgspec.Struct, frozen=True):
    """The end of IDLE; `tag` is the tag of the IDLE command, to be completed now."""

    tag: bytes


class Malformed(msgspec.Struct, frozen=True):
    """Input that is no command: send `answer` (whole response lines), then end the connection if `close`.

    `reason` is for the log and holds nothing of what the client sent but names of commands.
    """

    tag: bytes | None
    answer: bytes
    reason: str
    close: bool = False


Event: TypeAlias = Request | LiteralStart | LiteralChunk | LiteralEnd | SaslResponse | Done | Malformed
