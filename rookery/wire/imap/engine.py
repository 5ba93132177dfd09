"""The server's side of an IMAP connection without socket, clock or store (RFC 9051, RFC 3501, RFC 7888 literals).

    events = engine.receive(data)        # at most one command at a time: its answer may change how to read on
    ... handle them: engine.send(...), engine.select(), engine.accept_literal() ...
    events = engine.receive(b"")         # until it gives nothing more
    stream.write(engine.outgoing())

It never raises on what a client sends. Lines end in CRLF only. It asks for literals (`+ OK`) or refuses them by
itself, except the messages of APPEND, which stream and are the session's to accept. Nothing gathers beyond `Limits`.
"""

from rookery.wire.engine import HTTP_METHODS, Wants
from rookery.wire.imap import commands as c
from rookery.wire.imap.answers import Answers, Mode
from rookery.wire.imap.complaints import HEAD_LENGTH, complaint
from rookery.wire.imap.events import (
    Done,
    Event,
    LiteralChunk,
    LiteralEnd,
    LiteralStart,
    Malformed,
    Request,
    SaslResponse,
)
from rookery.wire.imap.grammar import (
    HEAD,
    State,
    decode_base64,
    find_command,
    read_append,
    read_command,
)
from rookery.wire.imap.limits import LITERAL_MINUS
from rookery.wire.imap.literals import Announcement, Past, Skipper, announcement
from rookery.wire.imap.scanner import Scanner, Wrong


