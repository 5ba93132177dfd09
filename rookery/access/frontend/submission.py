"""Submission up to the login (RFC 6409, RFC 4954); then the host of the account goes on, which knows who may send what.

The frontend takes no mail: before a login MAIL is refused as at any submission port.
"""

from collections.abc import Awaitable

from rookery.access import replies
from rookery.access.frontend.login import Front, Login, log
from rookery.access.frontend.relay import relay_after
from rookery.access.login import is_loopback
from rookery.access.replies import Moment, reply
from rookery.base.errors import RookeryError
from rookery.distribution.service.calls import Challenge, Granted
from rookery.net.pump import Ending, Pace, pump
from rookery.net.stream import Stream
from rookery.wire.smtp.engine import Engine
from rookery.wire.smtp.events import Auth, Event, Mail, Malformed, SaslAnswer
from rookery.wire.smtp.offers import Offer


def serve_submission_front(stream: Stream, shared: Front) -> Awaitable[None]:
    """From the greeting to the end; the stream is closed then. STARTTLS is offered where `shared.tls` is, and not on a
    stream that has TLS from the start.
    """
    return relay_after(stream, _log_in(stream, shared))


async def _log_in(stream: Stream, shared: Front) -> Stream | None:
    """The host that has taken the session, or None when the client is done with. What only a login needs ends here."""
    login = Login("submission", stream, shared)
    settings = shared.settings
    now, over_tls = login.mechanisms(tls=False), login.mechanisms(tls=True)
    later = tuple(name for name in over_tls if name not in now)
    engine = Engine(
        settings.hostname,
        Offer(size=settings.message_size, starttls=shared.tls is not None, auth=now, auth_over_tls=later),
        offer_tls=Offer(size=settings.message_size, auth=over_tls),
        tls=stream.tls is not None,
    )
    session = _Session(stream, engine, login)
    engine.greet(b"220 " + settings.hostname.encode() + b" ESMTP Rookery\r\n")
    try:
        ending = await pump(
            stream, engine, session.handle, tls=shared.tls, unfinished=lambda: engine.unfinished, pace=Pace()
        )  # fmt: skip
        if login.host is not None:
            login.host.write(engine.leftover())
        elif ending is Ending.DRAINED:
            stream.write(replies.SHUTTING_DOWN)
        elif ending is Ending.IDLE or ending is Ending.SLOW:
            stream.write(replies.TIMED_OUT)
        log.debug("ended", session=login.id, ending=ending.value)
        return login.host
    finally:
        await login.cancel()


class _Session:
    """One client before its login."""

    __slots__ = ("_engine", "_login", "_stream")

    def __init__(self, stream: Stream, engine: Engine, login: Login) -> None:
        self._stream = stream
        self._engine = engine
        self._login = login

    def handle(self, event: Event) -> Awaitable[None] | None:
        if isinstance(event, Auth):
            return self._after(self._login.begin(event.mechanism, event.initial))
        if isinstance(event, SaslAnswer):
            return self._login.cancel() if event.data is None else self._after(self._login.step(event.data))
        if isinstance(event, Mail):
            safe = self._stream.tls is not None or is_loopback(self._stream.peer.address)
            self._engine.refuse(replies.AUTHENTICATE_FIRST if safe else replies.STARTTLS_FIRST)
        elif isinstance(event, Malformed):
            log.debug("malformed", session=self._login.id, what=event.reason)
        return None

    async def _after(self, asked: Awaitable[Challenge | Granted]) -> None:
        try:
            step = await asked
            if isinstance(step, Challenge):
                self._engine.challenge(step.data)
                return
            first = await self._login.hand_over(step, self._engine.greeted_as.encode())
        except RookeryError as error:
            self._engine.refuse(reply(error.cause, Moment.LOGIN))
            if self._login.one_too_many():
                self._engine.close(replies.TOO_MANY_FAILED_LOGINS)
            return
        self._engine.hand_over(first)
