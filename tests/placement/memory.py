"""A pool's database in memory, by the rules of the statements (test_pool.py and test_fence.py try both), with faults to
order. Mail is in it as far as the fence, APPEND and the jump after a fail-over ask for it (tables.py).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.placement.beats import EPOCHS
from rookery.distribution.placement.values import Answer, Claimed, Elsewhere, Here, Moved, Nobody, Peer
from rookery.storage.engine import Transaction
from rookery.storage.jump import jump, steps
from rookery.storage.schema import ACTIVE, MOVED, REMOVED
from tests.placement.tables import MemoryTransaction, Session, Tables


@dataclass(slots=True)
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
class MemoryPool(Tables):
    """`down`: nothing reaches it. `unheard`: names of calls that are carried out, and whose answer is lost, once.
    `locked`: accounts whose rows somebody keeps who cannot be ended. `claims`: the groups that were asked for.
    `meanwhile`: called in the middle of the next claim.
    """

    incarnations: dict[int, Incarnation] = field(default_factory=dict)
    down: bool = False
    unheard: set[str] = field(default_factory=set)
    locked: set[AccountId] = field(default_factory=set)
    claims: list[list[AccountId]] = field(default_factory=list)
    meanwhile: Callable[[], None] | None = None
    _living: dict[int, Peer] = field(default_factory=dict)  # as of their last beats
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

    def over(self, row: Incarnation) -> None:
        row.ended = True
        del self._living[row.incarnation]

    def fail_over(self, timeline: str, before: "MemoryPool | None" = None) -> None:
        """To a standby; `before`: all that it has (`copy`)."""
        self.timeline = timeline
        for session in [session for held in self.locks.values() for session in held]:
            session.end()
        if before is not None:
            self.incarnations, self._living, self._epoch = before.incarnations, before._living, before._epoch
            self.accounts.clear()
            self.accounts.update(before.accounts)
            self.mail = before.mail

    def copy(self) -> "MemoryPool":
        """What is committed now."""
        made = MemoryPool(self.timeline)
        made.accounts = {account: row.copy() for account, row in self.accounts.items()}
        made.mail = {number: mail.copy() for number, mail in self.mail.items()}
        for i, row in self.incarnations.items():
            made.incarnations[i] = Incarnation(
                i, row.backend, row.address, row.timeline, row.draining, row.beat, row.ended
            )
        made._living, made._epoch = dict(self._living), self._epoch
        return made

    # --- heartbeats ------------------------------------------------------------------------------------------------

    async def register(self, backend: str, address: str, incarnation: int, draining: bool) -> str:
        self._asked()
        for peer in [peer for peer in self._living.values() if peer.backend == backend]:
            self.over(self.incarnations[peer.incarnation])
        if all(row.timeline != self.timeline for row in self.incarnations.values()):
            self._epoch += EPOCHS * int(self.timeline.partition("/")[2], 16)
        row = self.incarnations[incarnation] = Incarnation(incarnation, backend, address, self.timeline, draining)
        self._living[incarnation] = row.peer()
        self._answered("register")
        return self.timeline

    async def beat(self, incarnation: int, draining: bool) -> Answer:
        self._asked()
        others = tuple([peer for peer in self._living.values() if peer.incarnation != incarnation])
        mine = None
        if self._lives(incarnation):
            row = self.incarnations[incarnation]
            mine = row.beat = row.beat + 1
            row.draining = draining
            self._living[incarnation] = row.peer()
        self._answered("beat")
        return Answer(mine, others)

    async def end(self, seen: Mapping[int, int | None]) -> set[int]:
        self._asked()
        ended = set()
        for incarnation, beat in seen.items():
            row = self.incarnations.get(incarnation)
            if row is not None and not row.ended and beat in (None, row.beat):
                self.over(row)
                ended.add(incarnation)
        self._answered("end")
        return ended

    # --- claims ----------------------------------------------------------------------------------------------------

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
        row = self.account(account)
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
        if account in self.locked or not self._freed(account):
            return Refusal(Cause.BUSY)
        if row.opened_under != self.timeline:
            claimant = Session(self, incarnation)
            tx = MemoryTransaction(claimant)
            jump(cast(Transaction, tx), {int.from_bytes(account, "big"): steps(row.opened_under, self.timeline)})
            tx.commit()
        self._epoch += 1
        row.incarnation, row.epoch, row.opened_under = incarnation, self._epoch, self.timeline
        return Here(self._epoch)

    def _freed(self, account: AccountId) -> bool:
        """Nobody has the row, after the sessions of those were ended that are over."""
        for session in list(self.locks.get(account, ())):
            if not self._lives(session.incarnation):
                session.end()
        return account not in self.locks

    async def release(self, incarnation: int, account: AccountId, epoch: int) -> None:
        self._asked()
        row = self.accounts[account]
        if (row.incarnation, row.epoch) == (incarnation, epoch):
            row.incarnation = None
        self._answered("release")

    # --- listings --------------------------------------------------------------------------------------------------

    async def living(self) -> list[tuple[Peer, int]]:
        self._asked()
        counts = Counter(account.incarnation for account in self.accounts.values())
        rows = sorted(self._living.values(), key=lambda peer: peer.backend)
        return [(peer, counts[peer.incarnation]) for peer in rows]

    async def purge(self, ended: Sequence[int]) -> list[int]:
        self._asked()
        named = {account.incarnation for account in self.accounts.values()}
        for incarnation in set(ended) - named:
            if incarnation in self.incarnations and self.incarnations[incarnation].ended:
                del self.incarnations[incarnation]
        return [row.incarnation for row in self.incarnations.values() if row.ended]
