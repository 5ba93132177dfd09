"""IMAP up to the login (RFC 9051 sections 6.1 and 6.2), which the directory decides; then the host of the account goes
on with the session, and octets are passed on as they come.

The frontend answers CAPABILITY, NOOP, ID, LOGOUT and STARTTLS by itself. The tagged answer to a login that was right is
the host's, for it knows what it can do.
"""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rookery.access.frontend.relay import relay
from rookery.access.frontend.way import Opening, Way, handed_over
from rookery.access.imap import answers
from rookery.access.imap.authenticate import decoded
from rookery.access.imap.capabilities import before_login
from rookery.access.imap.serve import GOODBYES
from rookery.access.login import is_loopback, mechanisms
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import short_id
from rookery.base.log import logger
from rookery.distribution.service.calls import Challenge, Client, Granted
from rookery.distribution.service.known import Directory
from rookery.net.pump import Ending, Pace, pump
from rookery.net.stream import Stream
from rookery.wire.imap import commands as c
from rookery.wire.imap import responses
from rookery.wire.imap.engine import Engine
from rookery.wire.imap.events import Event, Malformed, Request, SaslResponse

PROTOCOL = "imap"

log = logger("frontend")


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """login_time: seconds from the connection to the login. failed_logins: of one connection. scram: offered, because
    the directory has keys. plaintext_on_loopback: passwords without TLS from this machine.
    """

    login_time: float = 60.0
    failed_logins: int = 5
    scram: bool = False
    plaintext_on_loopback: bool = True


@dataclass(frozen=True, slots=True)
class Front:
    """What all IMAP connections of a frontend share. `tls`: offer STARTTLS with it."""

    directory: Directory
    way: Way
    settings: FrontSettings
    tls: ssl.SSLContext | None = None


async def serve_front(stream: Stream, shared: Front) -> None:
    """From the greeting to the end; the stream is closed then."""
    session = _Session(stream, shared)
    stream.idle = shared.settings.login_time
    stream.deadline = stream.now() + shared.settings.login_time
    log.debug("connected", session=session.id, peer=stream.peer.address, tls=stream.tls is not None)
    session.engine.send(responses.ok(b"*", "Rookery ready", responses.capability(session.capabilities())))
    try:
        ending = await pump(
            stream, session.engine, session.handle, tls=shared.tls, unfinished=lambda: session.engine.unfinished,
            pace=Pace(),
        )  # fmt: skip
        if session.host is not None:
            session.host.write(session.engine.leftover())
            stream.idle = 0.0  # the host says when it has been too long
            await relay(stream, session.host)
        elif ending in GOODBYES:
            stream.write(responses.bye(GOODBYES[ending]))
        log.debug("ended", session=session.id, ending=Ending.CLOSED.value if session.host else ending.value)
    finally:
        await session.close()
        stream.close()


