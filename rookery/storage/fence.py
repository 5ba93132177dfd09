"""How the store takes part in group commit: the fence at a batch's beginning, the counters at its end, and the progress
that open accounts take over before anybody is answered.

On a shared store a batch begins with the rows of its accounts, which nobody changes until it has ended: what was sent
in the name of an epoch that is over drops out, the rest goes on. Before those rows are read nothing is written.
"""

from collections.abc import Callable, Collection, Container, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar, cast

from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal
from rookery.base.ids import AccountId, BlobId
from rookery.storage.batch import ACCOUNT_COLUMNS, AccountRow, Batch, Item, Progress
from rookery.storage.engine import EngineFailed, Row, Transaction, Value
from rookery.storage.group_commit import Places, Rule
from rookery.storage.hosting import fence
from rookery.storage.operations import Operation
from rookery.storage.schema import ACTIVE
from rookery.storage.segments import Place

A = TypeVar("A")
R = TypeVar("R")

NOT_HERE = Refusal(Cause.UNAVAILABLE, "the account is not at this backend now")
KNOWN = 4096  # accounts whose rows the writer remembers: it is the only one that changes them

_COLUMNS = (*ACCOUNT_COLUMNS, "opened_under")

Advance = Callable[[dict[AccountId, Progress]], None]
Lose = Callable[[set[AccountId]], None]


class Hosting(Protocol):
    """Which accounts this process hosts. All on the event loop."""

    def epoch(self, account: AccountId) -> int | None:
        """The epoch under which this process hosts the account; None: it does not. 0: whatever its row says."""

    def fenced(self, accounts: Collection[AccountId]) -> None:
        """Others have these by now: they are lost."""

    def doubtful(self, accounts: Collection[AccountId]) -> None:
        """What became of a batch is not known: drop these, and claim them again before anything is said of them."""

    def moved_on(self, timeline: str) -> None:
        """The database is another than the one in which the accounts were claimed: drop all, register anew."""


class StaticHosting:
    """Of a store that belongs to one process: every account is here, always."""

    def epoch(self, account: AccountId) -> int | None:
        return 0

    def fenced(self, accounts: Collection[AccountId]) -> None:
        return

    def doubtful(self, accounts: Collection[AccountId]) -> None:
        return

    def moved_on(self, timeline: str) -> None:
        return


class StoreBatching:
    """`advance`: progress that is committed. `lose`: accounts of a batch that failed or whose outcome is unknown."""

    def __init__(self, clock: Clock, watched: Container[AccountId], advance: Advance, lose: Lose) -> None:
        self._clock = clock
        self._watched = watched
        self._advance = advance
        self._lose = lose
        self._known: dict[AccountId, AccountRow] = {}
        self._upkeep = False
        self.batch = Batch({}, 0)

    def rule(self, operation: Operation[A, R]) -> Rule[A, R]:
        """The operation as the writer runs it: over whatever batch is open."""

        def apply(tx: Transaction, items: Sequence[A]) -> Sequence[R | Refusal]:
            return operation.apply(tx, self.batch, items)

        return Rule(operation.name, apply)

    def begin(self, tx: Transaction, places: Places, items: Sequence[object]) -> None:
        known, self._known = self._known, {}  # again when the batch is durable: after a failure nothing is known
        self._upkeep = any(item is None for item in items)  # which may change any row
        self.batch = Batch(places, int(self._clock.wall()), self._watched, {} if self._upkeep else known)
        self.load(tx, items)

    def load(self, tx: Transaction, items: Sequence[object]) -> None:
        self.batch.load(tx, accounts_of(items))

    def remembers(self, account: AccountId) -> bool:
        """Whether only this process changes it."""
        return True

    def finish(self, tx: Transaction) -> object:
        self.batch.finish(tx)
        return self.batch.progress()

    def durable(self) -> None:
        if self._upkeep:
            return
        known = self.batch.known
        for account, row in self.batch.accounts.items():
            again = row.again() if self.remembers(account) else None
            if again is not None:
                known[account] = again
        for account in list(islice(known, max(0, len(known) - KNOWN))):  # the longest unused
            del known[account]
        self._known = known

    def committed(self, made: Any) -> None:
        self._advance(made)

    def doubted(self, items: Sequence[object]) -> None:
        return

    def failed(self, items: Sequence[object]) -> None:
        self._lose(set(accounts_of(items)))

    def place(self, blob: BlobId) -> Place:
        """Where a blob of the open batch went."""
        return self.batch.places[blob]


