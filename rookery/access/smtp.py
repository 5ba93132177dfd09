"""Mail from other servers (MX): for our own addresses only, and into the spool before it is answered.

Never a relay: whatever the address looks like, it is accepted only when the directory knows it. The 250 of a message
is sent after the spool has committed it (THE FIRST COMMIT POINT, spool/rules.py): a crash before it leaves nothing and
the peer tries again; a crash after it loses nothing, and a peer that did not see our 250 sends the message twice.
"""

import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol

from rookery.access import replies
from rookery.access.conversation import SmtpSettings, converse, log_connection
from rookery.access.heads import Head, protocol_name, received_end, received_start
from rookery.access.intake import RECEIVING, Declined, Receiver
from rookery.access.replies import Moment, reply
from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId
from rookery.base.log import logger
from rookery.distribution.directory.asked import Asked
from rookery.distribution.directory.resolve import Known
from rookery.distribution.spool.values import Incoming, Notify, Recipient
from rookery.net.stream import Stream
from rookery.storage.staging import Staged, Staging
from rookery.wire.smtp.engine import Engine
from rookery.wire.smtp.events import BodyStart, Event, Mail, Rcpt
from rookery.wire.smtp.offers import Offer

log = logger("smtp")

SURPLUS = 10  # of one message, so many times the recipients it may have are put off; then the connection ends

_NOTIFY = {"NEVER": Notify.NEVER, "SUCCESS": Notify.SUCCESS, "FAILURE": Notify.FAILURE, "DELAY": Notify.DELAY}


class Acceptance(Protocol):
    """What acceptance asks of the spool."""

    def new_id(self) -> str: ...

    def stage(self) -> Staging: ...

    async def accept(self, incoming: Incoming) -> str: ...


class Full(Protocol):
    """Whether the mailbox of an address has no room for so many octets; None at once when it has no limits."""

    def __call__(self, address: str, size: int) -> Awaitable[bool] | None: ...


class Addresses(Protocol):
    """What acceptance asks of the directory."""

    def known(self, address: str) -> Known: ...


async def serve_mx(
    stream: Stream,
    *,
    spool: Acceptance,
    directory: Asked[Addresses],
    settings: SmtpSettings,
    clock: Clock,
    tls: ssl.SSLContext | None = None,
    full: Full | None = None,
    giver: str = "",
) -> None:
    """One connection. `tls`: what STARTTLS uses; None: it is not offered. `full` is asked at RCPT. `giver`: the
    node that hands mail in, whose delivery ids are taken once each.
    """
    offer = Offer(size=settings.message_size, xdelivery=bool(giver))
    engine = Engine(
        settings.hostname,
        offer if tls is None else Offer(size=settings.message_size, starttls=True),
        offer_tls=offer,
        tls=stream.tls is not None,
    )
    session = Session(stream, engine, spool, directory, settings, clock, full, giver)
    log_connection(log, stream, session.id)
    await converse(stream, session, settings=settings, tls=tls)


async def enter_mx(
    stream: Stream,
    session_id: str,
    hello: bytes,
    *,
    spool: Acceptance,
    directory: Asked[Addresses],
    settings: SmtpSettings,
    clock: Clock,
    full: Full | None = None,
) -> None:
    """A session that a frontend has begun, from its first MAIL on. `hello`: how its client greeted, as "EHLO name"."""
    engine = Engine(settings.hostname, Offer(size=settings.message_size), tls=stream.tls is not None)
    verb, _, name = hello.partition(b" ")
    engine.resume(name, extended=verb == b"EHLO")
    session = Session(stream, engine, spool, directory, settings, clock, full)
    session.id = session_id or session.id
    log_connection(log, stream, session.id)
    await converse(stream, session, settings=settings, greet=False)