class _Session:
    """One client before its login. `host`: the stream to the account's host, after it."""

    __slots__ = ("_exchange", "_failed", "_shared", "_stream", "engine", "host", "id")

    def __init__(self, stream: Stream, shared: Front) -> None:
        self.id = short_id()
        self.engine = Engine()
        self.host: Stream | None = None
        self._stream = stream
        self._shared = shared
        self._exchange = b""  # of the AUTHENTICATE under way
        self._failed = 0

    def _mechanisms(self) -> tuple[str, ...]:
        settings = self._shared.settings
        return mechanisms(
            self._stream.tls is not None,
            is_loopback(self._stream.peer.address),
            scram=settings.scram,
            plaintext_on_loopback=settings.plaintext_on_loopback,
        )

    def capabilities(self) -> tuple[str, ...]:
        return before_login(self._mechanisms(), starttls=self._stream.tls is None and self._shared.tls is not None)

    async def close(self) -> None:
        """The client is gone, perhaps in the middle of an exchange."""
        if self._exchange:
            exchange, self._exchange = self._exchange, b""
            try:
                await self._shared.directory.cancel(exchange)
            except RookeryError:
                return  # it ends by itself

    # --- commands ----------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> Awaitable[None] | None:
        if isinstance(event, Request):
            handler = _AT_ONCE.get(type(event.command))
            if handler is None:
                return self._log_in(event.tag, event.command)
            self._say(event.tag, handler(self))
        elif isinstance(event, SaslResponse):
            return self._proceed(event)
        else:
            assert isinstance(event, Malformed)  # before a login nothing streams, and nobody idles
            log.info("malformed", session=self.id, address=self._stream.peer.address, reason=event.reason)
            self.engine.send(event.answer)
        return None

    def _say(self, tag: bytes, line: bytes) -> None:
        self.engine.send(b"%b %b\r\n" % (tag, line))

    def _capability(self) -> bytes:
        self.engine.send(responses.capability_line(self.capabilities()))
        return b"OK Capability completed"

    def _noop(self) -> bytes:
        return b"OK Noop completed"

    def _identify(self) -> bytes:
        self.engine.send(responses.id_line({"name": "Rookery"}))
        return b"OK Id completed"

    def _log_out(self) -> bytes:
        self.engine.send(responses.bye("Logging out"))
        self.engine.log_out()
        return b"OK Logout completed"

    def _start_tls(self) -> bytes:
        if self._stream.tls is not None:
            return b"BAD TLS is active already"
        if self._shared.tls is None:
            return b"BAD TLS is not available"
        self.engine.start_tls()
        return b"OK Begin TLS negotiation now"

    # --- the login ---------------------------------------------------------------------------------------------------

    async def _log_in(self, tag: bytes, command: c.Command) -> None:
        if isinstance(command, c.Login):
            name, initial = (
                "PLAIN",
                b"\0%b\0%b" % (decoded(command.username).encode(), decoded(command.password).encode()),
            )
            if b"\0" in command.username + command.password:
                self._say(tag, answers.no_login(Cause.BAD_CREDENTIALS))
                return
            await self._ask(tag, lambda: self._begin(name, initial))
        else:
            assert isinstance(command, c.Authenticate)
            mechanism, given = command.mechanism.upper(), command.initial
            await self._ask(tag, lambda: self._begin(mechanism, given))

    async def _begin(self, mechanism: str, initial: bytes | None) -> Challenge | Granted:
        """Raises RookeryError."""
        if mechanism not in self._mechanisms():
            plain = mechanism in mechanisms(True, True)
            raise RookeryError(Cause.DENIED if plain else Cause.UNSUPPORTED, "not offered here")
        stream = self._stream
        client = Client(PROTOCOL, stream.peer.address, self.id, stream.tls is not None)
        return await self._shared.directory.begin(client, mechanism, initial)

    async def _proceed(self, response: SaslResponse) -> None:
        exchange, self._exchange = self._exchange, b""
        if response.data is None:
            self._say(response.tag, b"BAD Authentication cancelled")
            self._exchange = exchange
            await self.close()
            return
        data = response.data
        await self._ask(response.tag, lambda: self._shared.directory.step(exchange, data))

    async def _ask(self, tag: bytes, asking: Callable[[], Awaitable[Challenge | Granted]]) -> None:
        try:
            step = await asking()
        except RookeryError as error:
            self._refuse(tag, error)
            return
        if isinstance(step, Challenge):
            self._exchange = step.exchange
            self.engine.challenge(step.data)
            return
        opening = Opening(PROTOCOL, self._stream, self.id, tag)
        try:
            host, first = await handed_over(self._shared.way, self._shared.directory, step, opening, log)
        except RookeryError as error:
            log.refused("not-opened", error.refusal, session=self.id, account=step.name)
            self._say(tag, answers.no_open(Cause.TOO_MANY if error.cause is Cause.TOO_MANY else Cause.UNAVAILABLE))
            return
        self.host = host
        self.engine.send(first)
        log.info("handed-over", session=self.id, account=step.name, backend=step.host.backend)
        self._stream.authenticated()
        self.engine.hand_over()

    def _refuse(self, tag: bytes, error: RookeryError) -> None:
        if error.cause is Cause.UNSUPPORTED:
            line = b"NO [CANNOT] No such authentication mechanism"
        elif error.cause is Cause.INVALID:
            line = b"BAD Authentication exchange was malformed"
        elif error.cause is Cause.DENIED and self._stream.tls is None:
            line = b"NO [PRIVACYREQUIRED] Start TLS first"
        else:
            line = answers.no_login(error.cause)
        self._failed += 1
        if self._failed >= self._shared.settings.failed_logins:
            self.engine.send(responses.bye("Too many failed logins"))
            self.engine.log_out()
        self._say(tag, line)


_AT_ONCE: dict[type, Callable[[_Session], bytes]] = {
    c.Capability: _Session._capability,
    c.Noop: _Session._noop,
    c.Id: _Session._identify,
    c.Logout: _Session._log_out,
    c.StartTls: _Session._start_tls,
}