class FencedBatching(StoreBatching):
    """The same on a shared store. What is remembered of an account holds for the epoch under which it was read."""

    def __init__(
        self, clock: Clock, watched: Container[AccountId], advance: Advance, lose: Lose, hosting: Hosting
    ) -> None:
        super().__init__(clock, watched, advance, lose)
        self._hosting = hosting
        self._ours: set[AccountId] = set()  # of the open batch: hosted under the epoch that was named
        self._over: list[tuple[AccountId, int]] = []  # named, but others have the account by now
        self._doubted: dict[AccountId, int] = {}  # epochs under which nothing is written any more
        self._timeline = ""  # another than that of the claims

    def load(self, tx: Transaction, items: Sequence[object]) -> None:
        """The fence. Raises EngineFailed when the database is another than the one of the claims."""
        self._ours, self._over = set(), []
        named = _named(items)
        if not named:
            return
        lock = "UPDATE" if any(None in epochs for epochs in named.values()) else "SHARE"
        ids = cast(Value, sorted(named))  # an array: this database has them
        missing: list[Row] = []
        for found in tx.rows(fence(_COLUMNS, lock), ids):
            row, opened_under, timeline = found[:-2], found[-2], found[-1]
            account, epoch = row[0], row[2]
            if epoch in named[account]:
                if opened_under != timeline:
                    self._timeline = timeline
                    raise EngineFailed(Cause.UNAVAILABLE, "the database is another than before; accounts open anew")
                self._ours.add(account)
            self._over += [(account, other) for other in named[account] if other not in (None, epoch)]
            if self._is_doubted(account, epoch) or not named[account] & {None, epoch}:
                self.batch.refuse(row)
            elif not self.batch.recall(row):
                missing.append(row)
        self.batch.read(tx, missing)
        for row in missing:
            if row[3] != ACTIVE:  # removed by another backend, perhaps: whoever has it open is told
                self.batch.accounts[row[0]].renamed = True

    def _is_doubted(self, account: AccountId, epoch: int) -> bool:
        doubted = self._doubted.get(account)
        if doubted is not None and doubted != epoch:
            del self._doubted[account]
        return doubted == epoch

    def finish(self, tx: Transaction) -> object:
        gone = [(row.id, row.epoch) for row in self.batch.accounts.values() if row.state != ACTIVE]
        return super().finish(tx), self._over + gone

    def remembers(self, account: AccountId) -> bool:
        return account in self._ours

    def committed(self, made: Any) -> None:
        progress, over = made
        self._advance(progress)
        lost = [account for account, epoch in over if self._hosting.epoch(account) == epoch]
        if lost:
            self._hosting.fenced(lost)

    def doubted(self, items: Sequence[object]) -> None:
        for account, epochs in _named(items).items():
            for epoch in epochs - {None}:
                self._doubted[account] = cast(int, epoch)

    def failed(self, items: Sequence[object]) -> None:
        """Nothing took place, and what is in memory stands, unless nobody knows."""
        timeline, self._timeline = self._timeline, ""
        if timeline:
            self._hosting.moved_on(timeline)
            return
        named = _named(items)
        self._lose({account for account, epochs in named.items() if None in epochs})
        doubtful = [a for a in named if a in self._doubted and self._doubted[a] == self._hosting.epoch(a)]
        if doubtful:
            self._hosting.doubtful(doubtful)


def accounts_of(items: Sequence[object]) -> list[AccountId]:
    """Work without an argument of its own names no account."""
    return [item.account for item in items if item is not None]  # type: ignore[attr-defined]


def _named(items: Sequence[object]) -> dict[AccountId, set[int | None]]:
    """The accounts and under which epochs they are to be changed."""
    named: dict[AccountId, set[int | None]] = {}
    for item in items:
        if item is not None:
            one = cast(Item, item)
            named.setdefault(one.account, set()).add(one.epoch)
    return named
