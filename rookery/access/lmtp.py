"""LMTP (RFC 2033): the only way by which mail reaches a mailbox, from our own queue and from an MTA in front.

A message has one body for all its recipients here, so it is stored once; Delivered-To is added when there is one
recipient. THE SECOND COMMIT POINT is the store's: a recipient's 250 is sent after its append was committed. A crash
before it leaves nothing; after it, a delivery id given again is answered with the append of then.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from rookery.access import replies
from rookery.access.conversation import SmtpSettings, converse, log_connection
from rookery.access.heads import Head, protocol_name, received_end, received_start
from rookery.access.intake import RECEIVING, Declined, Receiver
from rookery.access.replies import Moment, reply
from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId, account_text
from rookery.base.log import logger
from rookery.distribution.directory.asked import Asked
from rookery.distribution.directory.values import Resolution, Resolved, Target
from rookery.distribution.placement.static import EVERYTHING_HERE
from rookery.distribution.placement.values import Elsewhere, Location
from rookery.net.stream import Stream
from rookery.storage.append import Append
from rookery.storage.staging import Staged, Staging
from rookery.storage.values import Appended, given_by
from rookery.wire.smtp.engine import Engine
from rookery.wire.smtp.events import BodyStart, Event, Mail, Rcpt
from rookery.wire.smtp.offers import Offer

log = logger("lmtp")


class Mailboxes(Protocol):
    """What delivery asks of the store."""

    def stage(self) -> Staging: ...

    async def room(self) -> None: ...

    def append_soon(self, item: Append, done: Callable[[Appended | Refusal], None]) -> None: ...


class Hosts(Protocol):
    """What delivery asks of placement."""

    def here(self, account: AccountId) -> bool: ...

    async def locate(self, account: AccountId) -> Location: ...


class Recipients(Protocol):
    """What delivery asks of the directory."""

    def resolve(self, address: str) -> Resolution: ...


async def serve_lmtp(
    stream: Stream,
    *,
    store: Mailboxes,
    directory: Asked[Recipients],
    settings: SmtpSettings,
    clock: Clock,
    hosts: Hosts = EVERYTHING_HERE,
    trusted: bool = False,
    allowed: bool = True,
    giver: str = "",
) -> None:
    """One connection. `trusted`: it comes from a queue whose delivery ids are believed; `giver`: whose they are, ""
    for ours, so that a node can repeat its own and nobody else's.

    `allowed` False: it comes from an address that may not deliver here; it is told so.
    """
    session = Session(stream, store, directory, settings, clock, hosts, trusted, giver)
    log_connection(log, stream, session.id)
    if not allowed:
        log.info("refused", session=session.id, address=stream.peer.address, what="not a trusted address")
        stream.write(replies.NOT_FOR_YOU)
        return
    await converse(stream, session, settings=settings)


class _Delivery:
    """One RCPT and what became of it. `targets` are several for an alias or group of ours."""

    __slots__ = ("address", "answer", "delivery_id", "targets")

    def __init__(self, address: str, targets: tuple[Target, ...], delivery_id: str) -> None:
        self.address = address
        self.targets = targets
        self.delivery_id = delivery_id
        self.answer = b""


class Session(Receiver):
    """The decisions of one connection."""

    __slots__ = (
        "_before",
        "_clock",
        "_deliveries",
        "_directory",
        "_giver",
        "_hosts",
        "_loop",
        "_message",
        "_messages",
        "_pending",
        "_received",
        "_settings",
        "_staged",
        "_store",
        "_stream",
        "_waiter",
    )

    log = log

    def __init__(
        self, stream: Stream, store: Mailboxes, directory: Asked[Recipients], settings: SmtpSettings, clock: Clock,
        hosts: Hosts, trusted: bool, giver: str,
    ) -> None:  # fmt: skip
        offer = Offer(size=settings.message_size, dsn=False, xdelivery=trusted)
        super().__init__(Engine(settings.hostname, offer, lmtp=True))
        self._stream = stream
        self._store = store
        self._directory = directory
        self._hosts = hosts
        self._settings = settings
        self._clock = clock
        self._giver = giver
        self._loop = asyncio.get_running_loop()
        self._received: dict[bool, str] = {}
        self._deliveries: list[_Delivery] = []
        self._before: set[bytes] = set()  # addresses that the message says it was delivered to
        self._staged: Staged | None = None
        self._message = ""  # the id under which it appears in logs: of our spool, or made here
        self._messages = 0
        self._pending = 0
        self._waiter: asyncio.Future[None] | None = None

    def handle(self, event: Event) -> Awaitable[None] | None:
        handler = _HANDLERS.get(type(event))
        return handler(self, event) if handler is not None else None

    # --- the envelope

    def _on_mail(self, event: Mail) -> None:
        self._mail = event
        self._deliveries.clear()
        self.engine.accept()

    def _on_rcpt(self, event: Rcpt) -> Awaitable[None] | None:
        if len(self._deliveries) >= self._settings.recipients:
            self.engine.refuse(reply(Cause.TOO_MANY, Moment.RECIPIENT))
            return None
        recipient = event.recipient
        try:
            found = self._directory.ask(lambda directory: directory.resolve(recipient))
        except RookeryError as error:
            self._refuse(recipient, error.refusal)
            return None
        return self._judge(event, found) if isinstance(found, Resolution) else self._look_up(event, found)

    async def _look_up(self, event: Rcpt, asked: Awaitable[Resolution]) -> None:
        try:
            found = await asked
        except RookeryError as error:
            self._refuse(event.recipient, error.refusal)
            return
        later = self._judge(event, found)
        if later is not None:
            await later

    def _judge(self, event: Rcpt, found: Resolution) -> Awaitable[None] | None:
        if not isinstance(found, Resolved):
            self._refuse(event.recipient, Refusal(Cause.NOT_FOUND, "no such address here"))
        elif not found.targets or found.outside:
            log.info("refused", session=self.id, recipient=event.recipient, what="it leads outside")
            self.engine.refuse(replies.NOT_A_MAILBOX)
        elif all(self._hosts.here(target.account) for target in found.targets):
            self._take(event, found.targets)
        else:
            return self._find(event, found.targets)
        return None

    def _take(self, event: Rcpt, targets: tuple[Target, ...]) -> None:
        self._deliveries.append(_Delivery(event.recipient, targets, event.delivery_id))
        self.engine.accept()

    async def _find(self, event: Rcpt, targets: tuple[Target, ...]) -> None:
        """Claim what nobody hosts; what another backend hosts is to be delivered there."""
        try:
            for target in targets:
                host = await self._hosts.locate(target.account)
                if isinstance(host, Elsewhere):
                    log.info(
                        "referred", session=self.id, recipient=event.recipient, backend=host.backend, pool=host.pool
                    )
                    self.engine.refuse(replies.in_pool(host.pool) if host.pool else replies.elsewhere(host.backend))
                    return
        except RookeryError as error:
            self._refuse(event.recipient, error.refusal)
        else:
            self._take(event, targets)

    def _refuse(self, recipient: str, refusal: Refusal) -> None:
        log.refused("refused", refusal, session=self.id, recipient=recipient)
        self.engine.refuse(reply(refusal.cause, Moment.RECIPIENT))

    # --- the message

    def _on_body_start(self, event: BodyStart) -> None:
        self._begin_body(self._store.stage())

    def _prepare(self, head: Head) -> bytes | Declined:
        """Trace fields before the header block; a message that goes round in circles ends here."""
        if head.hops > self._settings.hops:
            return Declined(replies.TOO_MANY_HOPS)
        self._before = head.delivered_to() if head.has(b"delivered-to") else set()
        sender, utf8 = self._mail.sender.encode(), self._mail.smtputf8
        start = self._received.get(utf8)
        if start is None:
            protocol = protocol_name(lmtp=True, tls=self._stream.tls is not None, smtputf8=utf8)
            start = received_start(
                self.engine.greeted_as, self._stream.peer, self._settings.hostname, protocol, self._stream.tls
            )
            self._received[utf8] = start
        first = self._deliveries[0]
        self._messages += 1
        self._message = first.delivery_id.partition("/")[0] or f"{self.id}-{self._messages}"
        alone = first.targets[0].address if len(self._deliveries) == 1 and len(first.targets) == 1 else ""
        trace = received_end(start, self._message, alone, int(self._clock.wall()))
        if alone:
            trace = b"Return-Path: <%b>\r\nDelivered-To: %b\r\n%b" % (sender, alone.encode(), trace)
        else:
            trace = b"Return-Path: <%b>\r\n%b" % (sender, trace)
        return trace + head.without(b"return-path")

    def _log_declined(self, reply: str) -> None:
        log.info("refused", session=self.id, sender=self._mail.sender, reply=reply)

    async def _accept(self, staged: Staged) -> None:
        self._staged = staged
        self._waiter = waiter = self._loop.create_future()
        self._pending = 1  # this function's own share
        try:
            await self._store.room()
            for delivery in self._deliveries:
                for target in delivery.targets:
                    if self._before and target.address.lower().encode() in self._before:
                        delivery.answer = delivery.answer or replies.DELIVERED_BEFORE
                        continue
                    self._pending += 1
                    self._append(staged, delivery, target)
        finally:
            self._one_done()
        await waiter

    def _append(self, staged: Staged, delivery: _Delivery, target: Target) -> None:
        """One message into one mailbox; the answer of a recipient is its first trouble, or 250."""

        def done(result: Appended | Refusal) -> None:
            if isinstance(result, Refusal):
                log.refused(
                    "not-delivered", result, session=self.id, message=self._message, recipient=target.address,
                )  # fmt: skip
                if not delivery.answer or delivery.answer[:1] == b"2" or result.cause.temporary:
                    delivery.answer = self._refusal(result)
            else:
                log.info(
                    "delivered", session=self.id, message=self._message, recipient=target.address,
                    account=account_text(target.account), uid=result.uid, size=staged.size,
                    duplicate=result.duplicate,
                )  # fmt: skip
                delivery.answer = delivery.answer or _DELIVERED
            self._one_done()

        identity = delivery.delivery_id or None
        if identity and len(delivery.targets) > 1:
            identity = f"{identity}/{target.address}"
        if identity and self._giver:
            identity = given_by(self._giver, identity)
        self._store.append_soon(Append(target.account, staged, delivery_id=identity), done)

    def _refusal(self, refusal: Refusal) -> bytes:
        if refusal.cause is Cause.OVER_QUOTA and self._settings.quota_for_good:
            return replies.OVER_QUOTA_FOR_GOOD
        return reply(refusal.cause, Moment.MESSAGE)

    def _one_done(self) -> None:
        self._pending -= 1
        if self._pending:
            return
        self._release()
        waiter = self._waiter
        if waiter is not None and not waiter.done():  # else the session is gone
            self.engine.answer_each([delivery.answer for delivery in self._deliveries])
            waiter.set_result(None)

    def _release(self) -> None:
        staged, self._staged = self._staged, None
        if staged is not None:
            staged.release()


_DELIVERED = b"250 2.0.0 Delivered\r\n"
_HANDLERS: dict[type, Callable[..., Awaitable[None] | None]] = {
    **RECEIVING,
    Mail: Session._on_mail,
    Rcpt: Session._on_rcpt,
    BodyStart: Session._on_body_start,
}
