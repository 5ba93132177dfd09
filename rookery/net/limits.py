"""How many connections one address, those not logged in, and all together may have. Counting only; cheap to refuse."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

Key: TypeAlias = str | bytes


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Of one listener. `before_login` None: the protocol knows no login (MX, LMTP)."""

    per_address: int = 100
    before_login: int | None = 10


class Total:
    """Connections of all listeners together."""

    __slots__ = ("count", "limit")

    def __init__(self, limit: int = 20_000) -> None:
        self.limit = limit
        self.count = 0


class _Count:
    __slots__ = ("connections", "told", "waiting")

    def __init__(self) -> None:
        self.connections = 0
        self.waiting = 0  # of them, before login
        self.told = False  # a refusal was logged


def address_key(address: str) -> Key:
    """What counts as one peer: an IPv4 address, or a /64 of IPv6."""
    if ":" not in address:
        return address
    try:
        return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:8]
    except OSError:
        return address


def nowhere(key: Key, limit: int) -> int:
    """The default of `elsewhere`."""
    return 0


class Admissions:
    """The connections of one listener, by address. `elsewhere`: those of an address to other nodes, as far as they
    count toward a limit."""

    __slots__ = ("_counts", "_elsewhere", "limits", "total")

    def __init__(self, limits: ConnectionLimits, total: Total, elsewhere: Callable[[Key, int], int] = nowhere) -> None:
        self.limits = limits
        self.total = total
        self._elsewhere = elsewhere
        self._counts: dict[Key, _Count] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def admit(self, address: str) -> "Admission | Refused":
        """Count one more connection of `address`, unless that is too many."""
        if self.total.count >= self.total.limit:
            return TOTAL
        key = address_key(address)
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = _Count()
        before = self.limits.before_login
        refused = None
        per_address = self.limits.per_address
        if count.connections >= per_address or count.connections + self._elsewhere(key, per_address) >= per_address:
            refused = PER_ADDRESS
        elif before is not None and count.waiting >= before:
            refused = BEFORE_LOGIN
        if refused is not None:
            first, count.told = not count.told, True
            return Refused(refused.why, first)
        count.connections += 1
        count.waiting += 1
        self.total.count += 1
        return Admission(self, key, count)

    def counted(self, least: int) -> Iterator[tuple[Key, int]]:
        """Those with at least so many connections."""
        return ((key, count.connections) for key, count in self._counts.items() if count.connections >= least)

    def forget(self, key: Key, count: _Count) -> None:
        if not count.connections and self._counts.get(key) is count:
            del self._counts[key]


class Admission:
    """One counted connection. `promote` and `release` may be called again without effect."""

    __slots__ = ("_admissions", "_count", "_key", "_state")

    def __init__(self, admissions: Admissions, key: Key, count: _Count) -> None:
        self._admissions = admissions
        self._key = key
        self._count = count
        self._state = 2  # 2: before login; 1: after; 0: gone

    def promote(self) -> None:
        if self._state == 2:
            self._state = 1
            self._count.waiting -= 1

    def release(self) -> None:
        if not self._state:
            return
        self.promote()
        self._state = 0
        self._count.connections -= 1
        self._count.told = False
        self._admissions.total.count -= 1
        self._admissions.forget(self._key, self._count)


@dataclass(frozen=True, slots=True)
class Refused:
    """`first`: none was refused since that address last got a place; worth a line in the log."""

    why: str
    first: bool = False


TOTAL = Refused("connections")
PER_ADDRESS = Refused("connections-per-address")
BEFORE_LOGIN = Refused("connections-before-login")
