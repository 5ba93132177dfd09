"""Group commit: one thread takes everything that waits, and one flush carries it.

The thread makes the bodies of a batch durable, begins a transaction, runs each rule once over all its waiting items,
commits, and resolves everybody with one wake-up of the event loop. Refusals are values. If a rule raises, the batch is
rolled back and its items run again one by one, each in a savepoint, so that one bad item cannot spoil the others.

Before the commit nothing has happened: a crash leaves at most unreferenced octets in a segment. After it everything
has, whether or not anybody hears of it.
"""

import asyncio
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, Protocol, TypeVar, cast

from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import BlobId
from rookery.base.log import logger
from rookery.storage.bodies import Blobs
from rookery.storage.engine import Database, EngineFailed, OutcomeUnknown, Transaction
from rookery.storage.gate import Gate
from rookery.storage.segments import Place
from rookery.storage.staging import Staged

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

BATCH_ITEMS = 512  # most items of one batch
BATCH_WEIGHT = 16 * 1024 * 1024  # most octets of bodies in one batch
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


class _Waiting:
    """One item on its way."""

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


class Writer:
    """Made and used on the event loop; owns the writing thread. `limit_bytes` of waiting work; beyond, callers wait."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs | None,
        gate: Gate,
        *,
        limit_bytes: int,
        clock: Clock,
        batching: Batching | None = None,
        name: str = "writer",
        observe: Callable[[float, int], None] | None = None,
    ) -> None:
        self.database = database
        self.blobs = blobs
        self._gate = gate
        # Between two answers of a server the loop may well work.
        self._turn: AbstractContextManager[object] = nullcontext() if database.shared else gate.turn
        self._limit = limit_bytes
        self._clock = clock
        self._batching: Batching = batching or Plain()
        self._observe = observe  # seconds and items of each batch
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[_Waiting] = deque()
        self._weight = 0
        self._wake = threading.Condition()
        self._closing = False
        self._busy = False  # work waits or is being done; guarded by `_wake`
        self._since: float | None = None  # when the batch under way was begun
        self._answered = 0  # statements, when `stuck` was last asked
        self._progress = 0.0  # when that number was seen to have risen
        self._room: deque[asyncio.Future[None]] = deque()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    # --- event loop ---

    def submit(
        self,
        rule: Rule[A, R],
        argument: A,
        *,
        done: Callable[[R | Refusal], None],
        bodies: Sequence[tuple[BlobId, Staged]] = (),
        weight: int = 0,
    ) -> None:
        """Queue one item without waiting for room; `done` is called on the loop once its fate is durable."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if self._closing:
            done(Refusal(Cause.UNAVAILABLE, "the server is stopping"))
            return
        weight = weight or sum(staged.size for _, staged in bodies) + 256
        self._weight += weight
        for _, staged in bodies:
            staged.hold()
        item = _Waiting(rule, argument, bodies, weight, done)
        with self._wake:
            self._waiting.append(item)
            if not self._busy:  # the loop gives way from here on: waking up needs the GIL too
                self._busy = True
                self._gate.open()
                self._wake.notify()

    async def run(
        self, rule: Rule[A, R], argument: A, *, bodies: Sequence[tuple[BlobId, Staged]] = (), weight: int = 0
    ) -> R:
        """Queue one item and wait for its result. Raises RookeryError when it was refused."""
        await self.room()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R | Refusal] = loop.create_future()

        def done(result: R | Refusal) -> None:
            if not future.done():
                future.set_result(result)

        self.submit(rule, argument, done=done, bodies=bodies, weight=weight)
        result = await future
        if isinstance(result, Refusal):
            raise RookeryError(result.cause, result.what)
        return result

    async def exclusive(self, work: Callable[[Transaction], T], *, bodies: Sequence[tuple[BlobId, Staged]] = ()) -> T:
        """Rare work as an item of its own; what it raises is raised here."""

        def apply(tx: Transaction, items: Sequence[None]) -> list[T | Refusal]:
            return [work(tx) for _ in items]

        rule: Rule[None, T] = Rule(getattr(work, "__name__", "exclusive"), apply)
        return await self.run(rule, None, bodies=bodies)

    async def room(self) -> None:
        """Wait until less than the limit is waiting."""
        while self._weight > self._limit:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(future)
            await future

    @property
    def waiting(self) -> int:
        """Octets that wait."""
        return self._weight

    def stuck(self) -> float:
        """Seconds since the batch under way began, or since the database last answered, as far as seen by asking this
        now and then; 0.0 between two batches.
        """
        since, answered, now = self._since, self.database.answered, self._clock.monotonic()
        if answered != self._answered:
            self._answered, self._progress = answered, now
        return 0.0 if since is None else now - max(since, self._progress)

    async def close(self) -> None:
        """Finish what waits, end the thread."""
        self._closing = True
        with self._wake:
            self._wake.notify()
        while self._thread.is_alive():
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join, 0.2)

    def _resolve(self, items: list[_Waiting], made: list[object]) -> None:
        for one in made:
            self._batching.committed(one)
        for item in items:
            self._weight -= item.weight
            for _, staged in item.bodies:
                staged.drop()
            self._answer(item)
        while self._room and self._weight <= self._limit:
            future = self._room.popleft()
            if not future.done():
                future.set_result(None)

    def _answer(self, item: _Waiting) -> None:
        """A caller that cannot take its answer must not keep the rest of the batch from theirs."""
        try:
            item.done(item.result)
        except Exception as error:  # noqa: BLE001  whatever it is, it is the caller's mistake; logged with its place
            log.error("answer-failed", rule=item.rule.name, error=type(error).__name__, where=_place(error))

    def _give_up(self, items: list[_Waiting]) -> None:
        self._batching.failed([item.argument for item in items])
        self._resolve(items, [])

    # --- writer thread ---

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting:
                    if self._busy:
                        self._busy = False
                        self._gate.close()
                    if self._closing:
                        return
                    self._wake.wait()
                items = self._take()
            started = self._since = self._clock.monotonic()
            try:
                made = self._commit(items)
            except RookeryError as error:
                self._failed(items, error)
            except Exception as error:  # noqa: BLE001  the thread must outlive any one batch; it is logged with its type
                log.error("batch-failed", error=type(error).__name__, items=len(items))
                self._failed(items, RookeryError(Cause.UNAVAILABLE, "the change could not be stored"))
            else:
                self._call(self._resolve, items, made)
            finally:
                self._since = None
                if self._observe is not None:
                    self._observe(self._clock.monotonic() - started, len(items))

    def _take(self) -> list[_Waiting]:
        items: list[_Waiting] = []
        weight = 0
        while self._waiting and len(items) < BATCH_ITEMS and weight < BATCH_WEIGHT:
            item = self._waiting.popleft()
            items.append(item)
            weight += item.weight
        return items

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        loop = cast(asyncio.AbstractEventLoop, self._loop)
        try:
            loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop has ended; nobody is waiting any more
            log.debug("loop-ended")

    def _commit(self, items: list[_Waiting]) -> list[object]:
        """Raises EngineFailed."""
        places: Places = {}
        bodies = [body for item in items for body in item.bodies]
        if bodies and self.blobs is not None:
            if self.blobs.patient:
                self._since = None  # the service may take its time; the database is on the clock afterwards
            try:
                places = self.blobs.put_batch(bodies)
            except RookeryError as error:
                items = _without_bodies(items, error.refusal)
                log.error("bodies-refused", cause=error.cause.value, what=error.what, bodies=len(bodies))
            if self.blobs.patient:
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

    def _together(self, items: list[_Waiting], places: Places) -> object:
        with self.database.write() as tx, self._turn:  # the commit is after the turn
            self._batching.begin(tx, places, [item.argument for item in items])
            for rule, group in _by_rule(items):
                results = rule.apply(tx, [item.argument for item in group])
                for item, result in zip(group, results, strict=True):
                    item.result = result
            if places and self.blobs is not None:
                self.blobs.write(tx, list(places))
            made = self._batching.finish(tx)
        self._batching.durable()
        return made

    def _one_by_one(self, items: list[_Waiting], places: Places) -> list[object]:
        """Each item with a beginning and an end of its own, all in one transaction."""
        made: list[object] = []
        with self.database.write() as tx:
            for item in items:
                # A body that an earlier item brought is by now a row like any other: only its own are new to an item.
                own = {blob: places[blob] for blob, _ in item.bodies}
                try:
                    with tx.savepoint():
                        self._batching.begin(tx, own, [item.argument])
                        item.result = item.rule.apply(tx, [item.argument])[0]
                        if own and self.blobs is not None:
                            self.blobs.write(tx, list(own))
                        done = self._batching.finish(tx)
                    made.append(done)
                except EngineFailed:
                    raise
                except Exception as error:  # noqa: BLE001  this item alone is refused
                    item.result = _refusal(item, error)
        return made

    def _failed(self, items: list[_Waiting], error: RookeryError) -> None:
        """Nothing is tried again: after a failed flush the database is opened anew from what is on the disk."""
        if isinstance(error, OutcomeUnknown):
            self._batching.doubted([item.argument for item in items])
        if error.cause is Cause.UNAVAILABLE:
            if self.blobs is not None:
                self.blobs.seal()
            reopen = getattr(self.database, "reopen", None)
            if reopen is not None:
                try:
                    reopen()
                except RookeryError as again:
                    log.error("reopen-failed", error=str(again))
        log.error("commit-failed", cause=error.cause.value, what=error.what, items=len(items))
        for item in items:
            item.result = error.refusal
        self._call(self._give_up, items)


def _without_bodies(items: list[_Waiting], refusal: Refusal) -> list[_Waiting]:
    """Refuses the items that bring bodies; the others can go on, for deleting must work on a full disk."""
    for item in items:
        if item.bodies:
            item.result = refusal
    return [item for item in items if not item.bodies]


def _refusal(item: _Waiting, error: Exception) -> Refusal:
    if isinstance(error, RookeryError):
        return error.refusal
    log.error("rule-failed", rule=item.rule.name, error=type(error).__name__, where=_place(error))
    return Refusal(Cause.UNAVAILABLE, "the change could not be stored")


def _place(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{place.name}:{place.lineno}"


def _by_rule(items: Iterable[_Waiting]) -> Iterable[tuple[Rule[Any, Any], list[_Waiting]]]:
    """Items grouped by rule, rules in order of their first item."""
    groups: dict[int, tuple[Rule[Any, Any], list[_Waiting]]] = {}
    for item in items:
        groups.setdefault(id(item.rule), (item.rule, []))[1].append(item)
    return groups.values()
