"""Bounded memory over the reads, for one thread alone: the event loop's, or that of one look aside.

An answer is read and remembered in one go, and a committed change is forgotten before its act is acknowledged, so
nothing stale outlives an acknowledgement; following.py does the same for what other nodes change. Absent names have a
small memory of their own: whoever guesses addresses does not push the real ones out.
"""

from collections import OrderedDict
from collections.abc import Callable, Container, Hashable
from copy import copy
from typing import Generic, TypeVar

from rookery.base.ids import AccountId
from rookery.distribution.directory import reads
from rookery.distribution.directory.reading import Reading, nowhere
from rookery.distribution.directory.reads import Entry, Expansion
from rookery.distribution.directory.values import AccountRecord, Credentials, Pool

NAMES_KEPT = 65_536  # about 20 MB at most
ABSENT_KEPT = 8_192
ACCOUNTS_KEPT = 32_768
DOMAINS_KEPT = 4_096
EXPANSIONS_KEPT = 4_096
EXPANSION_SIZE_KEPT = 100  # larger ones are read each time
CREDENTIALS_KEPT = 8_192

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The most recently used values, at most `limit`."""

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: K) -> V | None:
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> None:
        self._held[key] = value
        self._held.move_to_end(key)
        if len(self._held) > self._limit:
            self._held.popitem(last=False)

    def drop(self, key: K) -> V | None:
        return self._held.pop(key, None)

    def drop_where(self, unwanted: Callable[[V], bool]) -> None:
        for key in [key for key, value in self._held.items() if unwanted(value)]:
            del self._held[key]

    def clear(self) -> None:
        self._held.clear()

    def take(self, other: "Recent[K, V]") -> None:
        for key, value in other._held.items():
            self.put(key, value)


class Memory:
    """Reads that are remembered. Every method is synchronous: microseconds when warm, one point read when not."""

    __slots__ = (
        "_absent",
        "_accounts",
        "_changes",
        "_credentials",
        "_domains",
        "_expansions",
        "_foreign",
        "_names",
        "_oldest",
        "_pools",
        "reading",
    )

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self._changes = 0
        self._domains: Recent[str, int] = Recent(DOMAINS_KEPT)
        self._foreign: Recent[str, bool] = Recent(DOMAINS_KEPT)
        self._names: Recent[tuple[int, str], Entry] = Recent(NAMES_KEPT)
        self._absent: Recent[tuple[int, str], bool] = Recent(ABSENT_KEPT)
        self._accounts: Recent[bytes, AccountRecord] = Recent(ACCOUNTS_KEPT)
        self._expansions: Recent[bytes, Expansion] = Recent(EXPANSIONS_KEPT)
        self._credentials: Recent[bytes, Credentials] = Recent(CREDENTIALS_KEPT)
        self._oldest: Recent[None, str] = Recent(1)
        self._pools: Recent[None, dict[int, Pool]] = Recent(1)

    @property
    def changes(self) -> int:
        """Rises with everything that is forgotten."""
        return self._changes

    def alone(self) -> "Memory":
        """The same memory, which raises NotInMemory rather than read."""
        made = copy(self)
        made.reading = nowhere
        return made

    def take(self, other: "Memory", changes: int) -> None:
        """Remember what `other` was filled with since `changes` was read here; nothing, if it may be old by now."""
        if changes != self._changes:
            return
        self._domains.take(other._domains)
        self._foreign.take(other._foreign)
        self._names.take(other._names)
        self._absent.take(other._absent)
        self._accounts.take(other._accounts)
        self._expansions.take(other._expansions)
        self._credentials.take(other._credentials)
        self._oldest.take(other._oldest)
        self._pools.take(other._pools)

    def _read(
        self, found: Recent[K, V], absent: Recent[K, bool] | None, key: K, read: Callable[[], V | None]
    ) -> V | None:
        value = found.get(key)
        if value is not None:
            return value
        if absent is not None and absent.get(key):
            return None
        value = read()
        if value is not None:
            found.put(key, value)
        elif absent is not None:
            absent.put(key, True)
        return value

    def oldest_domain(self) -> str:
        found = self._oldest.get(None)
        if found is None:
            with self.reading() as reader:
                found = reads.oldest_domain(reader)
            self._oldest.put(None, found)
        return found

    def pools(self) -> dict[int, Pool]:
        """By number; 0 is the first of them too. Without what is free, which is not followed."""
        pools = self._pools.get(None)
        if pools is None:
            with self.reading() as reader:
                found = reads.pools(reader)
            pools = {0: found[0]} if found else {}
            pools |= {pool.id: pool for pool in found}
            self._pools.put(None, pools)
        return pools

    def domain_number(self, name: str) -> int | None:
        number = self._domains.get(name)
        if number is not None:
            return number

        def read() -> int | None:
            with self.reading() as reader:
                return reads.domain_number(reader, name)

        return self._read(self._domains, self._foreign, name, read)

    def entry(self, number: int, local: str) -> Entry | None:
        key = (number, local)
        found = self._names.get(key)
        if found is not None:
            return found

        def read() -> Entry | None:
            with self.reading() as reader:
                return reads.entry(reader, number, local)

        return self._read(self._names, self._absent, key, read)

    def account(self, account: bytes) -> AccountRecord | None:
        found = self._accounts.get(account)
        if found is not None:
            return found

        def read() -> AccountRecord | None:
            with self.reading() as reader:
                return reads.account(reader, account)

        return self._read(self._accounts, None, account, read)

    def credentials(self, account: bytes) -> Credentials | None:
        def read() -> Credentials | None:
            with self.reading() as reader:
                return reads.credentials(reader, account)

        return self._read(self._credentials, None, account, read)

    def expansion(self, expansion: bytes) -> Expansion | None:
        found = self._expansions.get(expansion)
        if found is None:
            with self.reading() as reader:
                found = reads.expansion(reader, expansion)
            if found is not None and len(found.targets) <= EXPANSION_SIZE_KEPT:
                self._expansions.put(expansion, found)
        return found

    def forget_name(self, key: tuple[int, str]) -> None:
        self._changes += 1
        self._absent.drop(key)
        entry = self._names.drop(key)
        if entry is not None:
            self._expansions.drop(entry.object)

    def forget_account(self, account: AccountId) -> None:
        self._changes += 1
        self._accounts.drop(account)
        self._credentials.drop(account)

    def forget_absent(self) -> None:
        """Names that were not there."""
        self._changes += 1
        self._absent.clear()

    def forget_expansions(self) -> None:
        self._changes += 1
        self._expansions.clear()

    def forget_names_of(self, objects: Container[bytes]) -> None:
        """Looks at every name in memory."""
        self._changes += 1
        self._names.drop_where(lambda entry: entry.object in objects)

    def forget_everything(self) -> None:
        self._changes += 1
        for memory in (self._domains, self._foreign, self._names, self._absent, self._accounts, self._expansions):
            memory.clear()
        self._credentials.clear()
        self._oldest.clear()
        self._pools.clear()
