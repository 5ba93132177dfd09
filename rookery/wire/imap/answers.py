"""What the session says on an IMAP connection, and the state that it changes; what the client says is in engine.py."""

import binascii
from enum import Enum

from rookery.wire.engine import Wants, taken
from rookery.wire.imap import commands as c
from rookery.wire.imap.grammar import State
from rookery.wire.imap.limits import AFTER_LOGIN, APPEND_SKIP, BEFORE_LOGIN
from rookery.wire.imap.literals import Skipper


class Mode(Enum):
    COMMAND = 1  # gathering a command
    LITERAL = 2  # a literal of it is to come
    DECIDE = 3  # a message is announced; the session has not answered yet
    STREAM = 4  # octets of that message
    APPENDED = 5  # what follows a message
    SKIP = 6  # the rest of a command nobody wants
    SASL = 7
    IDLE = 8
    HALT = 9  # TLS or the end


class Answers:
    """The half of the engine that the session calls."""

    __slots__ = (
        "_append",
        "_bad",
        "_buffer",
        "_left",
        "_limits",
        "_line",
        "_literal_minus",
        "_mode",
        "_out",
        "_scan",
        "_skipper",
        "_synchronizing",
        "_tag",
        "state",
        "utf8",
        "wants",
    )

    def __init__(self, *, literal_minus: bool = False) -> None:
        self.state = State.NOT_AUTHENTICATED
        self.utf8 = False
        self.wants = Wants.MORE
        self._limits = BEFORE_LOGIN
        self._literal_minus = literal_minus
        self._mode = Mode.COMMAND
        self._buffer = bytearray()  # from the start of the command that is being read
        self._line = 0  # where its last line starts
        self._scan = 0  # up to here there is no line end
        self._left = 0  # octets to stream
        self._skipper = Skipper()
        self._bad = 0
        self._tag = b""
        self._append = c.Append("", 0)
        self._synchronizing = False
        self._out: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Queue whole response lines."""
        self._out.append(data)

    def outgoing(self) -> bytes:
        """What is to be written now; forgets it."""
        return taken(self._out)

    # --- the session's decisions

    def log_in(self) -> None:
        self.state = State.AUTHENTICATED
        self._limits = AFTER_LOGIN
        self._bad = 0

    def select(self) -> None:
        self.state = State.SELECTED

    def unselect(self) -> None:
        self.state = State.AUTHENTICATED

    def log_out(self) -> None:
        """Nothing more is read; the connection ends when what was sent is written."""
        self.state = State.LOGOUT
        self._stop()

    def hand_over(self) -> None:
        """Another server goes on: nothing more is read here, `leftover()` is for that one."""
        self.wants = Wants.CLOSE
        self._mode = Mode.HALT

    def challenge(self, data: bytes = b"") -> None:
        """Ask for a SaslResponse, inside AUTHENTICATE."""
        self._out.append(b"+ %b\r\n" % binascii.b2a_base64(data, newline=False))
        self._mode = Mode.SASL

    def idle(self) -> None:
        """Answer IDLE: the next line must be DONE."""
        self._out.append(b"+ idling\r\n")
        self._mode = Mode.IDLE

    def start_tls(self) -> None:
        """After the tagged OK was sent. `leftover()` must be empty before the handshake begins."""
        self.wants = Wants.START_TLS
        self._mode = Mode.HALT

    def accept_literal(self) -> None:
        """Answer LiteralStart: let the message come."""
        if self._mode is not Mode.DECIDE:
            raise RuntimeError("no literal was announced")
        if self._synchronizing:
            self._out.append(b"+ OK\r\n")
        self._left = self._append.size
        self._mode = Mode.STREAM

    def refuse_literal(self, line: bytes) -> None:
        """Answer LiteralStart by a tagged NO or BAD, which ends the command (RFC 9051 section 4.3)."""
        if self._mode is not Mode.DECIDE:
            raise RuntimeError("no literal was announced")
        self._out.append(line)
        if self._synchronizing:
            self._next_command(0)
        elif self._append.size > APPEND_SKIP:
            self._out.append(b"* BYE too much to read past\r\n")
            self.log_out()
        else:
            self._skip_from(Skipper(left=self._append.size))

    # --- what is read next

    def _next_command(self, used: int) -> None:
        if used:
            del self._buffer[:used]
        self._line = self._scan = 0
        self._mode = Mode.COMMAND

    def _skip_from(self, skipper: Skipper) -> None:
        self._line = self._scan = 0
        self._skipper = skipper
        self._mode = Mode.SKIP

    def _stop(self) -> None:
        """Read no more."""
        self._mode = Mode.HALT
        self.wants = Wants.CLOSE
        self._buffer.clear()
