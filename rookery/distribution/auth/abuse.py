"""How often somebody may guess: budgets of failed logins, per network and per account, that refill with time.

A guess is charged before it is checked and refunded when it was right, so that many at once gain nothing. There are
three kinds of budget:

- a network's (an IPv4 address, an IPv6 /64), for all accounts it tries;
- an account's, shared by all networks it has never been logged in from: guessing from a botnet uses it up;
- an account's at one network it *has* been logged in from: the owner's own, which no stranger can use up.

Every refusal and failure is answered after a delay that grows with the guesses used up. Tables are bounded; what was
longest unused goes first.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from rookery.base.clock import Clock


@dataclass(frozen=True, slots=True)
class AbuseSettings:
    """A budget is (guesses at once, seconds until one comes back)."""

    network_guesses: int = 20
    network_refill: float = 30.0
    account_guesses: int = 50
    account_refill: float = 12.0
    home_guesses: int = 20
    home_refill: float = 30.0
    first_delay: float = 0.5  # seconds; doubles with each guess
    longest_delay: float = 8.0
    entries: int = 100_000  # of each table


K = TypeVar("K", bound=Hashable)

# Of a network, what is used here, and the limit: the guesses that were made at other nodes, so far as they count.
Elsewhere: TypeAlias = Callable[[str, float, int], float]


def nowhere(network: str, used: float, limit: int) -> float:
    """There is no other node."""
    return 0.0


class Budgets(Generic[K]):
    """Token buckets by key; a full one is not kept."""

    __slots__ = ("_clock", "_entries", "_guesses", "_held", "_refill")

    def __init__(self, clock: Clock, guesses: int, refill: float, entries: int) -> None:
        self._clock = clock
        self._guesses = float(guesses)
        self._refill = refill
        self._entries = entries
        self._held: OrderedDict[K, tuple[float, float]] = OrderedDict()  # key -> (used, at)

    def __len__(self) -> int:
        return len(self._held)

    def used(self, key: K) -> float:
        held = self._held.get(key)
        if held is None:
            return 0.0
        return max(0.0, held[0] - (self._clock.monotonic() - held[1]) / self._refill)

    def items(self) -> Iterator[tuple[K, float]]:
        """What is used up, of all that is kept."""
        return ((key, self.used(key)) for key in self._held)

    def room(self, key: K) -> bool:
        return self.used(key) + 1.0 <= self._guesses

    def charge(self, key: K, guesses: float = 1.0) -> None:
        used = self.used(key) + guesses
        if used <= 0.0:
            self._held.pop(key, None)
            return
        self._held[key] = (used, self._clock.monotonic())
        self._held.move_to_end(key)
        if len(self._held) > self._entries:
            self._held.popitem(last=False)


def network_of(address: str) -> str:
    """What counts as one client: an IPv4 address, an IPv6 /64; "" for what is no address (an in-memory stream)."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return str(found)


class Guess:
    """One charged guess; nothing need follow when the caller went away."""

    __slots__ = ("_abuse", "account", "home", "network")

    def __init__(self, abuse: "Abuse", network: str, account: bytes, home: bool) -> None:
        self._abuse = abuse
        self.network = network
        self.account = account
        self.home = home

    def right(self) -> None:
        """Refund; the network is a home of the account from now on."""
        self._abuse.refund(self)
        self._abuse.learn_home(self.network, self.account)

    def void(self) -> None:
        """Refund: it was not checked after all."""
        self._abuse.refund(self)


class Abuse:
    """All budgets of one node, on the event loop."""

    __slots__ = ("_accounts", "_homes", "_known", "_networks", "_settings", "elsewhere")

    def __init__(self, clock: Clock, settings: AbuseSettings | None = None) -> None:
        self._settings = s = settings or AbuseSettings()
        self._networks: Budgets[str] = Budgets(clock, s.network_guesses, s.network_refill, s.entries)
        self._accounts: Budgets[bytes] = Budgets(clock, s.account_guesses, s.account_refill, s.entries)
        self._homes: Budgets[tuple[bytes, str]] = Budgets(clock, s.home_guesses, s.home_refill, s.entries)
        self._known: OrderedDict[tuple[bytes, str], None] = OrderedDict()
        self.elsewhere: Elsewhere = nowhere

    def entries(self) -> int:
        """Rows held in all tables; for the metrics."""
        return len(self._networks) + len(self._accounts) + len(self._homes) + len(self._known)

    def is_home(self, network: str, account: bytes) -> bool:
        return (account, network) in self._known

    def learn_home(self, network: str, account: bytes) -> None:
        if not network:
            return
        key = (account, network)
        self._known[key] = None
        self._known.move_to_end(key)
        if len(self._known) > self._settings.entries:
            self._known.popitem(last=False)

    def guess(self, network: str, account: bytes) -> Guess | None:
        """Charge one guess, or None when a budget is used up. `account`: a digest of the name, known or not."""
        home = self.is_home(network, account)
        if home:
            if not self._homes.room((account, network)):
                return None
            self._homes.charge((account, network))
        else:
            if not (self._accounts.room(account) and (not network or self._has_room(network))):
                return None
            self._accounts.charge(account)
            if network:
                self._networks.charge(network)
        return Guess(self, network, account, home)

    def _has_room(self, network: str) -> bool:
        limit, used = self._settings.network_guesses, self._networks.used(network)
        return used + self.elsewhere(network, used, limit) + 1.0 <= limit

    def refund(self, guess: Guess) -> None:
        key = (guess.account, guess.network)
        if guess.home:
            self._homes.charge(key, -1.0)
        else:
            self._accounts.charge(guess.account, -1.0)
            if guess.network:
                self._networks.charge(guess.network, -1.0)

    def delay(self, network: str, account: bytes) -> float:
        """Seconds after its arrival at which a failed or refused guess is answered."""
        s = self._settings
        if self.is_home(network, account):
            used = self._homes.used((account, network))
        else:
            used = max(self._networks.used(network) if network else 0.0, self._accounts.used(account))
        return float(min(s.longest_delay, s.first_delay * 2.0 ** max(0.0, min(used, 32.0) - 1.0)))
