"""One connection to a server that takes mail: a stream, the sending engine, and a time limit for each step."""

import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from rookery.base.errors import RookeryError
from rookery.net.stream import Injected, Interrupted, Stream
from rookery.wire.smtp_client.engine import SmtpClient, Stage
from rookery.wire.smtp_client.events import (
    BodyWanted,
    Broken,
    Event,
    Finished,
    Greeted,
    LoggedIn,
    LoginRefused,
    Mail,
    Ready,
    Refused,
    TlsRefused,
    TlsWanted,
)
from rookery.wire.smtp_client.extensions import Extensions
from rookery.wire.smtp_client.replies import Reply


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for each step: RFC 5321 section 4.5.3.2."""

    connect: float = 30.0
    greeting: float = 300.0
    hello: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    body: float = 180.0
    end: float = 600.0
    quit: float = 5.0

    def of(self, stage: Stage) -> float:
        return getattr(self, _STEPS.get(stage, "mail"))  # type: ignore[no-any-return]


PATIENCE = Patience()

_STEPS = {
    Stage.GREETING: "greeting", Stage.HELLO: "hello", Stage.TLS: "hello", Stage.LOGIN: "hello", Stage.RCPT: "rcpt",
    Stage.DATA: "data", Stage.BODY: "body", Stage.END: "end", Stage.QUIT: "quit",
}  # fmt: skip


class SessionRefused(Exception):
    """The connection cannot be used; `reply` is what the peer said, or our own 4xx. `tls`: the handshake failed."""

    def __init__(self, reply: Reply, *, tls: bool = False) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.tls = tls


class ClientSession:
    """Call `open` once, `deliver` as often as `usable`, then `quit` or `abort`."""

    __slots__ = ("_engine", "_patience", "_stream", "delivered", "usable")

    def __init__(self, stream: Stream, hostname: str, patience: Patience, *, lmtp: bool = False) -> None:
        self._stream = stream
        self._engine = SmtpClient(hostname, lmtp=lmtp)
        self._patience = patience
        self.usable = False
        self.delivered = 0  # transactions so far

    @property
    def gone(self) -> bool:
        """The peer has ended while nothing was under way."""
        return self._stream.gone

    @property
    def extensions(self) -> Extensions:
        return self._engine.extensions

    @property
    def encrypted(self) -> bool:
        return self._stream.tls is not None

    # --- the way to a ready connection

    async def open(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        need_tls: bool = False,
        login: tuple[str, str] | None = None,
        implicit_tls: bool = False,
    ) -> None:
        """Greeting, EHLO, STARTTLS when offered and `tls` given, login. Raises SessionRefused; the stream is gone.

        `implicit_tls`: the handshake comes before the greeting (RFC 8314 section 3).
        """
        try:
            if implicit_tls and tls is not None:
                await self._upgrade(tls, server_name)
            await self._open(tls, server_name, need_tls, login)
        except SessionRefused:
            self._stream.abort()
            raise
        self.usable = True

    async def _open(
        self, tls: ssl.SSLContext | None, server_name: str | None, need_tls: bool, login: tuple[str, str] | None
    ) -> None:
        await self._expect(Greeted)
        self._engine.hello()
        await self._expect(Ready)
        if tls is not None and self.extensions.starttls and self._stream.tls is None:
            self._engine.start_tls()
            if await self._expect(TlsWanted, TlsRefused) is TlsWanted:
                await self._upgrade(tls, server_name)
                self._engine.tls_started()
                self._engine.hello()
                await self._expect(Ready)
        if need_tls and self._stream.tls is None:
            raise SessionRefused(Reply(451, "4.7.10", "the server offers no encryption, which is required"))
        if login is not None:
            self._engine.login(*login)
            await self._expect(LoggedIn)

    async def _upgrade(self, tls: ssl.SSLContext, server_name: str | None) -> None:
        if self._engine.leftover():
            raise SessionRefused(Reply(451, "4.7.5", "the server sent octets in clear after STARTTLS"), tls=True)
        try:
            await self._stream.start_tls(tls, server_side=False, server_name=server_name)
        except Injected:
            raise SessionRefused(
                Reply(451, "4.7.5", "the server sent octets in clear after STARTTLS"), tls=True
            ) from None
        except OSError as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise SessionRefused(Reply(451, "4.7.5", f"TLS could not be started: {reason}"), tls=True) from error

    async def _expect(self, *wanted: type[Event]) -> type[Event]:
        """Drive until one of the wanted events comes; another one that ends the wait raises SessionRefused."""
        while True:
            for event in await self._step():
                if isinstance(event, wanted):
                    return type(event)
                if isinstance(event, Refused | LoginRefused | TlsRefused):
                    raise SessionRefused(event.reply)
                if isinstance(event, Broken):
                    raise SessionRefused(Reply(421, "4.4.2", event.what))

    # --- transactions

    async def deliver(self, mail: Mail, chunks: Callable[[], AsyncIterator[bytes]]) -> Sequence[Reply]:
        """One transaction; one reply for each recipient. Raises commands.Unsendable, before anything is sent.

        When the body cannot be read the connection is dropped in the middle: the peer must not take half a message.
        """
        engine = self._engine
        if engine.broken:
            return [Reply(421, "4.4.2", "the connection was lost")] * len(mail.recipients)
        engine.send(mail)
        while True:
            for event in await self._step():
                if isinstance(event, Finished):
                    self.delivered += 1
                    self.usable = not engine.broken
                    return event.replies
                if isinstance(event, BodyWanted):
                    failed = await self._send_body(mail, chunks)
                    if failed is not None:
                        return failed

    async def _send_body(self, mail: Mail, chunks: Callable[[], AsyncIterator[bytes]]) -> Sequence[Reply] | None:
        """None when all was sent; replies when our own side failed."""
        engine, stream = self._engine, self._stream
        stream.idle = self._patience.body
        try:
            if mail.whole is not None:
                engine.body(mail.whole)
            else:
                async for chunk in chunks():
                    engine.body(chunk)
                    stream.write(engine.outgoing())
                    if stream.unsent:
                        await stream.drain()
        except TimeoutError:
            return self._give_up("the server took the message too slowly")
        except RookeryError as error:
            return self._give_up(f"the message could not be read: {error.what}")
        engine.end_body()
        return None

    def _give_up(self, what: str) -> Sequence[Reply]:
        self.abort()
        (finished,) = (event for event in self._engine.lost(what) if isinstance(event, Finished))
        return finished.replies

    # --- the stream

    async def _step(self) -> Sequence[Event]:
        """Send what waits, read once; what goes wrong comes back as the engine's events."""
        engine, stream = self._engine, self._stream
        data = engine.outgoing()
        if data:
            stream.write(data)
        stream.idle = self._patience.of(engine.stage)
        try:
            if stream.unsent:
                await stream.drain()
            received = await stream.read()
        except TimeoutError:
            return engine.lost("the server did not answer in time")
        except (ConnectionError, Interrupted):
            return engine.lost("the connection was lost")
        if not received:
            return engine.lost("the server ended the connection")
        return engine.receive(received)

    async def quit(self) -> None:
        """Say goodbye; a peer that does not answer is not waited for long."""
        if self.usable:
            self.usable = False
            self._engine.quit()
            await self._step()
        self._stream.close()

    def abort(self) -> None:
        self.usable = False
        self._stream.abort()
