"""How the store takes part in group commit: the fence at a batch's beginning, the counters at its end, and the progress
that open accounts take over before anybody is answered."""

from collections.abc import Callable, Container, Sequence
from itertools import islice
from typing import Any, TypeVar

from rookery.base.clock import Clock
from rookery.base.errors import Refusal
from rookery.base.ids import AccountId, BlobId
from rookery.storage.batch import AccountRow, Batch, Progress
from rookery.storage.engine import Transaction
from rookery.storage.operations import Operation
from rookery.storage.segments import Place
from rookery.storage.writer import Places, Rule

A = TypeVar("A")
R = TypeVar("R")

KNOWN = 4096  # accounts whose rows the writer remembers: it is the only one that changes them

Advance = Callable[[dict[AccountId, Progress]], None]
Lose = Callable[[set[AccountId]], None]


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
        self.batch.load(tx, accounts_of(items))

    def finish(self, tx: Transaction) -> object:
        self.batch.finish(tx)
        return self.batch.progress()

    def durable(self) -> None:
        if self._upkeep:
            return
        known = self.batch.known
        for account, row in self.batch.accounts.items():
            again = row.again()
            if again is not None:
                known[account] = again
        for account in list(islice(known, max(0, len(known) - KNOWN))):  # the longest unused
            del known[account]
        self._known = known

    def committed(self, made: Any) -> None:
        self._advance(made)

    def failed(self, items: Sequence[object]) -> None:
        self._lose(set(accounts_of(items)))

    def place(self, blob: BlobId) -> Place:
        """Where a blob of the open batch went."""
        return self.batch.places[blob]


def accounts_of(items: Sequence[object]) -> list[AccountId]:
    """Work without an argument of its own names no account."""
    return [item.account for item in items if item is not None]  # type: ignore[attr-defined]
