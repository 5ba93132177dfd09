"""A login at a frontend, the same for every protocol: the directory decides, and then the host of the account takes the
session. What a client says by and by in PLAIN or LOGIN is gathered here, and asked about at once.
"""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rookery.access.frontend.way import Opening, Way, handed_over
from rookery.access.login import is_loopback, mechanisms
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import short_id
from rookery.base.log import logger
from rookery.distribution.service.calls import Challenge, Client, Granted
from rookery.distribution.service.logins import Directory
from rookery.net.stream import Stream
from rookery.wire.sasl import steps
from rookery.wire.sasl.plain import LoginEngine, PlainEngine

log = logger("frontend")


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """login_time: seconds from the connection to the login. failed_logins: of one connection. scram: offered, because
    the directory has keys. plaintext_on_loopback: passwords without TLS from this machine.
    """

    hostname: str = "localhost"
    login_time: float = 60.0
    failed_logins: int = 5
    scram: bool = False
    plaintext_on_loopback: bool = True
    message_size: int = 50 * 1024 * 1024


def nobody(address: str) -> None:
    """The default of `failed`."""


@dataclass(frozen=True, slots=True)
class Front:
    """What all connections of a frontend share. `tls`: offer STARTTLS with it. `failed`: called with the address of a
    client that has not known its password."""

    directory: Directory
    way: Way
    settings: FrontSettings
    tls: ssl.SSLContext | None = None
    failed: Callable[[str], None] = nobody


class Login:
    """Of one connection. `host`: the stream to the account's host, once that has taken the session."""

    __slots__ = ("_exchange", "_failed", "_gathering", "_protocol", "_said", "_shared", "_stream", "host", "id")

    def __init__(self, protocol: str, stream: Stream, shared: Front) -> None:
        self.id = short_id()
        self.host: Stream | None = None
        self._protocol = protocol
        self._stream = stream
        self._shared = shared
        self._exchange = b""  # under way
        self._gathering: PlainEngine | LoginEngine | str = ""  # or the mechanism whose first words are awaited
        self._said: tuple[str, bytes] | None = None  # all that it takes, until somebody has the session
        self._failed = 0
        stream.idle = shared.settings.login_time
        stream.deadline = stream.now() + shared.settings.login_time
        log.debug("connected", session=self.id, address=stream.peer.address, tls=stream.tls is not None)

    def mechanisms(self, *, tls: bool | None = None) -> tuple[str, ...]:
        """SASL mechanisms to offer now, or once TLS is active."""
        settings = self._shared.settings
        return mechanisms(
            self._stream.tls is not None if tls is None else tls,
            is_loopback(self._stream.peer.address),
            scram=settings.scram,
            plaintext_on_loopback=settings.plaintext_on_loopback,
        )

    async def begin(self, mechanism: str, initial: bytes | None) -> Challenge | Granted:
        """`mechanism` in any case. Raises RookeryError: as access/login.py's Rejected, or UNAVAILABLE."""
        name = mechanism.upper()
        if name not in self.mechanisms():
            plain = name in mechanisms(True, True)
            raise RookeryError(Cause.DENIED if plain else Cause.UNSUPPORTED, "not offered here")
        if name == "PLAIN" or name == "LOGIN":
            self._gathering = PlainEngine() if name == "PLAIN" else LoginEngine()
            return await self._gathered(self._gathering.start(initial))
        if initial is None:  # the client speaks first
            self._gathering = name
            return Challenge(b"", b"")
        return await self._begun(name, initial)

    async def step(self, data: bytes) -> Challenge | Granted:
        """The client's answer to the last challenge. Raises RookeryError."""
        gathering, self._gathering = self._gathering, ""
        if isinstance(gathering, str):
            if gathering:
                return await self._begun(gathering, data)
            exchange, self._exchange = self._exchange, b""
            return await self._answered(self._shared.directory.step(exchange, data))
        self._gathering = gathering
        return await self._gathered(gathering.answer(data))

    async def _gathered(self, step: steps.Step) -> Challenge | Granted:
        if isinstance(step, steps.Challenge):
            return Challenge(b"", step.data)
        self._gathering = ""
        if not isinstance(step, steps.CheckPassword):
            raise RookeryError(Cause.INVALID, step.what if isinstance(step, steps.Failed) else "")
        said = f"{step.authzid}\0{step.login}\0{step.password}".encode()
        granted = await self._begun("PLAIN", said)
        self._said = "PLAIN", said
        return granted

    async def _begun(self, mechanism: str, initial: bytes) -> Challenge | Granted:
        stream = self._stream
        client = Client(self._protocol, stream.peer.address, self.id, stream.tls is not None)
        return await self._answered(self._shared.directory.begin(client, mechanism, initial))

    async def _answered(self, asked: Awaitable[Challenge | Granted]) -> Challenge | Granted:
        try:
            step = await asked
        except RookeryError as error:
            if error.cause is Cause.BAD_CREDENTIALS:
                self._shared.failed(self._stream.peer.address)
            raise
        if isinstance(step, Challenge):
            self._exchange = step.exchange
        return step

    async def cancel(self) -> None:
        """The client has given the exchange up, or is gone."""
        self._gathering = ""
        exchange, self._exchange = self._exchange, b""
        if exchange:
            try:
                await self._shared.directory.cancel(exchange)
            except RookeryError:
                return  # it ends by itself

    async def _again(self, granted: Granted, relay: bool) -> Granted:
        """Of who has granted it; when that is gone, of another directory node, once."""
        try:
            return await self._shared.directory.again(granted.exchange, relay=relay)
        except RookeryError as error:
            said, self._said = self._said, None
            if said is None or error.cause is not Cause.UNAVAILABLE:
                raise
            log.info("asked-anew", session=self.id, what=error.what)
            step = await self._begun(*said)
            if isinstance(step, Challenge):
                raise
            return step

    def one_too_many(self) -> bool:
        """For a login that failed: whether it was the last one that this connection may try."""
        self._failed += 1
        return self._failed >= self._shared.settings.failed_logins

    async def hand_over(self, granted: Granted, resume: bytes) -> bytes:
        """What the host, which has taken the session, says first. Raises RookeryError when none takes it."""
        opening = Opening(self._protocol, self._stream, self.id, resume)
        try:
            self.host, first = await handed_over(self._shared.way, self._again, granted, opening, log)
        except RookeryError as error:
            log.refused("not-opened", error.refusal, session=self.id, account=granted.name)
            raise
        finally:
            self._said = None
        log.info("handed-over", session=self.id, account=granted.name, backend=granted.host.backend)
        self._stream.authenticated()
        return first
