"""What every protocol engine shows to the pump: bytes in, events out, bytes to send, and what it needs next.

An engine has no socket, clock or file, and never raises on what a peer sends.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Protocol, TypeVar

Event_co = TypeVar("Event_co", covariant=True)


class Wants(Enum):
    """What must happen before the engine can go on."""

    MORE = "more"  # octets of the peer
    START_TLS = "start-tls"  # send what is outgoing, then upgrade; `leftover()` must be empty
    CLOSE = "close"  # send what is outgoing, then end


class Engine(Protocol[Event_co]):
    wants: Wants

    def receive(self, data: bytes) -> Sequence[Event_co]:
        """Take octets and give the events that they complete.

        An engine stops at an event whose answer decides what the following octets mean (DATA, a literal); after the
        answer `receive(b"")` goes on with what it holds. So: call again with b"" until nothing comes.
        """
        ...

    def outgoing(self) -> bytes:
        """What to send now; each octet is given once."""
        ...

    def tls_started(self) -> None:
        """The upgrade that it wanted is done."""
        ...

    def leftover(self) -> bytes:
        """Octets received and not yet used."""
        ...


def taken(out: list[bytes]) -> bytes:
    """What is queued, as `outgoing` gives it; the queue is empty then."""
    if not out:
        return b""
    data = out[0] if len(out) == 1 else b"".join(out)
    out.clear()
    return data


# How a line of HTTP begins: somebody else's browser or server was made to send it here, and login or letter after it.
HTTP_METHODS = frozenset(
    {b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PRI", b"PUT", b"TRACE"}
)
