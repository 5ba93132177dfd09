"""What this node brings to every link: how it introduces itself, whom it takes for a member, and what it does."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member
from rookery.net.cluster.stream import LinkStream
from rookery.wire.cluster.speaking import LIMITS, Limits
from rookery.wire.cluster.values import NEWEST, OLDEST, WINDOW, Hello, Preface, Signal

if TYPE_CHECKING:
    from rookery.net.cluster.link import Link


def _everybody(member: Member) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Node:
    """`member_of` reads a certificate (DER) that TLS has verified and raises RookeryError when it is no member's now;
    `admit` is asked at every handshake and each second, for a certificate may have ended. `window`: octets of a stream
    that may wait at its reader. `heard`: by name of a node, when it spoke last on a link that has ended (seconds of the
    wheel).
    """

    cluster: str
    name: str
    release: str
    member_of: Callable[[bytes], Member]
    admit: Callable[[Member], bool] = _everybody
    window: int = WINDOW
    limits: Limits = LIMITS
    heard: dict[str, float] = field(default_factory=dict)

    def hello(self) -> Hello:
        return Hello(OLDEST, NEWEST, self.cluster, self.name, self.release, self.window)


def no_streams(link: "Link", preface: Preface, stream: LinkStream) -> None:
    """The default of `opened`."""
    raise RookeryError(Cause.UNSUPPORTED, f"no {preface.protocol} here")


async def no_calls(link: "Link", payload: bytes) -> bytes:
    """The default of `called`."""
    raise RookeryError(Cause.UNSUPPORTED, "no calls here")


def no_signals(link: "Link", signal: Signal) -> None:
    """The default of `signalled`."""


def nothing(link: "Link") -> None:
    """The default of what is called when a link is greeted and lost."""


@dataclass(frozen=True, slots=True)
class Service:
    """What peers may have of us; `link.peer` says who asks, and each decides whether that one may.

    `opened` begins to serve a stream and returns at once, `called` answers a call; RookeryError of either is told to
    the peer. Whoever gets a stream closes it.
    """

    opened: Callable[["Link", Preface, LinkStream], None] = no_streams
    called: Callable[["Link", bytes], Awaitable[bytes]] = no_calls
    signalled: Callable[["Link", Signal], None] = no_signals


def check_context(context: ssl.SSLContext) -> None:
    """Raises ValueError unless it is for mutual TLS 1.3 where not names but members are looked at."""
    if context.minimum_version < ssl.TLSVersion.TLSv1_3 or context.verify_mode is not ssl.CERT_REQUIRED:
        raise ValueError("the cluster port is TLS 1.3 with certificates on both sides")
    if context.check_hostname:
        raise ValueError("nodes have no host names in their certificates")
