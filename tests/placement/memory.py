"""A pool's database in memory, by the rules of the statements (test_pool.py tries both), with faults to order."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.placement.values import Answer, Claimed, Elsewhere, Here, Moved, Nobody, Peer
from rookery.storage.schema import ACTIVE, MOVED, REMOVED


@dataclass
class Incarnation:
    incarnation: int
    backend: str
    address: str
    timeline: str
    draining: bool
    beat: int = 0
    ended: bool = False

    def peer(self) -> Peer:
        return Peer(self.incarnation, self.backend, self.address, self.beat, self.draining)


@dataclass
class Account:
    state: int = ACTIVE
    pool: int = 0
    incarnation: int | None = None
    epoch: int = 0
    opened_under: str = "one/1"


@dataclass
class MemoryPool:
    """`down`: nothing reaches it. `unheard`: names of calls that are carried out, and whose answer is lost, once.
    `locked`: accounts whose rows somebody keeps. `claims`: the groups that were asked for. `meanwhile`: called in the
    middle of the next claim.
    """

    timeline: str = "one/1"
    incarnations: dict[int, Incarnation] = field(default_factory=dict)
    accounts: dict[AccountId, Account] = field(default_factory=dict)
    down: bool = False
    unheard: set[str] = field(default_factory=set)
    locked: set[AccountId] = field(default_factory=set)
    claims: list[list[AccountId]] = field(default_factory=list)
    meanwhile: Callable[[], None] | None = None
    _epoch: int = 0

    def _asked(self) -> None:
        if self.down:
            raise RookeryError(Cause.UNAVAILABLE, "the database is down")

    def _answered(self, name: str) -> None:
        if name in self.unheard:
            self.unheard.remove(name)
            raise RookeryError(Cause.UNAVAILABLE, "the answer was lost")

    def _lives(self, incarnation: int) -> bool:
        row = self.incarnations.get(incarnation)
        return row is not None and not row.ended and row.timeline == self.timeline

    async def register(self, backend: str, address: str, incarnation: int, draining: bool) -> str:
        self._asked()
        for row in self.incarnations.values():
            row.ended |= row.backend == backend
        self.incarnations[incarnation] = Incarnation(incarnation, backend, address, self.timeline, draining)
        self._answered("register")
        return self.timeline

    async def beat(self, incarnation: int, draining: bool) -> Answer:
        self._asked()
        others = [r.peer() for r in self.incarnations.values() if not r.ended and r.incarnation != incarnation]
        mine = None
        if self._lives(incarnation):
            self.incarnations[incarnation].beat += 1
            self.incarnations[incarnation].draining = draining
            mine = self.incarnations[incarnation].beat
        self._answered("beat")
        return Answer(mine, tuple(others))

    async def end(self, incarnation: int, seen: int | None) -> bool:
        self._asked()
        row = self.incarnations.get(incarnation)
        if row is None or row.ended or seen not in (None, row.beat):
            return False
        row.ended = True
        self._answered("end")
        return True

    async def claim(self, incarnation: int, accounts: Sequence[AccountId], *, take: bool) -> Claimed:
        self._asked()
        self.claims.append(list(accounts))
        if not self._lives(incarnation):
            return Claimed(self.timeline, False)
        found = {account: self._claim(incarnation, account, take) for account in accounts}
        meanwhile, self.meanwhile = self.meanwhile, None
        claimed = Claimed(self.timeline, True, found)
        if meanwhile is not None:
            meanwhile()
        self._answered("claim")
        return claimed

    def _claim(self, incarnation: int, account: AccountId, take: bool) -> Here | Elsewhere | Moved | Nobody | Refusal:
        row = self.accounts.get(account)
        if row is None or row.state == REMOVED:
            return Refusal(Cause.NOT_FOUND)
        if row.state == MOVED:
            return Moved(row.pool)
        if row.state != ACTIVE:
            return Refusal(Cause.MOVED)
        host = self.incarnations.get(row.incarnation or 0)
        if (
            host is not None
            and host.incarnation != incarnation
            and not host.ended
            and self.timeline == row.opened_under
        ):
            return Elsewhere(host.backend, host.address, host.incarnation)
        if not take:
            return Nobody()
        if account in self.locked:
            return Refusal(Cause.BUSY)
        self._epoch += 1
        row.incarnation, row.epoch, row.opened_under = incarnation, self._epoch, self.timeline
        return Here(self._epoch)

    async def release(self, incarnation: int, account: AccountId, epoch: int) -> None:
        self._asked()
        row = self.accounts[account]
        if (row.incarnation, row.epoch) == (incarnation, epoch):
            row.incarnation = None
        self._answered("release")

    async def living(self) -> list[tuple[Peer, int]]:
        self._asked()
        counts = Counter(account.incarnation for account in self.accounts.values())
        rows = sorted(self.incarnations.values(), key=lambda row: row.backend)
        return [(row.peer(), counts[row.incarnation]) for row in rows if not row.ended]

    async def purge(self, ended: Sequence[int]) -> list[int]:
        self._asked()
        named = {account.incarnation for account in self.accounts.values()}
        for incarnation in set(ended) - named:
            if self.incarnations[incarnation].ended:
                del self.incarnations[incarnation]
        return [row.incarnation for row in self.incarnations.values() if row.ended]
