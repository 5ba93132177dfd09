"""One batch of a writer: its bodies made durable, then its rules in one transaction.

Each rule is run once over all its items. Refusals are values. If a rule raises, everything is rolled back and the items
run again one by one, each in a savepoint, so that one bad item cannot spoil the others.
"""

import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, Protocol, TypeVar

from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import BlobId
from rookery.base.log import logger
from rookery.base.outage import Outage
from rookery.storage.bodies import Blobs
from rookery.storage.engine import Database, EngineFailed, OutcomeUnknown, Transaction
from rookery.storage.gate import Gate
from rookery.storage.segments import Place
from rookery.storage.staging import Staged

A = TypeVar("A")
R = TypeVar("R")

Places = Mapping[BlobId, Place]
log = logger("storage")


class Rule(Generic[A, R]):
    """`apply(tx, items)` answers each item, in order, with a result or a refusal."""

    __slots__ = ("apply", "name")

    def __init__(self, name: str, apply: Callable[[Transaction, Sequence[A]], Sequence[R | Refusal]]) -> None:
        self.name = name
        self.apply = apply


class Batching(Protocol):
    """What a database wants done around the rules of each batch. Writer thread, but for `committed` and `failed`."""

    def begin(self, tx: Transaction, places: Places, items: Sequence[object]) -> None:
        """First statements of a transaction (the fence). Called anew for each attempt."""

    def finish(self, tx: Transaction) -> object:
        """Last statements; what it returns is handed to `committed`."""

    def durable(self) -> None:
        """The transaction of all items together is committed; not called after one by one."""

    def doubted(self, items: Sequence[object]) -> None:
        """Nobody knows what became of the batch with these items. `failed` is called, too, later."""

    def committed(self, made: object) -> None:
        """On the event loop, before anybody is answered."""

    def failed(self, items: Sequence[object]) -> None:
        """On the event loop: nothing of these items took place, as far as can be known."""


class Plain:
    """A database that wants nothing done around its rules."""

    __slots__ = ("places",)

    def __init__(self) -> None:
        self.places: Places = {}

    def begin(self, tx: Transaction, places: Places, items: Sequence[object]) -> None:
        self.places = places

    def finish(self, tx: Transaction) -> object:
        return None

    def durable(self) -> None:
        return

    def doubted(self, items: Sequence[object]) -> None:
        return

    def committed(self, made: object) -> None:
        return

    def failed(self, items: Sequence[object]) -> None:
        return


class Item:
    """What somebody waits for; `result` is set when it has been carried out."""

    __slots__ = ("argument", "bodies", "done", "result", "rule", "weight")

    def __init__(
        self,
        rule: Rule[Any, Any],
        argument: object,
        bodies: Sequence[tuple[BlobId, Staged]],
        weight: int,
        done: Callable[[Any], None],
    ) -> None:
        self.rule = rule
        self.argument = argument
        self.bodies = bodies
        self.weight = weight
        self.done = done
        self.result: Any = None


