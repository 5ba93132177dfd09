"""LMTP (RFC 2033) at a node without mailboxes: from an MTA in front to the hosts of the accounts, wherever they are.

Nothing is kept here. A recipient's answer is that of its host, which has stored the message by then; the host of one
that cannot be reached is a temporary failure, and the MTA comes again. An address that does not stand for one mailbox
goes to a node with a queue, whose 250 says that it is in the queue.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from rookery.access import replies
from rookery.access.conversation import SmtpSettings, converse, log_connection
from rookery.access.frontend.fan import Deliveries, Envelope, Fan
from rookery.access.heads import protocol_name, received_end, received_start
from rookery.access.replies import Moment, reply
from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import short_id
from rookery.base.log import Logger, logger
from rookery.distribution.delivery.outcome import Outcome, Verdict
from rookery.distribution.service.calls import Host
from rookery.distribution.service.known import Addresses
from rookery.net.stream import Stream
from rookery.wire.smtp.engine import Engine
from rookery.wire.smtp.events import BodyChunk, BodyEnd, BodyFailed, BodyStart, Event, Mail, Malformed, Rcpt, Reset
from rookery.wire.smtp.offers import Offer

log = logger("lmtp")


@dataclass(frozen=True, slots=True)
class LmtpFront:
    """What all connections share."""

    directory: Addresses
    deliveries: Deliveries
    settings: SmtpSettings
    clock: Clock


async def serve_lmtp_front(stream: Stream, shared: LmtpFront, *, allowed: bool) -> None:
    """One connection. `allowed` False: it comes from an address that may not deliver here; it is told so."""
    session = _Session(stream, shared)
    log_connection(log, stream, session.id)
    if not allowed:
        log.info("refused", session=session.id, address=stream.peer.address, what="not a trusted address")
        stream.write(replies.NOT_FOR_YOU)
        return
    await converse(stream, session, settings=shared.settings)


class _Session:
    """The decisions of one connection."""

    __slots__ = ("_fan", "_mail", "_messages", "_recipients", "_shared", "_stream", "engine", "id")

    log: ClassVar[Logger] = log

    def __init__(self, stream: Stream, shared: LmtpFront) -> None:
        settings = shared.settings
        self.id = short_id()
        self.engine = Engine(settings.hostname, Offer(size=settings.message_size, dsn=False), lmtp=True)
        self._mail = Mail("")
        self._stream = stream
        self._shared = shared
        self._recipients: list[tuple[str, Host | None]] = []
        self._fan: Fan | None = None
        self._messages = 0

    def handle(self, event: Event) -> Awaitable[None] | None:
        handler = _HANDLERS.get(type(event))
        return handler(self, event) if handler is not None else None

    # --- the envelope

    def _on_mail(self, event: Mail) -> None:
        self._mail = event
        self._recipients = []
        self.engine.accept()

    async def _on_rcpt(self, event: Rcpt) -> None:
        address = event.recipient
        if len(self._recipients) >= self._shared.settings.recipients:
            self.engine.refuse(reply(Cause.TOO_MANY, Moment.RECIPIENT))
            return
        try:
            verdict = await self._shared.directory.recipient(address, host=True)
            if not verdict.exists:
                raise RookeryError(Cause.NOT_FOUND, "no such address here")
        except RookeryError as error:
            log.refused("refused", error.refusal, session=self.id, recipient=address)
            self.engine.refuse(reply(error.cause, Moment.RECIPIENT))
            return
        self._recipients.append((address, verdict.host))
        self.engine.accept()

    # --- the message

    def _on_body_start(self, event: BodyStart) -> None:
        mail, shared = self._mail, self._shared
        self._messages += 1
        envelope = Envelope(mail.sender, mail.size, mail.eight_bit, mail.smtputf8, f"{self.id}-{self._messages}")
        self._fan = Fan(envelope, self._recipients, shared.deliveries, self._again)
        self._fan.write(self._received(envelope.session))
        self.engine.accept()

    def _received(self, message: str) -> bytes:
        tls, shared = self._stream.tls, self._shared
        protocol = protocol_name(lmtp=True, tls=tls is not None, smtputf8=self._mail.smtputf8)
        start = received_start(
            self.engine.greeted_as, self._stream.peer, shared.settings.hostname, protocol, tls
        )  # fmt: skip
        alone = self._recipients[0][0] if len(self._recipients) == 1 else ""
        return received_end(start, message, alone, int(shared.clock.wall()))

    async def _again(self, address: str, tried: Host) -> Host | None:
        return (await self._shared.directory.recipient(address, host=True, tried=tried.backend)).host

    def _on_body_chunk(self, event: BodyChunk) -> Awaitable[None] | None:
        return None if self._fan is None else self._fan.write(event.data)

    async def _on_body_end(self, event: BodyEnd) -> None:
        fan, self._fan = self._fan, None
        if fan is None:
            self.engine.refuse(reply(Cause.UNAVAILABLE, Moment.MESSAGE))
            return
        try:
            outcomes = await fan.finish()
        except BaseException:
            fan.discard()
            raise
        self.engine.answer_each([self._answer(*pair) for pair in zip(self._recipients, outcomes, strict=True)])

    def _answer(self, recipient: tuple[str, Host | None], outcome: Outcome) -> bytes:
        address, host = recipient
        say = log.debug if outcome.verdict is Verdict.DONE else log.info
        say(
            "passed-on", session=f"{self.id}-{self._messages}", recipient=address,
            backend=host.backend if host else "", code=outcome.code, status=outcome.enhanced,
        )  # fmt: skip
        text = outcome.text.replace("\n", " ")
        code = 451 if outcome.code == 421 else outcome.code  # it is not this connection that ends
        return f"{code} {outcome.enhanced} {text}".encode("ascii", "replace")[:500] + b"\r\n"

    def discard(self) -> None:
        fan, self._fan = self._fan, None
        if fan is not None:
            fan.discard()

    def _on_body_failed(self, event: BodyFailed) -> None:
        log.info("refused", session=self.id, sender=self._mail.sender, what=event.reason)
        self.discard()

    def _on_reset(self, event: Reset) -> None:
        self.discard()

    def _on_malformed(self, event: Malformed) -> None:
        log.debug("malformed", session=self.id, what=event.reason)


_HANDLERS: dict[type, Callable[..., Awaitable[None] | None]] = {
    Mail: _Session._on_mail,
    Rcpt: _Session._on_rcpt,
    BodyStart: _Session._on_body_start,
    BodyChunk: _Session._on_body_chunk,
    BodyEnd: _Session._on_body_end,
    BodyFailed: _Session._on_body_failed,
    Reset: _Session._on_reset,
    Malformed: _Session._on_malformed,
}
