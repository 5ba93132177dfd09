"""A byte stream, over a socket or in memory. Everything above sees only this."""

import ssl
from typing import NamedTuple, Protocol


class Peer(NamedTuple):
    """Who is at the other end. `address` is "" for an in-memory stream; a PROXY header replaces it."""

    address: str
    port: int = 0


class TlsFacts(NamedTuple):
    version: str  # "TLSv1.3"
    cipher: str
    server_name: str = ""  # SNI


class Stream(Protocol):
    """Reads are whatever has arrived; writes are buffered until `drain` waits for the peer."""

    @property
    def peer(self) -> Peer: ...

    @property
    def local(self) -> Peer: ...

    @property
    def tls(self) -> TlsFacts | None: ...

    async def read(self) -> bytes:
        """At least one octet, or b"" at the end. Raises TimeoutError after the stream's idle limit."""
        ...

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None:
        """Wait until the peer has taken most of what was written; at once when little is waiting."""
        ...

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        """Upgrade in place. Nothing may have been read ahead (the engine's `leftover()` must be empty)."""
        ...

    def close(self) -> None:
        """Flush what was written, then end."""
        ...

    def abort(self) -> None:
        """End now, dropping what was not sent."""
        ...