class Engine(Answers):
    """One connection. `state` is changed by the session's answers; `utf8` (mailbox names are UTF-8) by the session."""

    __slots__ = ()

    # --- for the pump

    def leftover(self) -> bytes:
        """Octets received and not used."""
        return bytes(self._buffer)

    def tls_started(self) -> None:
        """Nothing learned before counts any more (RFC 9051 section 6.2.1)."""
        self._buffer.clear()
        self._next_command(0)
        self.wants = Wants.MORE

    @property
    def unfinished(self) -> bool:
        """Whether the client has begun something that is not whole: a line, a literal, an exchange."""
        return bool(self._buffer) or self._mode not in (Mode.COMMAND, Mode.IDLE, Mode.HALT)

    # --- input

    def receive(self, data: bytes) -> list[Event]:
        """Events up to the next command; call again with b"" after handling them until there are none."""
        events: list[Event] = []
        if self._mode is Mode.STREAM and not self._buffer and 0 < len(data) < self._left:
            self._left -= len(data)  # the middle of a message: nothing to copy
            events.append(LiteralChunk(data))
            return events
        if data:
            self._buffer += data
        elif not self._buffer and self._mode is not Mode.STREAM:
            return events
        while self._step(events):
            pass
        return events

    def _step(self, events: list[Event]) -> bool:
        """One thing; False when more octets or the session's answer are needed first."""
        mode = self._mode
        if mode is Mode.COMMAND or mode is Mode.APPENDED:
            return self._read_line(events)
        if mode is Mode.STREAM:
            return self._stream(events)
        if mode is Mode.LITERAL:
            if len(self._buffer) < self._scan:
                return False
            self._mode = Mode.COMMAND
            return True
        if mode is Mode.SKIP:
            return self._skip(events)
        if mode is Mode.SASL or mode is Mode.IDLE:
            return self._answer_line(events)
        if mode is Mode.HALT and self.wants is Wants.CLOSE:
            self._buffer.clear()
        return False

    def _read_line(self, events: list[Event]) -> bool:
        buffer = self._buffer
        end = buffer.find(b"\n", self._scan)
        if (end if end >= 0 else len(buffer)) - self._line > self._limits.line:
            return self._too_long(events)
        if end < 0:
            self._scan = len(buffer)
            return False
        if end == self._line or buffer[end - 1] != 13:
            self._complain(events, Wrong("a line ended by a lone LF", end), end + 1)
            return False
        if end - self._line > 3 and buffer[end - 2] == 125:  # "}"
            literal = announcement(buffer, self._line, end - 1)
            # the grammar has a space or a parenthesis before every literal; anything else is no announcement
            if literal is not None and literal.start > self._line and buffer[literal.start - 1] in b" (":
                return self._announced(events, literal, end + 1)
        if self._mode is Mode.APPENDED:
            return self._append_ended(events, end)
        return self._whole(events, bytes(buffer[: end - 1]), end + 1)

    def _too_long(self, events: list[Event]) -> bool:
        self._complain(events, Wrong(f"a line of more than {self._limits.line} octets"), 0)
        if self._mode is not Mode.HALT:
            del self._buffer[: self._line]
            self._skip_from(Skipper())
        return False

    def _whole(self, events: list[Event], data: bytes, used: int) -> bool:
        """A command is complete: one event, and nothing after it is read before that was handled."""
        head = HEAD.match(data)
        if self.state is State.NOT_AUTHENTICATED and data.partition(b" ")[0] in HTTP_METHODS:
            self._complain(events, Wrong("this is not a web server"), used, close=True)
            return False
        try:
            if head is None:
                raise Wrong("expected a tag and a command")
            command = read_command(head[2].upper(), data, head.end(), self.state, self.utf8)
        except Wrong as wrong:
            self._complain(events, wrong, used)
            return False
        self._bad = 0
        self._tag = head[1]
        self._next_command(used)
        events.append(Request(head[1], command))
        return False

    # --- literals

    def _announced(self, events: list[Event], literal: Announcement, used: int) -> bool:
        """The line up to `used` ends in the announcement."""
        data = bytes(self._buffer[:used])
        size, synchronizing, start = literal
        try:
            if self._mode is Mode.APPENDED:
                scanner = Scanner(data, utf8=self.utf8)
                if self._append.utf8:
                    scanner.expect(b")")
                scanner.space()
                append = read_append(scanner, self._append.mailbox, self._append.index + 1)
                return self._message(events, append, synchronizing, used)
            head = HEAD.match(data)
            if head is None:
                raise Wrong("expected a tag and a command")
            name = head[2].upper()
            find_command(name, self.state)
            # APPEND's first literal may be its mailbox name; any other is the message
            if name == b"APPEND" and start > head.end() + 1:
                self._tag = head[1]
                scanner = Scanner(data, head.end(), utf8=self.utf8)
                scanner.space()
                return self._message(events, read_append(scanner), synchronizing, used)
            if size > self._limits.literal or used + size > self._limits.command:
                raise Wrong(f"a literal of more than {self._limits.literal} octets", start, code="TOOBIG")
            self._check_minus(size, synchronizing, start)
        except Wrong as wrong:
            self._refuse(events, wrong, size, synchronizing, used)
            return False
        if synchronizing:
            self._out.append(b"+ OK\r\n")
        self._line = self._scan = used + size
        self._mode = Mode.LITERAL
        return True

    def _check_minus(self, size: int, synchronizing: bool, start: int) -> None:
        if self._literal_minus and not synchronizing and size > LITERAL_MINUS:
            raise Wrong(f"a non-synchronizing literal of more than {LITERAL_MINUS} octets", start, code="TOOBIG")

    def _message(self, events: list[Event], append: c.Append, synchronizing: bool, used: int) -> bool:
        self._check_minus(append.size, synchronizing, used)
        self._append = append
        self._synchronizing = synchronizing
        self._next_command(used)
        self._mode = Mode.DECIDE
        events.append(LiteralStart(self._tag, append))
        return False

    def _refuse(self, events: list[Event], wrong: Wrong, size: int, synchronizing: bool, used: int) -> None:
        """Answer a command at a literal; one that the client sends without waiting is read past, or the line cut."""
        if synchronizing:
            self._complain(events, wrong, used)
            return
        self._complain(events, wrong, used, close=size > self._limits.skip)
        if self._mode is not Mode.HALT:
            self._skip_from(Skipper(left=size, skipped=size))

    def _stream(self, events: list[Event]) -> bool:
        buffer = self._buffer
        if self._left:
            if not buffer:
                return False
            chunk = bytes(buffer[: self._left])
            del buffer[: len(chunk)]
            self._left -= len(chunk)
            events.append(LiteralChunk(chunk))
            if self._left:
                return False
        events.append(LiteralEnd())
        self._mode = Mode.APPENDED
        return True

    def _append_ended(self, events: list[Event], end: int) -> bool:
        rest = bytes(self._buffer[: end - 1])
        if rest != (b")" if self._append.utf8 else b""):
            self._complain(events, Wrong("expected the end of APPEND"), end + 1)
            return False
        self._bad = 0
        self._next_command(end + 1)
        events.append(Request(self._tag, c.AppendDone()))
        return False

    def _skip(self, events: list[Event]) -> bool:
        """Read past the rest of a refused command."""
        past = self._skipper.read(self._buffer, self._limits.skip)
        if past is Past.DONE:
            self._next_command(0)
        elif past is Past.TOO_MUCH:
            answer = b"* BYE too much to read past\r\n"
            events.append(Malformed(None, answer, "too much to read past after a refused command", True))
            self._stop()
        return past is Past.DONE

    # --- lines that are no commands

    def _answer_line(self, events: list[Event]) -> bool:
        """A SASL response or DONE."""
        sasl = self._mode is Mode.SASL
        end = self._buffer.find(b"\n", self._scan)
        if (end if end >= 0 else len(self._buffer)) > self._limits.line:
            return self._too_long(events)
        if end < 0:
            self._scan = len(self._buffer)
            return False
        line = bytes(self._buffer[: end + 1])
        tag = self._tag
        try:
            if not line.endswith(b"\r\n"):
                raise Wrong("a line ended by a lone LF")
            line = line[:-2]
            if sasl:
                event: Event = SaslResponse(tag, None if line == b"*" else decode_base64(line))
            elif line.upper() == b"DONE":
                event = Done(tag)
            else:
                raise Wrong("expected DONE")
        except Wrong as wrong:
            self._complain(events, wrong, end + 1, tag=tag)
            return False
        self._next_command(end + 1)
        events.append(event)
        return False

    # --- complaints

    def _complain(
        self, events: list[Event], wrong: Wrong, used: int, *, tag: bytes | None = None, close: bool = False
    ) -> None:
        """Report `wrong` about the command that ends at `used`, and go on after it unless that was one too many."""
        if tag is None and self._mode in (Mode.APPENDED, Mode.SASL, Mode.IDLE):
            tag = self._tag
        tag, answer, text = complaint(wrong, tag, bytes(self._buffer[:HEAD_LENGTH]))
        if wrong.status == "BAD":
            self._bad += 1
        close = close or self._bad >= self._limits.bad
        if close:
            answer += b"* BYE too much that makes no sense\r\n"
        self._next_command(used)
        events.append(Malformed(tag, answer, text, close))
        if close:
            self._stop()
