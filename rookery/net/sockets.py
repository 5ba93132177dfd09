"""Streams over the loop's socket transports: small, because there may be fifty thousand idle ones.

Not a place for policy: who may connect is the listener's business, what is said the pump's.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from rookery.net.inbox import Inbox
from rookery.net.stream import Injected, Peer, TlsFacts
from rookery.net.wheel import Wheel, shared_wheel

WRITE_LIMIT = 64 * 1024  # unsent octets at which `drain` begins to wait
HANDSHAKE_TIME = 15.0  # seconds for a TLS handshake
CLOSING_TIME = 10.0  # seconds in which a peer must take what is left after `close`


def nothing() -> None:
    """The default of the callbacks below."""


class SocketStream(Inbox, asyncio.Protocol):
    """A connection. Hand the class's instances to the loop as its protocol: `opened` streams may be used.

    `give_way` is called whenever octets arrive, `lost` once at the end, `promoted` at `authenticated()`.
    """

    __slots__ = ("_clog", "_give_way", "_lost", "_promoted", "_transport", "local", "peer", "tls")

    def __init__(
        self,
        *,
        wheel: Wheel | None = None,
        peer: Peer | None = None,
        local: Peer | None = None,
        give_way: Callable[[], None] = nothing,
        lost: Callable[[], None] = nothing,
        promoted: Callable[[], None] = nothing,
    ) -> None:
        """`peer` and `local`, if given, stand for those of the socket: a PROXY header named them."""
        super().__init__(shared_wheel() if wheel is None else wheel, asyncio.get_running_loop())
        self._transport = cast(asyncio.Transport, None)  # until connection_made, before which nobody has the stream
        self._give_way = give_way
        self._lost = lost
        self._promoted = promoted
        self._clog = False
        self.peer = peer or Peer("")
        self.local = local or Peer("")
        self.tls: TlsFacts | None = None

    # --- the loop calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_LIMIT)
        if not self.peer.address:
            self.peer = _name(transport.get_extra_info("peername"))
        if not self.local.address:
            self.local = _name(transport.get_extra_info("sockname"))
        self.tls = _facts(transport)

    def data_received(self, data: bytes) -> None:
        self._give_way()
        self._arrived(data)

    def eof_received(self) -> bool:
        self._end()
        return self.tls is None  # a peer that only listens from now on still gets its answers

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._clog = False
        self._drained()
        self.due = 0.0
        self._wheel.forget(self)
        lost, self._lost = self._lost, nothing
        lost()

    def pause_writing(self) -> None:
        self._clog = True

    def resume_writing(self) -> None:
        self._clog = False
        self._drained()

    # --- the stream

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        self._transport.pause_reading()  # the loop resumes it once the TLS layer is in place
        if self._data:
            raise Injected
        loop = asyncio.get_running_loop()
        upgraded = await loop.start_tls(
            self._transport,
            self,
            context,
            server_side=server_side,
            server_hostname=server_name,
            ssl_handshake_timeout=HANDSHAKE_TIME,
            ssl_shutdown_timeout=CLOSING_TIME,
        )
        if upgraded is None:
            raise ConnectionAbortedError("the peer ended during the TLS handshake")
        self._transport = upgraded
        self._transport.set_write_buffer_limits(WRITE_LIMIT)
        self.tls = _facts(upgraded)

    def authenticated(self) -> None:
        self.deadline = 0.0
        promoted, self._promoted = self._promoted, nothing
        promoted()

    def urge(self) -> bool:
        return False

    def close(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.close()
        self.due = self._wheel.now() + CLOSING_TIME
        self._wheel.watch(self)

    def abort(self) -> None:
        self._transport.abort()

    def expire(self) -> None:
        if self._transport.is_closing():
            self._transport.abort()
        super().expire()

    # --- for the inbox

    @property
    def gone(self) -> bool:
        return self._transport.is_closing()

    def _clogged(self) -> bool:
        return self._clog

    def _hold_back(self) -> None:
        self._transport.pause_reading()

    def _let_in(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()


def _name(name: object) -> Peer:
    """The peer of a socket name; Unix sockets have none. IPv4 in IPv6 is IPv4."""
    if not isinstance(name, tuple) or len(name) < 2:
        return Peer("")
    return Peer(str(name[0]).removeprefix("::ffff:").partition("%")[0], int(name[1]))


def _facts(transport: asyncio.BaseTransport) -> TlsFacts | None:
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return None
    cipher = tls.cipher()
    return TlsFacts(tls.version() or "", cipher[0] if cipher else "", getattr(tls, "server_name", ""))
