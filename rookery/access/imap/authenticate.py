"""STARTTLS, LOGIN and AUTHENTICATE (RFC 9051 sections 6.2.1 to 6.2.3)."""

from rookery.access import login as access_login
from rookery.access.frontend.way import Opening
from rookery.access.imap import answers
from rookery.access.imap.capabilities import capabilities
from rookery.access.imap.session import Referral, Session, log
from rookery.access.login import Accepted, Rejected, SaslSession, SaslStep
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.directory.values import AccountRecord
from rookery.wire.imap import responses
from rookery.wire.imap.commands import Authenticate, Login, StartTls
from rookery.wire.imap.events import SaslResponse

PROTOCOL = "imap"


def start_tls(session: Session, command: StartTls) -> bytes:
    line, begins = answers.starting_tls(session.stream.tls is not None, session.services.tls is not None)
    if begins:
        session.engine.start_tls()
    return line


async def log_in(session: Session, command: Login) -> bytes:
    """Names and passwords are UTF-8; old clients' Latin-1 is understood, too."""
    stream = session.stream
    try:
        record = await access_login.login(
            session.services.authenticator,
            decoded(command.username),
            decoded(command.password),
            protocol=PROTOCOL,
            peer=stream.peer.address,
            session=session.id,
            tls=stream.tls is not None,
        )
    except RookeryError as error:
        return answers.no_login(error.cause, tls=stream.tls is not None)
    return await _welcome(session, record)


def decoded(data: bytes) -> str:
    """A name or password of LOGIN."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


async def _welcome(session: Session, record: AccountRecord) -> bytes:
    """Raises Referral, which `elsewhere` answers."""
    try:
        await session.log_in(record)
    except RookeryError as error:
        log.refused("not-opened", error.refusal, session=session.id, account=record.address)
        return answers.no_open(error.cause)
    return b"OK [%b] Logged in" % responses.capability(capabilities(session))


async def elsewhere(session: Session, tag: bytes, referral: Referral) -> bytes | None:
    """The account's host goes on, and answers the login; where nodes do not bring sessions to each other, the client is
    told where it is."""
    record, host = referral.record, referral.host
    hand_over = session.services.hand_over
    if hand_over is None:
        log.info("referred", session=session.id, account=record.address, backend=host.backend, pool=host.pool)
        return answers.referral(record.address, host.address)
    try:
        session.host, first = await hand_over(Opening(PROTOCOL, session.stream, session.id, tag), record)
    except RookeryError as error:
        log.refused("not-opened", error.refusal, session=session.id, account=record.address)
        return answers.no_open(Cause.TOO_MANY if error.cause is Cause.TOO_MANY else Cause.UNAVAILABLE)
    session.stream.authenticated()
    session.send(first)
    session.engine.hand_over()
    return None


async def authenticate(session: Session, command: Authenticate) -> bytes | None:
    """None: a challenge was sent, and the answer goes to `proceed`."""
    stream = session.stream
    session.sasl = SaslSession(
        session.services.authenticator,
        protocol=PROTOCOL,
        peer=stream.peer.address,
        session=session.id,
        tls=stream.tls is not None,
    )
    return await _after(session, await session.sasl.start(command.mechanism, command.initial))


async def proceed(session: Session, response: SaslResponse) -> bytes | None:
    if response.data is None or session.sasl is None:
        session.sasl = None
        return b"BAD Authentication cancelled"
    return await _after(session, await session.sasl.answer(response.data))


async def _after(session: Session, step: SaslStep) -> bytes | None:
    if isinstance(step, Accepted):
        return await _welcome(session, step.account)
    if not isinstance(step, Rejected):
        session.engine.challenge(step.data)
        return None
    session.sasl = None
    return answers.no_login(step.cause, tls=session.stream.tls is not None)
