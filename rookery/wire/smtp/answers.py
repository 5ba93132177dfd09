"""What the session says on an SMTP or LMTP connection, and the state that it changes; what the client says is in
engine.py.
"""

import binascii
from collections.abc import Sequence

from rookery.wire.engine import Wants, taken
from rookery.wire.smtp import replies
from rookery.wire.smtp.events import BODY_END, BODY_START, RESET, Event, Mail
from rookery.wire.smtp.message import Reception
from rookery.wire.smtp.offers import Offer
from rookery.wire.smtp.states import LIMITS, Limits, Mode


class Answers:
    """The half of the engine that the session calls."""

    __slots__ = (
        "_asked",
        "_at",
        "_authenticated",
        "_body",
        "_buffer",
        "_errors",
        "_from",
        "_hostname",
        "_idle_commands",
        "_limits",
        "_mail",
        "_mode",
        "_offer",
        "_offer_tls",
        "_out",
        "_recipients",
        "_skipped",
        "_tls",
        "extended",
        "greeted_as",
        "lmtp",
        "wants",
    )

    def __init__(
        self,
        hostname: str,
        offer: Offer,
        *,
        lmtp: bool = False,
        offer_tls: Offer | None = None,
        tls: bool = False,
        limits: Limits = LIMITS,
    ) -> None:
        """`offer_tls` is what is offered once TLS is active; `tls`: it is from the start. `offer.size` is enforced."""
        self._hostname = hostname
        self._offer = offer_tls if tls and offer_tls is not None else offer
        self._offer_tls = offer_tls or offer
        self.lmtp = lmtp
        self._tls = tls
        self._limits = limits
        self._mode = Mode.COMMAND
        self._buffer = b""
        self._at = 0
        self._out: list[bytes] = []
        self._asked: Event = RESET  # what waits for an answer in mode ANSWER
        self._authenticated = False
        self._mail: Mail | None = None
        self._from = b""  # what followed the last MAIL
        self._recipients = 0
        self._body: Reception | None = None  # from the BodyStart of a message to its end
        self._skipped = 0
        self._errors = 0
        self._idle_commands = 0
        self.greeted_as = ""
        self.extended = False
        self.wants = Wants.MORE

    def outgoing(self) -> bytes:
        return taken(self._out)

    def greet(self, reply: bytes) -> None:
        """The 220 of the connection."""
        self._out.append(reply)

    def accept(self, reply: bytes | None = None) -> None:
        """To Mail, Rcpt, BodyStart, BodyEnd: yes. `reply` replaces the usual one (not of BodyStart)."""
        asked = self._asked
        self._mode = Mode.COMMAND
        if asked is BODY_END:
            self._finish(reply or replies.OK)
        elif asked is BODY_START:
            self._begin_body()
        elif isinstance(asked, Mail):
            self._mail = asked
            self._out.append(reply or replies.SENDER_OK)
        else:
            self._recipients += 1
            self._out.append(reply or replies.RECIPIENT_OK)

    def refuse(self, reply: bytes) -> None:
        """To any event that must be answered: no. The transaction goes on, except after BodyEnd."""
        asked = self._asked
        self._mode = Mode.COMMAND
        if asked is BODY_END:
            self._finish(reply)
            return
        body = self._body
        if asked is BODY_START and body is not None:
            if body.chunked:
                body.failure = reply  # RFC 3030 section 2: its octets come all the same
                self._mode = Mode.BODY
                return
            self._body = None
        self._out.append(reply)

    def answer_each(self, answers: Sequence[bytes]) -> None:
        """To BodyEnd of LMTP: one reply for every accepted recipient, in order (RFC 2033 section 4.2)."""
        self._mode = Mode.COMMAND
        self._idle_commands = 0
        self._drop()
        self._out.extend(answers)

    def fail_body(self, reply: bytes) -> None:
        """While chunks come: the message will be refused with `reply`, no more chunks are reported."""
        body = self._body
        if body is not None and not body.failure:
            body.failure = reply

    def challenge(self, data: bytes) -> None:
        """To Auth or SaslAnswer: go on."""
        self._out.append(b"334 " + binascii.b2a_base64(data, newline=False) + b"\r\n")
        self._mode = Mode.SASL

    def authenticated(self, reply: bytes = replies.AUTHENTICATED) -> None:
        """To Auth or SaslAnswer: the client has proved who it is."""
        self._authenticated = True
        self._out.append(reply)
        self._mode = Mode.COMMAND

    def hand_over(self, reply: bytes) -> None:
        """To Auth or SaslAnswer: another server goes on, whose reply this is; `leftover()` is for that one."""
        self.close(reply)

    def close(self, reply: bytes = b"") -> None:
        """Say `reply` and end, whatever is under way."""
        if reply:
            self._out.append(reply)
        self.wants = Wants.CLOSE
        self._mode = Mode.HALT

    def _begin_body(self) -> None:
        self._mode = Mode.BODY
        if self._body is not None and not self._body.chunked:
            self._out.append(replies.START_BODY)

    def _drop(self) -> None:
        self._mail = None
        self._recipients = 0
        self._body = None

    def _finish(self, reply: bytes, *, whole: bool = True) -> None:
        """Answer a message: in LMTP once for each recipient, when `whole` of it has come (RFC 2033 section 4.2)."""
        self._idle_commands = 0
        self._out.append(reply * max(1, self._recipients) if self.lmtp and whole else reply)
        self._drop()
