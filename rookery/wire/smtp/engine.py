"""The server's side of one SMTP or LMTP connection (RFC 5321, RFC 2033): octets in, events and replies out.

    events = engine.receive(data)        # at most one command that must be answered, as its answer decides the next
    ... engine.accept(), engine.refuse(reply) ...
    events = engine.receive(b"")         # until it gives nothing more
    stream.write(engine.outgoing())

It never raises on what a client sends. Lines end in CRLF only. Nothing gathers but one command line; a message streams.
Whether a sender, recipient or message is wanted is the session's to say; everything else is answered here.
"""

from collections.abc import Callable, Sequence

from rookery.wire.engine import HTTP_METHODS, Wants
from rookery.wire.smtp import replies
from rookery.wire.smtp.answers import Answers
from rookery.wire.smtp.commands import Bad, from_base64, read_auth, read_bdat, read_mail_from, read_name, read_rcpt_to
from rookery.wire.smtp.events import BODY_END, BODY_START, RESET, Event, Malformed, SaslAnswer
from rookery.wire.smtp.message import Reception
from rookery.wire.smtp.offers import greeting_reply
from rookery.wire.smtp.states import Mode


class Engine(Answers):
    """One connection. `greeted_as` is what the client calls itself, `extended` whether it said EHLO (or LHLO)."""

    __slots__ = ()

    # --- for the pump

    def leftover(self) -> bytes:
        return self._buffer[self._at :]

    def resume(self, hello: bytes, *, extended: bool = True) -> None:
        """Go on where another server has left off: the client has called itself so in its EHLO (or HELO)."""
        name = read_name(hello, self._limits.name)
        self.greeted_as, self.extended = "unknown" if isinstance(name, Bad) else name, extended

    def hand_back(self) -> None:
        """To Mail: another server answers it; `leftover()` begins with that command."""
        self._buffer, self._at = b"MAIL " + self._from + b"\r\n" + self.leftover(), 0
        self.close()

    def tls_started(self) -> None:
        """Nothing learned before counts any more (RFC 3207 section 4.2)."""
        self._tls = True
        self._offer = self._offer_tls
        self._buffer, self._at = b"", 0
        self._mail, self._recipients = None, 0
        self.greeted_as, self.extended = "", False
        self.wants = Wants.MORE
        self._mode = Mode.COMMAND

    @property
    def unfinished(self) -> bool:
        """A command or message has begun to come in and is not whole."""
        return self._body is not None or len(self._buffer) > self._at

    def receive(self, data: bytes) -> Sequence[Event]:
        if not data:
            if not self._buffer and self._mode is not Mode.BODY:
                return ()
        elif self._buffer:
            self._buffer = self._buffer[self._at :] + data
            self._at = 0
        else:
            self._buffer = data
        events: list[Event] = []
        while _STEPS[self._mode](self, events):
            pass
        if self._at >= len(self._buffer):
            self._buffer, self._at = b"", 0
        return events

    # --- commands

    def _step_command(self, events: list[Event]) -> bool:
        limits = self._limits
        if self._buffer[self._at : self._at + 5].upper() == b"AUTH ":
            line = self._line(limits.auth_line)
        else:
            line = self._line(limits.line)
        if line is None:
            return self._mode is Mode.SKIP_LINE
        if b"\n" in line or b"\r" in line:
            return self._bad(events, replies.BARE_LINE_END, "bare CR or LF")
        if b"\0" in line:
            return self._bad(events, replies.BAD_CHARACTER, "NUL")
        command = _COMMANDS.get(line[:4].upper())
        verb, _, rest = line.partition(b" ")
        if command is None or (verb.upper() != b"STARTTLS" and (len(verb) != 4 or verb.upper() == b"STAR")):
            return self._unknown(verb, events)
        return command(self, rest, events)

    def _unknown(self, verb: bytes, events: list[Event]) -> bool:
        """What speaks HTTP was sent here by somebody else (a form posted to this port), and may hold a message."""
        if verb in HTTP_METHODS or verb.endswith(b":"):  # a field: Host comes soon, however long the first line was
            events.append(Malformed("HTTP"))
            self.close(replies.NOT_HTTP)
            return False
        return self._bad(events, replies.UNKNOWN_COMMAND, "unknown command")

    def _line(self, limit: int) -> bytes | None:
        """The next line without its CRLF, or with its LF if that stands alone; None: not there yet, or too long."""
        buffer, at = self._buffer, self._at
        end = buffer.find(b"\n", at)
        if (end if end >= 0 else len(buffer)) - at >= limit:
            self._mode, self._skipped = Mode.SKIP_LINE, 0
            return None
        if end < 0:
            return None
        self._at = end + 1
        return buffer[at : end - 1] if end > at and buffer[end - 1] == 13 else buffer[at : end + 1]

    def _step_skip_line(self, events: list[Event]) -> bool:
        end = self._buffer.find(b"\n", self._at)
        if end >= 0:
            self._at = end + 1
            self._mode = Mode.COMMAND
            return self._bad(events, replies.LINE_TOO_LONG, "line too long")
        self._skipped += len(self._buffer) - self._at
        self._at = len(self._buffer)
        if self._skipped > self._limits.skip:
            events.append(Malformed("endless line"))
            self.close(replies.TOO_MANY_ERRORS)
        return False

    def _bad(self, events: list[Event], reply: bytes, reason: str) -> bool:
        self._errors += 1
        events.append(Malformed(reason))
        self._out.append(reply)
        return self._errors_bearable()

    def _idle(self, reply: bytes) -> bool:
        """Answer a command that leads to no message."""
        self._out.append(reply)
        self._idle_commands += 1
        if self._idle_commands > self._limits.idle_commands:
            self.close(replies.TOO_MANY_COMMANDS)
            return False
        return True

    def _ask(self, event: Event, events: list[Event]) -> bool:
        self._asked = event
        self._mode = Mode.ANSWER
        events.append(event)
        return False

    def _wait(self, events: list[Event]) -> bool:
        return False

    def _reset(self, events: list[Event]) -> None:
        if self._mail is not None:
            self._drop()
            events.append(RESET)

    def _helo(self, rest: bytes, events: list[Event]) -> bool:
        if self.lmtp:
            return self._bad(events, replies.UNKNOWN_COMMAND, "HELO in LMTP")
        return self._hello(rest, False, events)

    def _ehlo(self, rest: bytes, events: list[Event]) -> bool:
        if self.lmtp:
            return self._bad(events, replies.UNKNOWN_COMMAND, "EHLO in LMTP")
        return self._hello(rest, True, events)

    def _lhlo(self, rest: bytes, events: list[Event]) -> bool:
        if not self.lmtp:
            return self._bad(events, replies.UNKNOWN_COMMAND, "LHLO in SMTP")
        return self._hello(rest, True, events)

    def _hello(self, rest: bytes, extended: bool, events: list[Event]) -> bool:
        name = read_name(rest, self._limits.name)
        if isinstance(name, Bad):
            return self._bad(events, *name)
        self._reset(events)
        self.greeted_as, self.extended = name, extended
        if extended:
            return self._idle(greeting_reply(self._hostname, self._offer))
        return self._idle(b"250 " + self._hostname.encode() + b"\r\n")

    def _starttls(self, rest: bytes, events: list[Event]) -> bool:
        if not self._offer.starttls:
            return self._bad(events, replies.TLS_ACTIVE if self._tls else replies.NOT_IMPLEMENTED, "STARTTLS")
        if rest.strip(b" "):
            return self._bad(events, replies.BAD_ARGUMENT, "STARTTLS with arguments")
        if self._at < len(self._buffer):
            events.append(Malformed("commands after STARTTLS"))
            self.close(replies.PIPELINED_TLS)
            return False
        self._reset(events)
        self._out.append(replies.READY_FOR_TLS)
        self.wants = Wants.START_TLS
        self._mode = Mode.HALT
        return False

    def _auth(self, rest: bytes, events: list[Event]) -> bool:
        offer = self._offer
        if not offer.auth and not offer.auth_over_tls:
            return self._bad(events, replies.NOT_IMPLEMENTED, "AUTH not offered")
        if self._authenticated:
            return self._bad(events, replies.ALREADY_AUTHENTICATED, "second AUTH")
        if self._mail is not None or not self.extended:
            return self._bad(events, replies.BAD_SEQUENCE if self._mail else replies.HELLO_FIRST, "AUTH out of place")
        auth = read_auth(rest, offer)
        if isinstance(auth, Bad):
            return self._bad(events, *auth)
        return self._ask(auth, events)

    def _step_sasl(self, events: list[Event]) -> bool:
        line = self._line(self._limits.auth_line)
        if line is None:
            if self._mode is Mode.SKIP_LINE:
                events.append(SaslAnswer(None))
                return True
            return False
        self._mode = Mode.COMMAND
        data = None if line == b"*" else from_base64(line)
        if data is not None:
            return self._ask(SaslAnswer(data), events)
        events.append(SaslAnswer(None))
        return self._bad(events, replies.AUTH_CANCELLED if line == b"*" else replies.BAD_BASE64, "AUTH given up")

    def _mail_from(self, rest: bytes, events: list[Event]) -> bool:
        if not self.greeted_as:
            return self._bad(events, replies.HELLO_FIRST, "MAIL before greeting")
        if self._mail is not None:
            return self._bad(events, replies.NESTED_MAIL, "nested MAIL")
        mail = read_mail_from(rest, self._offer)
        if isinstance(mail, Bad):
            return self._bad(events, *mail)
        self._from = rest
        return self._ask(mail, events)

    def _rcpt_to(self, rest: bytes, events: list[Event]) -> bool:
        mail = self._mail
        if mail is None:
            return self._bad(events, replies.MAIL_FIRST, "RCPT before MAIL")
        if self._body is not None:
            return self._bad(events, replies.BAD_SEQUENCE, "RCPT after BDAT")
        recipient = read_rcpt_to(rest, self._offer, smtputf8=mail.smtputf8)
        if isinstance(recipient, Bad):
            return self._bad(events, *recipient)
        return self._ask(recipient, events)

    def _rset(self, rest: bytes, events: list[Event]) -> bool:
        if rest.strip(b" "):
            return self._bad(events, replies.BAD_ARGUMENT, "RSET with arguments")
        self._reset(events)
        return self._idle(replies.RESET_OK)

    def _noop(self, rest: bytes, events: list[Event]) -> bool:
        return self._idle(replies.OK)

    def _vrfy(self, rest: bytes, events: list[Event]) -> bool:
        return self._idle(replies.CANNOT_VERIFY if rest.strip(b" ") else replies.BAD_ARGUMENT)

    def _expn(self, rest: bytes, events: list[Event]) -> bool:
        return self._idle(replies.NOT_IMPLEMENTED)

    def _help(self, rest: bytes, events: list[Event]) -> bool:
        return self._idle(replies.HELP)

    def _quit(self, rest: bytes, events: list[Event]) -> bool:
        if rest.strip(b" "):
            return self._bad(events, replies.BAD_ARGUMENT, "QUIT with arguments")
        self.close(b"221 2.0.0 " + self._hostname.encode() + b" closing connection\r\n")
        return False

    # --- messages

    def _data(self, rest: bytes, events: list[Event]) -> bool:
        if rest.strip(b" "):
            return self._bad(events, replies.BAD_ARGUMENT, "DATA with arguments")
        wrong = replies.BAD_SEQUENCE if self._body is not None else self._no_body_yet()
        if wrong:
            return self._bad(events, wrong, "DATA out of place")
        self._body = Reception(self._offer.size)
        return self._ask(BODY_START, events)

    def _no_body_yet(self) -> bytes:
        """Why no message can come now."""
        if self._mail is None:
            return replies.MAIL_FIRST
        return b"" if self._recipients else replies.RECIPIENT_FIRST

    def _bdat(self, rest: bytes, events: list[Event]) -> bool:
        if not self._offer.chunking:
            return self._bad(events, replies.UNKNOWN_COMMAND, "BDAT not offered")
        chunk = read_bdat(rest)
        if isinstance(chunk, Bad):  # what follows cannot be told from commands
            events.append(Malformed(chunk.reason))
            self.close(chunk.reply)
            return False
        if chunk == (0, False):
            self._idle_commands += 1
            if self._idle_commands > self._limits.idle_commands:
                self.close(replies.TOO_MANY_COMMANDS)
                return False
        body = self._body
        if body is None:
            body = self._body = Reception(self._offer.size, chunked=True, failure=self._no_body_yet())
            self._mode = Mode.BODY
            if body.failure:
                self._errors += 1
                events.append(Malformed("BDAT out of place"))
            else:
                self._ask(BODY_START, events)
        else:
            self._mode = Mode.BODY
        body.left, body.last = chunk
        return self._mode is Mode.BODY

    def _step_body(self, events: list[Event]) -> bool:
        body = self._body
        if body is None or (self._at >= len(self._buffer) and not (body.chunked and body.left == 0)):
            return False
        rest = body.feed(self._buffer[self._at :] if self._at else self._buffer, events)
        self._buffer, self._at = rest or b"", 0
        if body.swallowed > self._limits.swallow:
            self._finish(body.failure)
            self.close()
            return False
        if rest is None:
            return False
        if body.failure:
            self._mode = Mode.COMMAND
            self._finish(body.failure, whole=body.last)
            return self._errors_bearable()
        if body.last:
            return self._ask(BODY_END, events)
        self._out.append(replies.CHUNK_OK)
        self._mode = Mode.COMMAND
        return True

    def _errors_bearable(self) -> bool:
        if self._errors > self._limits.errors:
            self.close(replies.TOO_MANY_ERRORS)
            return False
        return True


_STEPS: dict[Mode, Callable[[Engine, list[Event]], bool]] = {
    Mode.COMMAND: Engine._step_command,
    Mode.ANSWER: Engine._wait,
    Mode.SASL: Engine._step_sasl,
    Mode.BODY: Engine._step_body,
    Mode.SKIP_LINE: Engine._step_skip_line,
    Mode.HALT: Engine._wait,
}
_COMMANDS: dict[bytes, Callable[[Engine, bytes, list[Event]], bool]] = {
    b"HELO": Engine._helo,
    b"EHLO": Engine._ehlo,
    b"LHLO": Engine._lhlo,
    b"STAR": Engine._starttls,
    b"AUTH": Engine._auth,
    b"MAIL": Engine._mail_from,
    b"RCPT": Engine._rcpt_to,
    b"DATA": Engine._data,
    b"BDAT": Engine._bdat,
    b"RSET": Engine._rset,
    b"NOOP": Engine._noop,
    b"VRFY": Engine._vrfy,
    b"EXPN": Engine._expn,
    b"HELP": Engine._help,
    b"QUIT": Engine._quit,
}
