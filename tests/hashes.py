"""Password hashes that cost tests little: the work is in proportion to the strength, which few tests look at."""

from collections.abc import Iterator
from contextlib import contextmanager

import argon2
import pytest

from rookery.distribution.auth import authenticator, schemes

FULL = schemes._ARGON
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@contextmanager
def cheap() -> Iterator[None]:
    """New hashes, and the one that stands for accounts that are not there, cost microseconds inside the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schemes, "_ARGON", CHEAP)
        patch.setattr(authenticator, "_DUMMY", schemes.parse(schemes.make(b"nobody")))
        yield
