"""Group commit: one thread takes everything that waits, and one flush carries it (group_commit.py).

The thread commits a batch and resolves everybody in it with one wake-up of the event loop. Before the commit nothing
has happened: a crash leaves at most unreferenced octets in a segment. After it everything has, whether or not anybody
hears of it.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import BlobId
from rookery.base.log import logger
from rookery.base.outage import Outage
from rookery.storage.bodies import Blobs
from rookery.storage.engine import Database, Transaction
from rookery.storage.gate import Gate
from rookery.storage.group_commit import Batching, GroupCommit, Item, Plain, Rule, place_of
from rookery.storage.staging import Staged

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

BATCH_ITEMS = 512  # most items of one batch
BATCH_WEIGHT = 16 * 1024 * 1024  # most octets of bodies in one batch

log = logger("storage")


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
        self._limit = limit_bytes
        self._clock = clock
        self._batching: Batching = batching or Plain()
        self._commit = GroupCommit(database, blobs, self._batching, gate=gate, clock=clock)
        self._outage = Outage(log, "commit-failed", clock.monotonic)
        self._observe = observe  # seconds and items of each batch
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[Item] = deque()
        self._weight = 0
        self._wake = threading.Condition()
        self._closing = False
        self._busy = False  # work waits or is being done; guarded by `_wake`
        self.begun = 0  # batches so far
        self._resolved = 0  # of them, here
        self._behind: list[asyncio.Future[None]] = []  # for whoever waits for one of them
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
        item = Item(rule, argument, bodies, weight, done)
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

    async def resolved(self, batch: int) -> None:
        """Wait until so many batches are done with, and what they did is known here."""
        while self._resolved < batch:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._behind.append(future)
            await future

    @property
    def waiting(self) -> int:
        """Octets that wait."""
        return self._weight

    def stuck(self) -> float:
        """Seconds that a batch has been under way and the database silent; 0.0 between two."""
        return self._commit.stuck()

    async def close(self) -> None:
        """Finish what waits, end the thread."""
        self._closing = True
        with self._wake:
            self._wake.notify()
        while self._thread.is_alive():
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join, 0.2)

    def _resolve(self, items: list[Item], made: list[object]) -> None:
        for one in made:
            self._batching.committed(one)
        for item in items:
            self._weight -= item.weight
            for _, staged in item.bodies:
                staged.drop()
            self._answer(item)
        self._resolved += 1
        behind, self._behind = self._behind, []
        for future in behind:
            if not future.done():
                future.set_result(None)
        while self._room and self._weight <= self._limit:
            future = self._room.popleft()
            if not future.done():
                future.set_result(None)

    def _answer(self, item: Item) -> None:
        """A caller that cannot take its answer must not keep the rest of the batch from theirs."""
        try:
            item.done(item.result)
        except Exception as error:  # noqa: BLE001  whatever it is, it is the caller's mistake; logged with its place
            log.error("answer-failed", rule=item.rule.name, error=type(error).__name__, where=place_of(error))

    def _give_up(self, items: list[Item]) -> None:
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
            self.begun += 1
            started = self._clock.monotonic()
            try:
                made = self._commit.carry_out(items)
            except RookeryError as error:
                self._failed(items, error)
            except Exception as error:  # noqa: BLE001  the thread must outlive any one batch; it is logged with its type
                log.error("batch-failed", error=type(error).__name__, items=len(items))
                self._failed(items, RookeryError(Cause.UNAVAILABLE, "the change could not be stored"))
            else:
                self._outage.over()
                self._call(self._resolve, items, made)
            finally:
                if self._observe is not None:
                    self._observe(self._clock.monotonic() - started, len(items))

    def _take(self) -> list[Item]:
        items: list[Item] = []
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

    def _failed(self, items: list[Item], error: RookeryError) -> None:
        self._commit.after_failure(items, error)
        self._outage.failed(error.cause.value, what=error.what, items=len(items))
        for item in items:
            item.result = error.refusal
        self._call(self._give_up, items)
