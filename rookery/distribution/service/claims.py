"""What other frontends claim to count of client addresses, and how much of that is believed.

It makes a limit hold for several frontends together, and never more: one that is cut off, or alone, counts for itself.
A frontend may be a stolen one, and say that everybody has connections without number. So what one claims counts for
half of a limit at most, what all claim leaves a quarter to whoever comes here, and all of it is forgotten when nothing
came for some seconds.
"""

import heapq
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rookery.base.clock import Clock
from rookery.distribution.auth.abuse import AbuseSettings, Budgets
from rookery.distribution.service.signals import ADDRESSES, FAILED, Claim, Count
from rookery.net.limits import Key, address_key

FRESH = 3.5  # seconds: a claim comes each second, and one or two may be lost
FAILURES = 4_096  # networks whose wrong logins are counted
NODES = 64  # whose claims are kept


def octets(client: Key) -> bytes:
    """4 for IPv4, 8 for IPv6; none for what is no address."""
    if isinstance(client, bytes):
        return client
    try:
        return socket.inet_aton(client)
    except OSError:
        return b""


def count(connections: Mapping[str, Iterable[tuple[Key, int]]], failed: Iterable[tuple[Key, float]] = ()) -> Count:
    """What this node counts, by listener: the largest."""
    wrong = _largest(ADDRESSES // 4, ((FAILED, octets(client), int(number)) for client, number in failed))
    found = ((name, octets(client), number) for name, those in connections.items() for client, number in those)
    return Count([*wrong, *_largest(ADDRESSES - len(wrong), found)])


def _largest(most: int, found: Iterable[tuple[str, bytes, int]]) -> list[tuple[str, bytes, int]]:
    return heapq.nlargest(most, (one for one in found if one[1] and one[2] > 0), key=lambda one: one[2])


class Claims:
    """Of one node, on the event loop."""

    __slots__ = ("_clock", "_said")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: dict[str, tuple[float, dict[tuple[str, bytes], int]]] = {}  # by node: when, what

    def take(self, claim: Claim) -> None:
        """All that a node claims, in place of what it claimed before."""
        now = self._clock.monotonic()
        self._forget(now)
        if claim.node in self._said or len(self._said) < NODES:
            self._said[claim.node] = now, {(name, key): number for name, key, number in claim.count.connections}

    def _forget(self, now: float) -> None:
        for node, (at, _) in list(self._said.items()):
            if now - at > FRESH:
                del self._said[node]

    @property
    def nodes(self) -> int:
        """Whose claims are believed now."""
        self._forget(self._clock.monotonic())
        return len(self._said)

    def elsewhere(self, listener: str, client: Key, limit: int) -> int:
        """Connections of that client to that listener of other nodes, so far as they count toward `limit`."""
        now, total, key = self._clock.monotonic(), 0, octets(client)
        for at, said in self._said.values():
            if now - at <= FRESH:
                total += min(said.get((listener, key), 0), limit // 2)
        return min(total, limit - max(1, limit // 4))

    def failed(self, network: str, used: float, limit: int) -> float:
        """Implements abuse.Elsewhere. Frontends count all that they saw fail: `used` of that was answered here."""
        now, key = self._clock.monotonic(), octets(address_key(network.partition("/")[0]))
        claimed = [said.get((FAILED, key), 0) for at, said in self._said.values() if now - at <= FRESH]
        believed = sum(min(number, limit // 2) for number in claimed)
        return max(0.0, min(sum(claimed) - used, believed, limit - max(1, limit // 4)))


class Failures:
    """Logins that were wrong at this node, by client network."""

    __slots__ = ("_used",)

    def __init__(self, clock: Clock) -> None:
        self._used: Budgets[Key] = Budgets(clock, 0, AbuseSettings().network_refill, FAILURES)

    def add(self, address: str) -> None:
        self._used.charge(address_key(address))

    def counted(self) -> Iterable[tuple[Key, float]]:
        return self._used.items()


@dataclass(frozen=True, slots=True)
class Sharing:
    """Of one process: what others claim, and what it counts itself."""

    claims: Claims
    failures: Failures
    counted: Callable[[], Count]
