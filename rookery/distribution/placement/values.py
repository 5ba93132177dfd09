"""What placement tells and asks. Times are seconds of a clock that goes on while the machine sleeps."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId

INTERVAL = 0.2  # seconds from beat to beat


class Here(msgspec.Struct, frozen=True):
    """This process hosts the account, under this epoch; 0 in a static pool, where there are none."""

    epoch: int


class Elsewhere(msgspec.Struct, frozen=True):
    """Another backend does, or should be asked to; where a client or a delivery is to go.

    `pool`: another pool than this one, whose backends know more; of those, as host:port, `lmtp`: where they take
    deliveries, and `cluster`: their cluster ports.
    """

    backend: str
    address: str
    incarnation: int
    pool: str = ""
    lmtp: tuple[str, ...] = ()
    cluster: tuple[str, ...] = ()


Location: TypeAlias = Here | Elsewhere


class Moved(msgspec.Struct, frozen=True):
    """It was in this pool, and is in that one: its number in the directory."""

    pool: int


class MovedTo(RookeryError):
    """The same, to who does not know the pools of the directory: they refuse it for now."""

    def __init__(self, pool: int) -> None:
        super().__init__(Cause.MOVED, "the account has moved to another pool")
        self.pool = pool


class Nobody(msgspec.Struct, frozen=True):
    """Whoever claims it may have it."""


class Peer(msgspec.Struct, frozen=True):
    """A living incarnation, as its row says."""

    incarnation: int
    backend: str
    address: str
    beat: int
    draining: bool = False


class Answer(msgspec.Struct, frozen=True):
    """To a beat. mine: the counter after it; None: this incarnation has ended, or is of another timeline."""

    mine: int | None
    others: tuple[Peer, ...] = ()


class Claimed(msgspec.Struct, frozen=True):
    """To a claim. living: the claimant is; else nothing was claimed. found: every account asked for, if it lives."""

    timeline: str
    living: bool
    found: Mapping[AccountId, Here | Elsewhere | Moved | Nobody | Refusal] = {}


class Backend(msgspec.Struct, frozen=True):
    """A line of `rookery backend list`. silence: seconds without a beat as seen from here, None when not known yet."""

    backend: str
    incarnation: int
    address: str
    draining: bool
    silence: float | None
    accounts: int


class Pool(Protocol):
    """The pool's database. All raise RookeryError when it cannot be asked, or nobody knows what became of it."""

    async def register(self, backend: str, address: str, incarnation: int, draining: bool) -> str:
        """The former incarnation of the same backend ends, this one lives; returns the timeline."""

    async def beat(self, incarnation: int, draining: bool) -> Answer: ...

    async def end(self, seen: Mapping[int, int | None]) -> set[int]:
        """Record the deaths of those that live and whose counter still is what was seen (None: whatever it is), and
        that nobody writes to at this moment; returns whose death it was.
        """

    async def claim(self, incarnation: int, accounts: Sequence[AccountId], *, take: bool) -> Claimed:
        """Those that may be claimed are, unless `take` is false: then they are Nobody's."""

    async def release(self, incarnation: int, account: AccountId, epoch: int) -> None: ...

    async def living(self) -> list[tuple[Peer, int]]:
        """With the number of accounts each hosts."""

    async def purge(self, ended: Sequence[int]) -> list[int]:
        """Forget those of `ended` that no account names; returns who has ended."""
