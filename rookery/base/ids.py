"""Identifiers. Accounts are immutable random 128-bit ids; addresses are names for them.

Ids that become database keys start with a millisecond time, so that new rows land side by side; the rest is random,
so that none can be guessed. No id is derived from content.
"""

import os
from collections.abc import Callable
from typing import NewType

from rookery.base.clock import Clock

AccountId = NewType("AccountId", bytes)  # 16 random bytes
BlobId = NewType("BlobId", bytes)  # 6 bytes of milliseconds, 10 random bytes

RandomBytes = Callable[[int], bytes]
system_random: RandomBytes = os.urandom

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u to misread on the telephone


def pooled(random: RandomBytes, size: int = 4096) -> RandomBytes:
    """The same octets with few system calls, for one thread: each gives the GIL away, and a busy writer keeps it."""
    pool, at = b"", 0

    def take(count: int) -> bytes:
        nonlocal pool, at
        if at + count > len(pool):
            pool, at = random(max(size, count)), 0
        at += count
        return pool[at - count : at]

    return take


def new_account_id(random: RandomBytes = system_random) -> AccountId:
    return AccountId(random(16))


def new_blob_id(clock: Clock, random: RandomBytes = system_random) -> BlobId:
    return BlobId(int(clock.wall() * 1000).to_bytes(6, "big") + random(10))


def short_id(random: RandomBytes = system_random) -> str:
    """Twelve characters (60 bits): sessions and spooled messages, as they appear in logs and on the command line."""
    number = int.from_bytes(random(8), "big")
    return "".join(_ALPHABET[(number >> (5 * i)) & 31] for i in range(12))


def account_text(account: AccountId) -> str:
    return account.hex()


def account_from_text(text: str) -> AccountId:
    """Raises ValueError unless `text` is 32 hexadecimal digits."""
    data = bytes.fromhex(text)
    if len(data) != 16:
        raise ValueError(f"an account id has 32 hexadecimal digits, found {len(text)} characters")
    return AccountId(data)
