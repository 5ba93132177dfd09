"""Signals between nodes: that something has changed, or what one counts. They come at most once, or not at all, and
nothing is right or wrong by them: whoever hears one asks, and asks now and then in any case.

A node without a directory says to each directory node what it wants to hear (`want`), and again now and then. A
directory node tells of what changes there, and passes on what frontends count. It takes that for a claim of the one
whose certificate brought it, and passes on no more than a little of it.
"""

from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from rookery.base.clock import Clock
from rookery.base.log import logger
from rookery.base.members import Role
from rookery.distribution.auth.abuse import Budgets
from rookery.net.cluster.link import Link
from rookery.wire.cluster.values import Signal

WANT = "want"
MEMBERS = "members"  # somebody joined or was revoked, or there is another authority: ask
NAMES = "names"  # domains, addresses or accounts changed: what is remembered of them is to be asked again
COUNTERS = "counters"  # connections by client address, as a Count from a frontend, as a Claim to others
TOLD = frozenset({MEMBERS, NAMES, COUNTERS})

FAILED = "failed"
ADDRESSES = 800  # of one count, at most; with the names of listeners they fit a signal
COUNTED = frozenset({Role.FRONTEND, Role.MX_IN})  # who may say what it counts
BURST, REFILL = 4, 0.5  # counts of one node at once; seconds for one more
NODES = 1_000  # whose budgets are kept

Listener = Annotated[str, Meta(max_length=16)]
Key = Annotated[bytes, Meta(max_length=16)]
Number = Annotated[int, Meta(ge=1, le=1_000_000)]

log = logger("cluster")


class Want(msgspec.Struct, frozen=True, array_like=True):
    kinds: Annotated[list[Annotated[str, Meta(max_length=32)]], Meta(max_length=16)]


class Count(msgspec.Struct, frozen=True, array_like=True):
    """Connections now, by listener and client network (IPv4 address, or the first 8 octets of an IPv6 one); as those
    to the listener FAILED, wrong logins, of which one is forgotten every 30 s.
    """

    connections: Annotated[list[tuple[Listener, Key, Number]], Meta(max_length=ADDRESSES)]


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """What `node` counts, as a directory node passes it on."""

    node: Annotated[str, Meta(max_length=64)]
    count: Count


T = TypeVar("T", Want, Count, Claim)


def read(kind: type[T], data: bytes) -> T | None:
    """None for what is malformed, or of another release."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def nothing(claim: Claim) -> None:
    """The default of `heard`."""


class Hub:
    """Of a directory node. Implements `signalled` of a Service."""

    def __init__(self, clock: Clock, heard: Callable[[Claim], None] = nothing) -> None:
        """`heard`: of each claim that is passed on."""
        self._heard = heard
        self._wanted: dict[Link, frozenset[str]] = {}
        self._budgets: Budgets[str] = Budgets(clock, BURST, REFILL, NODES)

    def __len__(self) -> int:
        """Links by which somebody wants to hear."""
        return len(self._wanted)

    def signalled(self, link: Link, signal: Signal) -> None:
        if signal.kind == WANT:
            want = read(Want, signal.data)
            if want is not None:
                self._want(link, frozenset(want.kinds) & TOLD)
        elif signal.kind == COUNTERS and link.peer.roles & COUNTED:
            self._counted(link, signal)

    def tell(self, kind: str, data: bytes = b"", but: str = "") -> None:
        """Everybody who wants to hear of it, except the node `but`."""
        for link, kinds in list(self._wanted.items()):
            if link.closed:
                del self._wanted[link]
            elif kind in kinds and link.peer.name != but:
                link.signal(Signal(kind, data))

    def _want(self, link: Link, kinds: frozenset[str]) -> None:
        for one in [one for one in self._wanted if one.closed]:
            del self._wanted[one]
        known = self._wanted.get(link)
        self._wanted[link] = kinds
        if known is None:  # it may have missed something
            for kind in sorted(kinds & {MEMBERS, NAMES}):
                link.signal(Signal(kind))

    def _counted(self, link: Link, signal: Signal) -> None:
        name, count = link.peer.name, read(Count, signal.data)
        if count is None or not self._budgets.room(name):
            log.debug("count-dropped", node=name)
            return
        self._budgets.charge(name)
        self._heard(Claim(name, count))
        self.tell(COUNTERS, msgspec.msgpack.encode(Claim(name, count)), but=name)
