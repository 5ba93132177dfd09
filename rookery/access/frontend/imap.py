"""IMAP up to the login (RFC 9051 sections 6.1 and 6.2); then the host of the account goes on with the session, and
octets are passed on as they come.

The frontend answers CAPABILITY, NOOP, ID, LOGOUT and STARTTLS by itself. The tagged answer to a login that was right is
the host's, for it knows what it can do.
"""

from collections.abc import Awaitable, Callable

from rookery.access.frontend.login import Front, Login, log
from rookery.access.frontend.relay import relay_after
from rookery.access.imap import answers
from rookery.access.imap.authenticate import decoded
from rookery.access.imap.capabilities import before_login
from rookery.access.imap.serve import GOODBYES
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.service.calls import Challenge, Granted
from rookery.net.pump import Pace, pump
from rookery.net.stream import Stream
from rookery.wire.imap import commands as c
from rookery.wire.imap import responses
from rookery.wire.imap.engine import Engine
from rookery.wire.imap.events import Event, Malformed, Request, SaslResponse


def serve_imap_front(stream: Stream, shared: Front) -> Awaitable[None]:
    """From the greeting to the end; the stream is closed then."""
    return relay_after(stream, _log_in(stream, shared))


async def _log_in(stream: Stream, shared: Front) -> Stream | None:
    """The host that has taken the session, or None when the client is done with. What only a login needs ends here."""
    session = _Session(stream, shared)
    engine, login = session.engine, session.login
    engine.send(responses.ok(b"*", "Rookery ready", responses.capability(session.capabilities())))
    try:
        ending = await pump(
            stream, engine, session.handle, tls=shared.tls, unfinished=lambda: engine.unfinished, pace=Pace()
        )  # fmt: skip
        if login.host is not None:
            login.host.write(engine.leftover())
        elif ending in GOODBYES:
            stream.write(responses.bye(GOODBYES[ending]))
        log.debug("ended", session=login.id, ending=ending.value)
        return login.host
    finally:
        await login.cancel()


class _Session:
    """One client before its login."""

    __slots__ = ("_shared", "_stream", "engine", "login")

    def __init__(self, stream: Stream, shared: Front) -> None:
        self.engine = Engine()
        self.login = Login("imap", stream, shared)
        self._stream = stream
        self._shared = shared

    def capabilities(self) -> tuple[str, ...]:
        starttls = self._stream.tls is None and self._shared.tls is not None
        return before_login(self.login.mechanisms(), starttls=starttls)

    # --- commands ----------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> Awaitable[None] | None:
        if isinstance(event, Request):
            handler = _AT_ONCE.get(type(event.command))
            if handler is None:
                return self._begin(event.tag, event.command)
            self._say(event.tag, handler(self))
        elif isinstance(event, SaslResponse):
            return self._proceed(event)
        else:
            assert isinstance(event, Malformed)  # before a login nothing streams, and nobody idles
            log.info("malformed", session=self.login.id, address=self._stream.peer.address, reason=event.reason)
            self.engine.send(event.answer)
        return None

    def _say(self, tag: bytes, line: bytes) -> None:
        self.engine.send(b"%b %b\r\n" % (tag, line))

    def _capability(self) -> bytes:
        self.engine.send(responses.capability_line(self.capabilities()))
        return answers.completed("Capability")

    def _noop(self) -> bytes:
        return answers.completed("Noop")

    def _identify(self) -> bytes:
        self.engine.send(responses.id_line({"name": "Rookery"}))
        return answers.completed("Id")

    def _log_out(self) -> bytes:
        self.engine.send(responses.bye("Logging out"))
        self.engine.log_out()
        return answers.completed("Logout")

    def _start_tls(self) -> bytes:
        line, begins = answers.starting_tls(self._stream.tls is not None, self._shared.tls is not None)
        if begins:
            self.engine.start_tls()
        return line

    # --- the login ---------------------------------------------------------------------------------------------------

    async def _begin(self, tag: bytes, command: c.Command) -> None:
        if isinstance(command, c.Login):
            if b"\0" in command.username + command.password or not (command.username and command.password):
                self._refuse(tag, Cause.BAD_CREDENTIALS)
                return
            name, password = decoded(command.username).encode(), decoded(command.password).encode()
            await self._after(tag, self.login.begin("PLAIN", b"\0%b\0%b" % (name, password)))
        else:
            assert isinstance(command, c.Authenticate)
            await self._after(tag, self.login.begin(command.mechanism, command.initial))

    async def _proceed(self, response: SaslResponse) -> None:
        if response.data is None:
            self._say(response.tag, b"BAD Authentication cancelled")
            await self.login.cancel()
        else:
            await self._after(response.tag, self.login.step(response.data))

    async def _after(self, tag: bytes, asked: Awaitable[Challenge | Granted]) -> None:
        try:
            step = await asked
        except RookeryError as error:
            self._refuse(tag, error.cause)
            return
        if isinstance(step, Challenge):
            self.engine.challenge(step.data)
            return
        try:
            first = await self.login.hand_over(step, tag)
        except RookeryError as error:
            self._say(tag, answers.no_open(Cause.TOO_MANY if error.cause is Cause.TOO_MANY else Cause.UNAVAILABLE))
            return
        self.engine.send(first)
        self.engine.hand_over()

    def _refuse(self, tag: bytes, cause: Cause) -> None:
        if self.login.one_too_many():
            self.engine.send(responses.bye("Too many failed logins"))
            self.engine.log_out()
        self._say(tag, answers.no_login(cause, tls=self._stream.tls is not None))


_AT_ONCE: dict[type, Callable[[_Session], bytes]] = {
    c.Capability: _Session._capability,
    c.Noop: _Session._noop,
    c.Id: _Session._identify,
    c.Logout: _Session._log_out,
    c.StartTls: _Session._start_tls,
}
