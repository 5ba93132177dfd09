"""A byte stream, over a socket or in memory. Everything above sees only this."""

import ssl
from collections.abc import Callable
from typing import NamedTuple, Protocol


class Peer(NamedTuple):
    """Who is at the other end. `address` is "" for an in-memory stream; a PROXY header replaces it."""

    address: str
    port: int = 0


class TlsFacts(NamedTuple):
    version: str  # "TLSv1.3"
    cipher: str
    server_name: str = ""  # SNI


class Interrupted(Exception):
    """A read was ended by `interrupt()`: finish what is begun, then say goodbye."""


class Injected(Exception):
    """The peer sent octets in clear after it was told to start TLS."""


class Stream(Protocol):
    """Reads are whatever has arrived; writes are buffered until `drain` waits for the peer.

    `idle` is how many seconds a read or drain may wait; `deadline` the moment (monotonic) at which both fail, whatever
    arrives. 0 means no such limit. Both are kept to the second, and never fire early.
    """

    idle: float
    deadline: float

    @property
    def peer(self) -> Peer: ...

    @property
    def local(self) -> Peer: ...

    @property
    def tls(self) -> TlsFacts | None: ...

    def now(self) -> float:
        """The clock of `deadline`, monotonic seconds."""
        ...

    async def read(self) -> bytes:
        """At least one octet, or b"" when the peer has ended or is gone.

        Raises TimeoutError after the stream's limits and Interrupted when nothing is there and somebody called
        `interrupt`.
        """
        ...

    def divert(self, sink: "Stream", over: Callable[[], None]) -> None:
        """Instead of reading: write to `sink` whatever has arrived and arrives, as fast as it takes it, without a task.

        `over` is called once: the peer has ended or is gone and `sink` has all of it, or somebody called `interrupt`.
        """
        ...

    def undivert(self) -> None:
        """Let go of the sink, and of whoever waits for room."""
        ...

    def when_room(self, relief: Callable[[], None]) -> None:
        """`relief` is called whenever the peer has taken most of what was written; for `divert`."""
        ...

    def write(self, data: bytes) -> None:
        """Never waits; does nothing once the peer is gone."""
        ...

    @property
    def unsent(self) -> bool:
        """True when so much waits for the peer that `drain` would wait too."""
        ...

    @property
    def gone(self) -> bool:
        """True when nothing that is written reaches anybody any more: long work for the peer may stop."""
        ...

    async def drain(self) -> None:
        """Wait until the peer has taken most of what was written; at once when little is waiting.

        Returns when the peer is gone (the next read says so). Raises TimeoutError after the stream's limits.
        """
        ...

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        """Upgrade in place. Nothing may have been read ahead (the engine's `leftover()` must be empty).

        Raises Injected when octets in clear are waiting, OSError (ssl.SSLError, ConnectionError, TimeoutError) when the
        handshake fails; the stream is of no use then.
        """
        ...

    def interrupt(self) -> None:
        """Ask the reader to come to an end: a read that has nothing to give raises Interrupted, once.

        What is diverted goes on, if the sink's peer can be asked to come to an end instead.
        """
        ...

    def urge(self) -> bool:
        """Ask whoever reads at the other end to come to an end, as `interrupt` does here. False: it cannot be asked."""
        ...

    def authenticated(self) -> None:
        """The peer has logged in: it no longer counts among those that have not. Ends `deadline`."""
        ...

    def close(self) -> None:
        """Flush what was written, then end."""
        ...

    def abort(self) -> None:
        """End now, dropping what was not sent."""
        ...
