"""What opens an account at its host: a random handle, made when the directory says that somebody has logged in.

No signature, no shared key and no clock of another node: it holds for one account, protocol and frontend, once, for
some seconds of this process's own time. Whether the account is hosted here is asked again when it is opened.
"""

import hashlib
from collections import OrderedDict
from typing import NamedTuple

from rookery.base.clock import Clock
from rookery.base.ids import AccountId, RandomBytes, system_random
from rookery.distribution.service.calls import HANDLE_SIZE, Granted

LIFETIME = 10.0  # seconds
MOST = 100_000  # that wait; the oldest go first


class Coming(NamedTuple):
    """Who is expected, and until when (monotonic seconds). beyond: where the session is passed on to, if it is."""

    account: AccountId
    protocol: str
    frontend: str
    session: str
    until: float
    beyond: Granted | None


class Handles:
    """One per process of a host. Event loop only."""

    __slots__ = ("_clock", "_coming", "_most", "_random")

    def __init__(self, clock: Clock, random: RandomBytes = system_random, *, most: int = MOST) -> None:
        self._clock = clock
        self._random = random
        self._most = most
        self._coming: OrderedDict[bytes, Coming] = OrderedDict()  # by digest: looking one up tells nothing by its time

    def __len__(self) -> int:
        return len(self._coming)

    def expect(
        self, account: AccountId, protocol: str, frontend: str, session: str, beyond: Granted | None = None
    ) -> bytes:
        """The handle for somebody who may open `account` by `protocol` through `frontend`, and nobody else."""
        now = self._clock.monotonic()
        while self._coming and (len(self._coming) >= self._most or next(iter(self._coming.values())).until <= now):
            self._coming.popitem(last=False)
        handle = self._random(HANDLE_SIZE)
        self._coming[_digest(handle)] = Coming(account, protocol, frontend, session, now + LIFETIME, beyond)
        return handle

    def redeem(self, handle: bytes, account: AccountId, protocol: str, frontend: str) -> Coming | None:
        """What it was made for; None: it opens nothing. It is used up either way."""
        found = self._coming.pop(_digest(handle), None)
        if found is None or found.until <= self._clock.monotonic():
            return None
        return found if found[:3] == (account, protocol, frontend) else None


def _digest(handle: bytes) -> bytes:
    return hashlib.blake2b(handle, digest_size=16).digest()
