"""Which backend an account goes to first, second and so on, the same for everybody who knows their names.

Highest random weight (Thaler and Ravishankar, 1998): when a backend comes or goes, only the accounts move that have it
first with or without it.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def ranked(account: bytes, backends: Iterable[T], name: Callable[[T], str]) -> list[T]:
    """The first is to be asked first."""
    return sorted(backends, key=lambda backend: _weight(account, name(backend)), reverse=True)


def _weight(account: bytes, name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8, key=account).digest()
