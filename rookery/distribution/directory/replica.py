"""A copy of the directory in a file of this node, kept current by following the log of the primary.

What is read here may be old by as much as `behind` and `last_word` say; an act goes to the primary, and has arrived
here when it returns. A batch of changes is one transaction, after which the copy is what the primary was at one moment.
A copy from the beginning is made in a file beside and put in place in one transaction, so that the old one serves
meanwhile.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.base.outage import Outage
from rookery.distribution.directory import copying, forwarding, objects, reads, standing
from rookery.distribution.directory.following import Stale, stale_by
from rookery.distribution.directory.objects import Images, Key
from rookery.distribution.directory.rules import Outcome
from rookery.distribution.directory.standing import CopyState
from rookery.distribution.service.calls import (
    Act,
    Acted,
    Copied,
    CopyOf,
    Follow,
    Followed,
    Generation,
    Question,
)
from rookery.storage.engine import KeyExists
from rookery.storage.group_commit import Rule
from rookery.storage.migrations import Migration
from rookery.storage.sqlite import SqliteDatabase

BEHIND = 20_000  # changes; who is further behind copies anew
AGAIN = 0.5  # seconds after the primary did not answer
ARRIVING = 10.0  # seconds for an act of ours to come back
FIRST = 60.0  # seconds for the first copy, in which something must come

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

_STOPPED = "the directory's primary is another node, and this one does not run"

log = logger("directory")


class Primary(Protocol):
    """Whoever of the nodes that are asked is the primary."""

    async def ask(self, question: Question, kind: type[T], *, once: bool = False) -> T:
        """Raises RookeryError: the answer, or UNAVAILABLE naming who does not answer. `once`: nobody else is asked once
        it may have been heard."""
        ...

    def turn(self) -> None:
        """Ask another one first from now on."""
        ...


class _Gathered(NamedTuple):
    """Changes up to one moment, and what they name as it is then."""

    generation: Generation
    changes: copying.Log
    images: Images
    whole: bool
    site: dict[str, bytes]


class Replica:
    """Of one process. `changed` is called on the loop after something has arrived. `store`: the credentials wanted are
    those of its accounts; "": all."""

    def __init__(
        self,
        database: SqliteDatabase,
        migrations: tuple[Migration, ...],
        clock: Clock,
        changed: Callable[[Stale], None],
        *,
        store: str = "",
    ) -> None:
        self._database = database
        self._migrations = migrations
        self._clock = clock
        self._changed = changed
        self._store = store
        with database.read() as reader:
            self.state = standing.copy_state(reader) or CopyState()
            self.number = reads.last_change(reader)
        self._primary: Primary | None = None
        self._known = self.number  # the last change of which we have heard
        self._word: float | None = None  # when the primary last answered
        self._lost = not self._current()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._outage = Outage(log, "primary-away", clock.monotonic)
        self._task: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._ready = asyncio.Event()
        if self.state.generation.number:
            self._ready.set()

    def _current(self) -> bool:
        """Whether what is here can be followed on from."""
        state = self.state
        return bool(state.generation.number) and (state.schema, state.store, state.missing) == (
            self._schema,
            self._store,
            False,
        )

    @property
    def _schema(self) -> int:
        return self._migrations[-1].version

    # --- how it is ---

    @property
    def behind(self) -> int:
        """Changes of which we have heard that are not here yet."""
        return max(0, self._known - self.number)

    @property
    def last_word(self) -> float | None:
        """Seconds since the primary last answered; None: not since the start."""
        return None if self._word is None else self._clock.monotonic() - self._word

    # --- following ---

    def start(self, primary: Primary) -> None:
        self._primary = primary
        self._task = asyncio.get_running_loop().create_task(self._run(primary))

    async def close(self) -> None:
        for task in self._telling:
            task.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def ready(self) -> None:
        """Wait until there is something to read. Raises RookeryError(UNAVAILABLE)."""
        if not self._ready.is_set():
            if self._task is None:
                raise RookeryError(Cause.UNAVAILABLE, "the directory has not been copied yet; start this node")
            log.info("waiting-for-copy")
            await self._ready.wait()

    async def _run(self, primary: Primary) -> None:
        while True:
            try:
                await self._round(primary)
                self._outage.over()
            except RookeryError as error:
                self._outage.failed(error.cause.value, what=error.what)
                await asyncio.sleep(AGAIN)

    async def _round(self, primary: Primary) -> None:
        if self._lost:
            await self._copy(primary)
            self._lost = False
        gathered = await self._gather(primary)
        if gathered is None:
            self._lost = True
        elif gathered.changes or gathered.generation != self.state.generation:
            await self._arrive(gathered)

    async def _ask(self, primary: Primary, after: int, mark: bytes, *, wait: bool) -> Followed:
        question = Follow(self.state.generation, after, mark, self._store, wait)
        answer = await primary.ask(question, Followed)
        self._heard(primary, answer.generation, answer.last)
        return answer

    def _heard(self, primary: Primary, generation: Generation, last: int) -> None:
        """Raises RookeryError(CONFLICT) when it was the primary once."""
        if generation < self.state.generation:
            primary.turn()
            raise RookeryError(
                Cause.CONFLICT,
                f"the node that answers has generation {generation.number} of the directory, and this one"
                f" {self.state.generation.number}",
            )
        self._word, self._known = self._clock.monotonic(), last

    async def _gather(self, primary: Primary) -> _Gathered | None:
        """Everything up to a moment; None: a copy is to be made instead."""
        after, mark = self.number, await asyncio.to_thread(self._mark, self._database, self.number)
        changes: copying.Log = []
        images: Images = {}
        answer = await self._ask(primary, after, mark, wait=True)
        generation = answer.generation
        while True:
            if answer.lost or answer.generation != generation or answer.whole != self.state.whole:
                return None
            changes += answer.changes
            copying.merge(images, answer)
            if not answer.more:
                return _Gathered(generation, changes, images, answer.whole, answer.site)
            if len(changes) > BEHIND:
                return None
            after = changes[-1][0]
            answer = await self._ask(primary, after, standing.mark_of(changes[-1]), wait=False)

    @staticmethod
    def _mark(database: SqliteDatabase, number: int) -> bytes:
        with database.read() as reader:
            return standing.mark(reader, number)

    async def _arrive(self, gathered: _Gathered) -> None:
        try:
            state, number = await asyncio.to_thread(self._put, gathered)
        except KeyExists:
            log.error("replica-differs", number=self.number)
            self._lost = True
            return
        self._lost = state.missing
        self._arrived(state, stale_by(copying.changes_of(gathered.changes), number))

    def _put(self, gathered: _Gathered) -> tuple[CopyState, int]:
        """A thread. Returns what the copy is now, and the number of its last change."""
        changes = gathered.changes
        state = msgspec.structs.replace(self.state, generation=gathered.generation)
        number = changes[-1][0] if changes else self.number
        with self._database.write() as tx:
            grown = objects.served(tx, self._store).pools
            objects.put(tx, objects.keys_of(copying.changes_of(changes)), gathered.images)
            grown = objects.served(tx, self._store).pools - grown
            copying.put_log(tx, changes, number)
            for key, value in gathered.site.items():
                if standing.get(tx, key) != value:
                    standing.put(tx, key, value)
            # Those accounts were there before this node served their pool.
            if grown and not state.whole and copying.have_accounts(tx, grown):
                state = msgspec.structs.replace(state, missing=True)
            standing.put(tx, standing.COPY, msgspec.msgpack.encode(state))
        return state, number

    def _arrived(self, state: CopyState, stale: Stale) -> None:
        """What is stale is forgotten before anybody is told that the change is here."""
        self.state, self.number = state, stale.last
        self._changed(stale)
        self._ready.set()
        waiting, self._waiting = self._waiting, []
        for number, future in waiting:
            if number > self.number:
                self._waiting.append((number, future))
            elif not future.done():
                future.set_result(None)

    # --- a copy from the beginning ---

    async def _copy(self, primary: Primary) -> None:
        path = self._database.path.with_name(f"{self._database.path.name}.copy")
        copying.remove(path)
        copy = await asyncio.to_thread(SqliteDatabase, path, self._migrations, synchronous="OFF")
        try:
            log.info("copying", behind=self.behind)
            state = await self._fill(primary, copy)
        finally:
            await asyncio.to_thread(copy.close)
        try:
            number = await asyncio.to_thread(self._take, path)
        finally:
            copying.remove(path)
        log.info("copied", changes=number, generation=state.generation.number, whole=state.whole)
        self._arrived(state, Stale(number, everything=True))

    async def _fill(self, primary: Primary, copy: SqliteDatabase) -> CopyState:
        """Pages of different moments, and then what has changed since the first of them."""
        first: Copied | None = None
        for kind in objects.TABLES:
            after: Key | None = None
            while True:
                page = await primary.ask(CopyOf(kind.value, after, self._store), Copied)
                self._heard(primary, page.generation, page.last)
                if first is None:
                    first = page
                if (page.generation, page.whole) != (first.generation, first.whole):
                    raise RookeryError(Cause.CONFLICT, "another node has become the primary meanwhile")
                await asyncio.to_thread(copying.put_page, copy, page)
                after = page.after
                if after is None:
                    break
        assert first is not None
        state = CopyState(first.generation, self._store, first.whole, self._schema)
        number, more = first.last, True
        while more:
            mark = await asyncio.to_thread(self._mark, copy, number)
            answer = await self._ask(primary, number, mark, wait=False)
            if answer.lost or answer.generation != first.generation:
                raise RookeryError(Cause.CONFLICT, "the primary's log does not go back to when the copy was begun")
            await asyncio.to_thread(copying.put_batch, copy, answer, state)
            number, more = answer.changes[-1][0] if answer.changes else number, answer.more
        return state

    def _take(self, path: Path) -> int:
        """A thread. Returns the number of the last change."""
        self._database.absorb(path, objects.take_over("copy"))
        with self._database.read() as reader:
            return reads.last_change(reader)

    # --- acts ---

    async def act(self, rule: Rule[A, Outcome[R]], argument: A) -> R:
        """As the primary answers, when it has arrived here. Raises RookeryError; UNAVAILABLE says whether it may be
        done all the same."""
        if self._primary is None:
            raise RookeryError(Cause.UNAVAILABLE, _STOPPED)
        act = Act(rule.name, forwarding.encode(argument))
        answer = await self._primary.ask(act, Acted, once=True)
        await self.reached(answer.number)
        value: R = forwarding.form(rule.name).result(answer.value)
        return value

    async def catch_up(self) -> None:
        """All that the primary has committed before this call has arrived after it. Raises RookeryError."""
        if self._primary is None:
            raise RookeryError(Cause.UNAVAILABLE, _STOPPED)
        mark = await asyncio.to_thread(self._mark, self._database, self.number)
        await self.reached((await self._ask(self._primary, self.number, mark, wait=False)).last)

    async def reached(self, number: int) -> None:
        """Wait until that change has arrived. Raises RookeryError(UNAVAILABLE)."""
        if number <= self.number:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((number, future))
        try:
            async with asyncio.timeout(ARRIVING):
                await future
        except TimeoutError:
            raise RookeryError(
                Cause.UNAVAILABLE, "it is done at the directory's primary, and has not come back to this node yet"
            ) from None
        finally:
            self._waiting = [one for one in self._waiting if one[1] is not future]

    def tell(self, rule: Rule[A, Any], argument: A) -> None:
        """An act that nobody waits for, and that may be lost."""
        task = asyncio.get_running_loop().create_task(self._tell(Act(rule.name, forwarding.encode(argument))))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, act: Act) -> None:
        if self._primary is not None:
            with contextlib.suppress(RookeryError):
                await self._primary.ask(act, Acted, once=True)
