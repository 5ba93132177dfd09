"""One IMAP connection from greeting to goodbye (RFC 9051 and RFC 3501, with the extensions that CAPABILITY names)."""

import ssl
from functools import partial

from rookery.access.frontend.relay import relay
from rookery.access.frontend.way import HandOver
from rookery.access.imap.capabilities import capabilities
from rookery.access.imap.dispatch import handle
from rookery.access.imap.recent import RecentMarks
from rookery.access.imap.session import Gone, Hosts, Lost, Referral, Services, Session, log
from rookery.access.imap.settings import ImapSettings
from rookery.access.underway import UnderWay
from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import short_id
from rookery.distribution.auth.authenticator import Authenticator
from rookery.distribution.directory.values import AccountRecord
from rookery.distribution.placement.static import EVERYTHING_HERE
from rookery.net.pump import Ending, Pace, pump
from rookery.net.stream import Stream
from rookery.storage.store import Store
from rookery.wire.imap import responses
from rookery.wire.imap.engine import Engine

GOODBYES = {
    Ending.IDLE: "Autologout; nothing was said for too long",
    Ending.SLOW: "Too slow",
    Ending.DRAINED: "The server is shutting down, connect again",
}


def services(
    *,
    store: Store,
    authenticator: Authenticator,
    settings: ImapSettings,
    clock: Clock,
    tls: ssl.SSLContext | None = None,
    hosts: Hosts = EVERYTHING_HERE,
    underway: UnderWay | None = None,
    hand_over: HandOver | None = None,
) -> Services:
    """What all connections share; make one for the process. `tls`: offer STARTTLS with it."""
    return Services(
        store, authenticator, settings, clock, tls, RecentMarks(), hosts, underway or UnderWay(), hand_over
    )  # fmt: skip


async def serve_imap(stream: Stream, shared: Services) -> None:
    """Serve until the client or we have had enough; the stream is closed then."""
    try:
        host = await _serve(stream, shared)
        if host is not None:
            await relay(stream, host)
    finally:
        stream.close()


async def _serve(stream: Stream, shared: Services) -> Stream | None:
    """The other backend that has taken the session over; None: it is over."""
    engine = Engine()
    session = Session(shared, stream, engine, short_id())
    settings = shared.settings
    stream.idle = settings.login_timeout
    stream.deadline = stream.now() + settings.login_timeout
    log.debug("connected", session=session.id, peer=stream.peer.address, tls=stream.tls is not None)
    engine.send(responses.ok(b"*", "Rookery ready", responses.capability(capabilities(session))))
    await _converse(session)
    return session.host


async def entered(stream: Stream, shared: Services, record: AccountRecord, session_id: str) -> Session:
    """A session that begins after its login, which a frontend has seen to; go on with `serve_entered`.

    Raises RookeryError when the account cannot be opened here, MOVED when its host is another.
    """
    session = Session(shared, stream, Engine(), session_id)
    try:
        await session.log_in(record)
    except Referral as referral:
        raise RookeryError(Cause.MOVED, f"{referral.host.backend} is its host") from referral
    return session


async def serve_entered(session: Session, tag: bytes) -> None:
    """Answer the login, whose tag it was, and serve as `serve_imap`."""
    session.send(responses.ok(tag, "Logged in", responses.capability(capabilities(session))))
    try:
        await _converse(session)
    finally:
        session.stream.close()


async def enter_imap(stream: Stream, record: AccountRecord, session_id: str, tag: bytes, *, shared: Services) -> None:
    """Both. Raises as `entered`."""
    await serve_entered(await entered(stream, shared, record, session_id), tag)


async def _converse(session: Session) -> None:
    stream, engine, shared = session.stream, session.engine, session.services
    try:
        ending = await pump(
            stream, engine, partial(handle, session), tls=shared.tls, unfinished=session.unfinished, pace=Pace(),
            confirm=session.confirm,
        )  # fmt: skip
    except (Gone, TimeoutError) as ended:  # TimeoutError: a large answer that nobody takes
        ending = Ending.LOST if isinstance(ended, Gone) else Ending.IDLE
        log.debug("ended", session=session.id, account=session.user, ending=ending.value)
        stream.abort()
    except Lost:
        _say_lost(session, stream)
    else:
        words = GOODBYES.get(ending)
        if session.host is not None:
            session.host.write(engine.leftover())
        elif session.lost:
            _say_lost(session, stream)
        elif words is not None:
            stream.write(responses.bye(words))
        log.debug("ended", session=session.id, account=session.user, ending=ending.value)
    finally:
        session.close()


def _say_lost(session: Session, stream: Stream) -> None:
    log.debug("lost", session=session.id, account=session.user)
    if session.account.removed:
        stream.write(responses.bye("The account was removed"))
    else:
        stream.write(responses.bye("The account has moved to another server, connect again", b"UNAVAILABLE"))