class Session(Receiver):
    """The decisions of one connection. Submission changes some of them."""

    __slots__ = (
        "_clock",
        "_directory",
        "_full",
        "_giver",
        "_head_id",
        "_hops",
        "_message",
        "_recipients",
        "_refused",
        "_settings",
        "_spool",
        "_start",
        "_start_key",
        "_stream",
        "_surplus",
    )

    log = log
    authenticated = False
    account: AccountId | None = None

    def __init__(
        self, stream: Stream, engine: Engine, spool: Acceptance, directory: Asked[Addresses], settings: SmtpSettings,
        clock: Clock, full: Full | None = None, giver: str = "",
    ) -> None:  # fmt: skip
        super().__init__(engine)
        self._stream = stream
        self._spool = spool
        self._directory = directory
        self._settings = settings
        self._clock = clock
        self._full = full
        self._giver = giver
        self._recipients: list[Recipient] = []
        self._message = ""  # the id of the message that is coming in
        self._hops = 0
        self._head_id = ""
        self._refused = 0
        self._surplus = 0  # recipients of this message that were put off
        self._start = ""
        self._start_key: tuple[object, ...] = ()

    def handle(self, event: Event) -> Awaitable[None] | None:
        handler = _HANDLERS.get(type(event))
        return handler(self, event) if handler is not None else None

    # --- the envelope

    def _on_mail(self, event: Mail) -> Awaitable[None] | None:
        refused = self.check_sender(event.sender)
        if not isinstance(refused, bytes):
            return self._begin_later(event, refused)
        self._begin(event, refused)
        return None

    async def _begin_later(self, event: Mail, asked: Awaitable[bytes]) -> None:
        self._begin(event, await asked)

    def _begin(self, event: Mail, refused: bytes) -> None:
        if refused:
            self.log.info("refused", session=self.id, sender=event.sender, reply=refused[:9].decode())
            self._refuse(refused)
            return
        self._mail = event
        self._recipients = []
        self._surplus = 0
        self.engine.accept()

    def _refuse(self, answer: bytes) -> None:
        """A sender or recipient; each makes a line in the log, so a connection has only so many."""
        self._refused += 1
        if self._refused > self._settings.refused_recipients:
            self.engine.close(replies.TOO_MANY_REFUSED)
        else:
            self.engine.refuse(answer)

    def check_sender(self, sender: str) -> bytes | Awaitable[bytes]:
        """The reply that refuses the sender, b"" when it may send. Other servers may speak for anybody."""
        return b""

    def check_recipient(self, known: Known) -> Refusal | None:
        """None: it is wanted. Other servers may send to our own addresses only."""
        if known is Known.LOCAL:
            return None
        if known is Known.UNKNOWN:
            return Refusal(Cause.NOT_FOUND, "no such address here")
        return Refusal(Cause.DENIED, "not a domain of this site")

    def _on_rcpt(self, event: Rcpt) -> Awaitable[None] | None:
        if len(self._recipients) >= self._settings.recipients:
            self._later(Cause.TOO_MANY)
            return None
        recipient = event.recipient
        try:
            known = self._directory.ask(lambda directory: directory.known(recipient))
        except RookeryError as error:
            self._refuse_recipient(event, error.refusal)
            return None
        return self._judge(event, known) if isinstance(known, Known) else self._look_up(event, known)

    async def _look_up(self, event: Rcpt, asked: Awaitable[Known]) -> None:
        try:
            known = await asked
        except RookeryError as error:
            self._refuse_recipient(event, error.refusal)
            return
        later = self._judge(event, known)
        if later is not None:
            await later

    def _refuse_recipient(self, event: Rcpt, refusal: Refusal) -> None:
        self.log.refused(
            "refused", refusal, session=self.id, address=self._stream.peer.address, sender=self._mail.sender,
            recipient=event.recipient,
        )  # fmt: skip
        self._refuse(reply(refusal.cause, Moment.RECIPIENT))

    def _judge(self, event: Rcpt, known: Known) -> Awaitable[None] | None:
        refusal = self.check_recipient(known)
        if refusal is not None:
            self._refuse_recipient(event, refusal)
            return None
        asked = self._full(event.recipient, self._mail.size) if self._full is not None else None
        if asked is not None:
            return self._unless_full(event, asked)
        self._take_recipient(event)
        return None

    async def _unless_full(self, event: Rcpt, asked: Awaitable[bool]) -> None:
        if await asked:
            say = self.log.debug if self._surplus else self.log.info  # one line a message is enough
            say("refused", session=self.id, recipient=event.recipient, what="the mailbox is full")
            self._later(Cause.OVER_QUOTA)
        else:
            self._take_recipient(event)

    def _later(self, cause: Cause) -> None:
        self._surplus += 1
        if self._surplus > SURPLUS * self._settings.recipients:
            self.engine.close(replies.TOO_MANY_REFUSED)
        else:
            self.engine.refuse(reply(cause, Moment.RECIPIENT))

    def _take_recipient(self, event: Rcpt) -> None:
        if event.notify or event.original:
            notify = Notify.FAILURE
            if event.notify:
                notify = Notify.NEVER
                for word in event.notify:
                    notify |= _NOTIFY[word]
            self._recipients.append(Recipient(event.recipient, event.original, notify))
        elif event.delivery_id:
            self._recipients.append(Recipient(event.recipient, given=f"{self._giver}/{event.delivery_id}"))
        else:
            self._recipients.append(Recipient(event.recipient))
        self.engine.accept()

    # --- the message

    def _on_body_start(self, event: BodyStart) -> None:
        self._message = self._spool.new_id()
        self._begin_body(self._spool.stage())

    def _prepare(self, head: Head) -> bytes | Declined:
        self._hops = head.hops
        if self._hops > self._settings.hops:
            return Declined(replies.TOO_MANY_HOPS)
        self._head_id = head.message_id
        recipient = self._recipients[0].address if len(self._recipients) == 1 else ""
        trace = received_end(self._received_start(), self._message, recipient, int(self._clock.wall()))
        return trace + self.complete(head)

    def _received_start(self) -> str:
        """Made once for all messages of a session that come in the same way."""
        engine = self.engine
        tls, utf8 = self._stream.tls, self._mail.smtputf8
        key = (engine.greeted_as, engine.extended, tls, self.authenticated, utf8)
        if key != self._start_key:
            protocol = protocol_name(
                extended=engine.extended, tls=tls is not None, authenticated=self.authenticated, smtputf8=utf8
            )
            self._start = received_start(engine.greeted_as, self._stream.peer, self._settings.hostname, protocol, tls)
            self._start_key = key
        return self._start

    def complete(self, head: Head) -> bytes:
        """The header block as it goes on. What other servers send is not touched (RFC 5321 section 6.4)."""
        return head.data

    def _log_declined(self, reply: str) -> None:
        self.log.info("refused", session=self.id, message=self._message, reply=reply)

    async def _accept(self, staged: Staged) -> None:
        mail, size = self._mail, staged.size
        incoming = Incoming(
            sender=mail.sender,
            recipients=tuple(self._recipients),
            staged=staged,
            session=self.id,
            message_id=self._message,
            peer=self._stream.peer.address,
            submitted_by=self.account,
            eight_bit=mail.eight_bit,
            smtputf8=mail.smtputf8,
            hops=self._hops,
            header_id=self._head_id,
            envelope_id=mail.envelope_id,
        )
        try:
            message = await self._spool.accept(incoming)
        except RookeryError as error:
            if error.cause is Cause.EXISTS:
                self.log.info("taken-before", session=self.id, node=self._giver, sender=mail.sender, size=size)
                self.engine.accept(replies.TAKEN_BEFORE)
                return
            self.log.refused("refused", error.refusal, session=self.id, message=self._message, sender=mail.sender)
            self.engine.refuse(reply(error.cause, Moment.MESSAGE))
            return
        self.log.info(
            "accepted", session=self.id, message=message, address=self._stream.peer.address, sender=mail.sender,
            recipients=len(incoming.recipients), size=size, header_id=self._head_id,
        )  # fmt: skip
        self.engine.accept(b"250 2.0.0 Queued as " + message.encode() + b"\r\n")


_HANDLERS: dict[type, Callable[..., Awaitable[None] | None]] = {
    **RECEIVING,
    Mail: Session._on_mail,
    Rcpt: Session._on_rcpt,
    BodyStart: Session._on_body_start,
}