class GroupCommit:
    """On the writer's thread, but for `stuck`."""

    def __init__(
        self, database: Database, blobs: Blobs | None, batching: Batching, *, gate: Gate, clock: Clock
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._batching = batching
        # Between two answers of a server the loop may well work.
        self._turn: AbstractContextManager[object] = nullcontext() if database.shared else gate.turn
        self._clock = clock
        self._since: float | None = None  # when the batch under way was begun
        self._thread = 0  # that carries it out
        self._reopening = Outage(log, "reopen-failed", clock.monotonic)
        self._answered = 0  # statements, when `stuck` was last asked
        self._progress = 0.0  # when that number was seen to have risen

    def stuck(self) -> float:
        """Seconds since the batch under way began, or since the database last answered, as far as seen by asking this
        now and then; 0.0 between two batches.
        """
        since, answered, now = self._since, self._database.answered(self._thread), self._clock.monotonic()
        if answered != self._answered:
            self._answered, self._progress = answered, now
        return 0.0 if since is None else now - max(since, self._progress)

    def carry_out(self, items: list[Item]) -> list[object]:
        """Returns what `committed` is to be told. Raises EngineFailed: then nothing took place, as far as is known."""
        self._thread = threading.get_ident()
        self._since = self._clock.monotonic()
        try:
            return self._commit(items)
        finally:
            self._since = None

    def _commit(self, items: list[Item]) -> list[object]:
        """Raises EngineFailed."""
        places: Places = {}
        bodies = [body for item in items for body in item.bodies]
        if bodies and self._blobs is not None:
            if self._blobs.patient:
                self._since = None  # the service may take its time; the database is on the clock afterwards
            try:
                places = self._blobs.put_batch(bodies)
            except RookeryError as error:
                items = _without_bodies(items, error.refusal)
                log.error("bodies-refused", cause=error.cause.value, what=error.what, bodies=len(bodies))
            if self._blobs.patient:
                self._since = self._clock.monotonic()
        if not items:
            return []
        try:
            return [self._together(items, places)]
        except EngineFailed:
            raise
        except Exception as error:  # noqa: BLE001  a rule's mistake is its caller's error, not the writer's end
            if len(items) == 1:
                items[0].result = _refusal(items[0], error)
                return []
            log.warning("batch-split", error=type(error).__name__, items=len(items))
        return self._one_by_one(items, places)

    def _together(self, items: list[Item], places: Places) -> object:
        with self._database.write() as tx, self._turn:  # the commit is after the turn
            self._batching.begin(tx, places, [item.argument for item in items])
            for rule, group in _by_rule(items):
                results = rule.apply(tx, [item.argument for item in group])
                for item, result in zip(group, results, strict=True):
                    item.result = result
            if places and self._blobs is not None:
                self._blobs.write(tx, [body for item in items for body in item.bodies])
            made = self._batching.finish(tx)
        self._batching.durable()
        return made

    def _one_by_one(self, items: list[Item], places: Places) -> list[object]:
        """Each item with a beginning and an end of its own, all in one transaction."""
        made: list[object] = []
        with self._database.write() as tx:
            for item in items:
                # A body that an earlier item brought is by now a row like any other: only its own are new to an item.
                own = {blob: places[blob] for blob, _ in item.bodies}
                try:
                    with tx.savepoint():
                        self._batching.begin(tx, own, [item.argument])
                        item.result = item.rule.apply(tx, [item.argument])[0]
                        if own and self._blobs is not None:
                            self._blobs.write(tx, item.bodies)
                        done = self._batching.finish(tx)
                    made.append(done)
                except EngineFailed:
                    raise
                except Exception as error:  # noqa: BLE001  this item alone is refused
                    item.result = _refusal(item, error)
        return made

    def after_failure(self, items: list[Item], error: RookeryError) -> None:
        """Nothing is tried again: after a failed flush the database is opened anew from what is on the disk."""
        if isinstance(error, OutcomeUnknown):
            self._batching.doubted([item.argument for item in items])
        if error.cause is Cause.UNAVAILABLE:
            if self._blobs is not None:
                self._blobs.seal()
            reopen = getattr(self._database, "reopen", None)
            if reopen is not None:
                try:
                    reopen()
                except RookeryError as again:
                    self._reopening.failed(again.cause.value, what=again.what)
                else:
                    self._reopening.over()


def _without_bodies(items: list[Item], refusal: Refusal) -> list[Item]:
    """Refuses the items that bring bodies; the others can go on, for deleting must work on a full disk."""
    for item in items:
        if item.bodies:
            item.result = refusal
    return [item for item in items if not item.bodies]


def _refusal(item: Item, error: Exception) -> Refusal:
    if isinstance(error, RookeryError):
        return error.refusal
    log.error("rule-failed", rule=item.rule.name, error=type(error).__name__, where=place_of(error))
    return Refusal(Cause.UNAVAILABLE, "the change could not be stored")


def place_of(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{place.name}:{place.lineno}"


def _by_rule(items: Iterable[Item]) -> Iterable[tuple[Rule[Any, Any], list[Item]]]:
    """Items grouped by rule, rules in order of their first item."""
    groups: dict[int, tuple[Rule[Any, Any], list[Item]]] = {}
    for item in items:
        groups.setdefault(id(item.rule), (item.rule, []))[1].append(item)
    return groups.values()
