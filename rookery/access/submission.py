"""Mail from users (RFC 6409): after a login only, from an address of their own, to anywhere.

What a user agent forgot is added (Date, Message-ID); Bcc is removed, so that nobody learns of hidden recipients.
"""

import ssl
from collections.abc import Awaitable
from typing import Protocol

from rookery.access import replies
from rookery.access.conversation import SmtpSettings, converse, log_connection
from rookery.access.heads import Head, date_text
from rookery.access.login import Accepted, Challenge, SaslSession, SaslStep, is_loopback, offered
from rookery.access.replies import Moment, reply
from rookery.access.smtp import Acceptance, Addresses, Session
from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.log import logger
from rookery.distribution.auth.authenticator import Authenticator
from rookery.distribution.directory.asked import Asked
from rookery.distribution.directory.resolve import Known
from rookery.distribution.directory.values import AccountRecord, Group, Resolution, Resolved
from rookery.net.stream import Stream
from rookery.wire.smtp.engine import Engine
from rookery.wire.smtp.events import Auth, Event, SaslAnswer
from rookery.wire.smtp.offers import Offer

log = logger("submission")


class Book(Addresses, Protocol):
    """What submission asks of the directory."""

    def resolve(self, address: str) -> Resolution: ...

    def group(self, address: str) -> Group | None: ...


async def serve_submission(
    stream: Stream,
    *,
    spool: Acceptance,
    directory: Asked[Book],
    authenticator: Authenticator,
    settings: SmtpSettings,
    clock: Clock,
    tls: ssl.SSLContext | None = None,
) -> None:
    """One connection. `tls`: what STARTTLS uses; None, or a stream with TLS from the start: it is not offered."""
    peer = stream.peer.address
    over_tls = offered(authenticator, tls=True, peer=peer)
    now = offered(authenticator, tls=False, peer=peer)
    plain = Offer(
        size=settings.message_size,
        starttls=tls is not None,
        auth=now,
        auth_over_tls=tuple(name for name in over_tls if name not in now),
    )
    engine = Engine(
        settings.hostname,
        plain,
        offer_tls=Offer(size=settings.message_size, auth=over_tls),
        tls=stream.tls is not None,
    )
    session = SubmissionSession(stream, engine, spool, directory, authenticator, settings, clock)
    log_connection(log, stream, session.id)
    stream.deadline = stream.now() + settings.before_login
    await converse(stream, session, settings=settings, tls=tls)


async def enter_submission(
    stream: Stream,
    record: AccountRecord,
    session_id: str,
    hello: bytes,
    *,
    spool: Acceptance,
    directory: Asked[Book],
    authenticator: Authenticator,
    settings: SmtpSettings,
    clock: Clock,
) -> None:
    """A session that begins after its login, which a frontend has seen to."""
    engine = Engine(settings.hostname, Offer(size=settings.message_size), tls=stream.tls is not None)
    session = SubmissionSession(stream, engine, spool, directory, authenticator, settings, clock)
    session.enter(record, session_id)
    engine.resume(hello)
    engine.authenticated()
    await converse(stream, session, settings=settings, greet=False)


class SubmissionSession(Session):
    """The MX's decisions, but for who may send what to whom."""

    __slots__ = ("_authenticator", "_book", "_failed", "_owned", "_record", "_sasl", "account", "authenticated")

    log = log

    def __init__(
        self, stream: Stream, engine: Engine, spool: Acceptance, directory: Asked[Book], authenticator: Authenticator,
        settings: SmtpSettings, clock: Clock,
    ) -> None:  # fmt: skip
        super().__init__(stream, engine, spool, directory, settings, clock)
        self._book = directory
        self._authenticator = authenticator
        self._record: AccountRecord | None = None
        self._sasl: SaslSession | None = None
        self._failed = 0
        self._owned: str | None = None  # the sender address found to be the user's own
        self.account = None
        self.authenticated = False

    def handle(self, event: Event) -> Awaitable[None] | None:
        if isinstance(event, Auth):
            return self._auth(event)
        if isinstance(event, SaslAnswer):
            return self._answer(event)
        return super().handle(event)

    # --- logging in

    def enter(self, record: AccountRecord, session_id: str) -> None:
        """Somebody else has seen to the login."""
        self.id = session_id
        self._logged_in(record)

    def _logged_in(self, record: AccountRecord) -> None:
        self._record, self.account, self.authenticated = record, record.account, True
        log.info("logged-in", session=self.id, account=record.address, address=self._stream.peer.address)

    async def _auth(self, event: Auth) -> None:
        self._sasl = SaslSession(
            self._authenticator,
            protocol="submission",
            peer=self._stream.peer.address,
            session=self.id,
            tls=self._stream.tls is not None,
        )
        self._step(await self._sasl.start(event.mechanism, event.initial))

    async def _answer(self, event: SaslAnswer) -> None:
        sasl = self._sasl
        if event.data is None or sasl is None:
            self._sasl = None
            return
        self._step(await sasl.answer(event.data))

    def _step(self, step: SaslStep) -> None:
        if isinstance(step, Challenge):
            self.engine.challenge(step.data)
            return
        self._sasl = None
        if isinstance(step, Accepted):
            self._logged_in(step.account)
            self._stream.authenticated()
            self.engine.authenticated()
            return
        self._failed += 1
        self.engine.refuse(reply(step.cause, Moment.LOGIN))
        if self._failed >= self._settings.failed_logins:
            self.engine.close(replies.TOO_MANY_FAILED_LOGINS)

    # --- who may send what to whom

    def check_sender(self, sender: str) -> bytes | Awaitable[bytes]:
        record = self._record
        if record is None:
            unsafe = self._settings.tls_required and self._stream.tls is None
            if unsafe and not is_loopback(self._stream.peer.address):
                return replies.STARTTLS_FIRST
            return replies.AUTHENTICATE_FIRST
        if not sender or sender == self._owned:  # the null sender: notifications of a reader (RFC 8098)
            return b""
        owned = self._book.ask(lambda book: _owns(book, record, sender))
        return self._own(sender, owned) if isinstance(owned, bool) else self._own_later(sender, owned)

    async def _own_later(self, sender: str, asked: Awaitable[bool]) -> bytes:
        return self._own(sender, await asked)

    def _own(self, sender: str, owned: bool) -> bytes:
        if not owned:
            return replies.NOT_YOUR_ADDRESS
        self._owned = sender
        return b""

    def check_recipient(self, known: Known) -> Refusal | None:
        return Refusal(Cause.NOT_FOUND, "no such address here") if known is Known.UNKNOWN else None

    # --- what the user agent forgot

    def complete(self, head: Head) -> bytes:
        added = b""
        if not head.has(b"date"):
            added += f"Date: {date_text(int(self._clock.wall()))}\r\n".encode()
        if not head.has(b"message-id"):
            self._head_id = f"<{self._message}@{self._settings.hostname}>"
            added += f"Message-ID: {self._head_id}\r\n".encode()
        return added + Head(head.without(b"bcc")).without(b"resent-bcc")


def _owns(book: Book, record: AccountRecord, sender: str) -> bool:
    """The account's own address with any detail, or an alias that leads to it; being in a group is not owning."""
    try:
        found = book.resolve(sender)
        if not isinstance(found, Resolved) or all(target.account != record.account for target in found.targets):
            return False
        return not found.through or book.group(found.through) is None
    except RookeryError:
        return False
