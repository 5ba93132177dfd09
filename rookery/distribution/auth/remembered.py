"""Successful checks, remembered for a while under a keyed hash, so that busy accounts do not pay argon2 at each login.

The key is random and lives with the process, so what is held is of no use to whoever reads the memory of a dead one.
A check counts only while the account's version is the one it was made under: a changed password, a removed app
password or a disabled account ends it at once.
"""

import hashlib
from collections import OrderedDict

from rookery.base.clock import Clock
from rookery.base.ids import AccountId, RandomBytes, system_random

LIFETIME = 3600.0  # seconds
ACCOUNTS_LIMIT = 50_000
PER_ACCOUNT_LIMIT = 24  # passwords of one account: its own and every app password


class Remembered:
    """Which (account, password) was proved under which version, until when."""

    __slots__ = ("_accounts", "_clock", "_lifetime", "_limit", "key")

    def __init__(
        self,
        clock: Clock,
        *,
        random: RandomBytes = system_random,
        lifetime: float = LIFETIME,
        limit: int = ACCOUNTS_LIMIT,
    ) -> None:
        self._clock = clock
        self.key = random(32)
        self._lifetime = lifetime
        self._limit = limit
        self._accounts: OrderedDict[AccountId, tuple[int, dict[bytes, float]]] = OrderedDict()

    def digest(self, owner: bytes, password: bytes) -> bytes:
        return digest_of(self.key, owner, password)

    def knows(self, account: AccountId, version: int, digest: bytes) -> bool:
        held = self._accounts.get(account)
        if held is None or held[0] != version:
            return False
        until = held[1].get(digest)
        if until is None or until <= self._clock.monotonic():
            return False
        self._accounts.move_to_end(account)
        return True

    def remember(self, account: AccountId, version: int, digest: bytes) -> None:
        if self._lifetime <= 0:
            return
        held = self._accounts.get(account)
        if held is None or held[0] != version:
            held = self._accounts[account] = (version, {})
        proofs = held[1]
        proofs.pop(digest, None)
        if len(proofs) >= PER_ACCOUNT_LIMIT:
            del proofs[next(iter(proofs))]
        proofs[digest] = self._clock.monotonic() + self._lifetime
        self._accounts.move_to_end(account)
        if len(self._accounts) > self._limit:
            self._accounts.popitem(last=False)

    def forget(self, account: AccountId) -> None:
        self._accounts.pop(account, None)


def digest_of(key: bytes, owner: bytes, password: bytes) -> bytes:
    """`owner`: the account, or a name that has none."""
    return hashlib.blake2b(len(owner).to_bytes(2, "big") + owner + password, digest_size=16, key=key).digest()
