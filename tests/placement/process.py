"""A backend's process in the simulation: the real Placement and the real fence, a clock of its own, a way to the
database on which anything may get lost, clients, and what it remembers of the accounts that it hosts.
"""

import asyncio
from collections import ChainMap
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId, BlobId
from rookery.distribution.placement.heartbeat import Surroundings
from rookery.distribution.placement.placement import Placement
from rookery.distribution.placement.pools import AcrossPools
from rookery.distribution.placement.values import Here
from rookery.storage.append import AppendItem, append_batch
from rookery.storage.batch import Progress
from rookery.storage.engine import EngineFailed, OutcomeUnknown
from rookery.storage.fence import FencedBatching
from rookery.storage.segments import Place
from rookery.storage.values import Appended
from tests.placement.conftest import account_id
from tests.placement.simulation import Way, World
from tests.placement.tables import MemoryTransaction, Session

T = TypeVar("T")

RECOVERS = 1.2  # seconds after a fault of its own until a backend must not be found dead any more
BATCH = 16
HOPS = 6


class Lost(EngineFailed):
    """The connection ended, and nobody knows whether the server did what it was asked for."""

    def __init__(self) -> None:
        super().__init__(Cause.UNAVAILABLE, "the connection was lost")


async def _nothing(account: AccountId) -> None:
    return


class Opened:
    """An account in memory: as it was read, and what batches did to it since."""

    def __init__(self, epoch: int, modseq: int, uids: list[int]) -> None:
        self.epoch = epoch
        self.modseq = modseq
        self.uids = uids


class Process:
    """Faults are times until when they last. `ill_until`: until then it may rightly be found dead."""

    def __init__(self, world: World, name: str, clients: int, pace: float = 1.0) -> None:
        """`pace`: how much longer than usual clients wait between two things."""
        self.world, self.name, self.clients, self.pace = world, name, clients, pace
        self.address = world.enter(self)
        self.alive = True
        self.frozen_until = self.cut_until = self.ill_until = self.hung_until = self.losing_until = -1.0
        self.deaf_until = self.slow_until = -1.0
        self.ahead = world.random.uniform(0.0, 1e6)  # of all other clocks
        self.rate = world.random.uniform(0.9995, 1.0005)
        self.made: list[int] = []  # incarnations
        self.memory: dict[AccountId, Opened] = {}
        self.opening: dict[AccountId, list[Progress]] = {}
        self.recent: list[AccountId] = []  # what was found here
        self.clock = ManualClock()  # of which only the date matters here
        around = Surroundings(self.now, self._stuck, self.pause, self._probe)
        self.placement = Placement(
            Way(self), backend=name, address=self.address, around=around, random=self._octets
        )  # fmt: skip
        self.placement.attach(self)
        self.across = AcrossPools(self.placement, world, made=lambda account: True, make=_nothing)
        watched = ChainMap[AccountId, object](self.memory, self.opening)  # type: ignore[arg-type]
        self.batching = FencedBatching(self.clock, watched, self._advance, self._lose, self.placement)
        self._waiting: list[tuple[AppendItem, asyncio.Future[Appended | Refusal]]] = []
        self._work = asyncio.Event()
        self._session: Session | None = None
        self._since: float | None = None  # when the batch under way began, or the server last answered
        self.placement.start()
        self.tasks = [
            asyncio.ensure_future(work) for work in (self._write_all(), *(self._client() for _ in range(clients)))
        ]

    def die(self, *, silently: bool) -> None:
        """`silently`: the machine with it, so that nobody tells the server that its connections are over."""
        self.alive = False
        for task in (*self.tasks, *self.placement._tasks, *self.placement.heart._tasks):
            task.cancel()
        if self._session is not None and not silently:
            self._session.end()

    def ill(self, seconds: float) -> float:
        """Returns until when."""
        until = self.world.now + seconds
        self.ill_until = max(self.ill_until, until + RECOVERS)
        return until

    def _octets(self, size: int) -> bytes:
        octets = self.world.random.randbytes(size)
        incarnation = int.from_bytes(octets, "big") >> 1
        self.made.append(incarnation)
        self.world.makers[incarnation] = self
        return octets

    # --- what has accounts in memory -------------------------------------------------------------------------------

    def drop_account(self, account: AccountId) -> None:
        self.world.lost += 1
        self.memory.pop(account, None)
        self.opening.pop(account, None)

    def drop_all(self) -> None:
        self.world.lost += len(self.memory)
        self.memory.clear()
        self.opening.clear()

    def in_memory(self, account: AccountId) -> bool:
        return account in self.memory

    def _lose(self, accounts: set[AccountId]) -> None:
        for account in accounts:
            self.memory.pop(account, None)

    def _advance(self, made: dict[AccountId, Progress]) -> None:
        for account, progress in made.items():
            if account in self.opening:
                self.opening[account].append(progress)
            elif account in self.memory and self.memory[account].epoch == progress.epoch:
                self._advance_one(account, self.memory[account], progress)

    def _advance_one(self, account: AccountId, opened: Opened, made: Progress) -> None:
        if made.modseq <= opened.modseq:
            return
        if not made.detailed:  # it was opened in the middle of the batch: read it again
            self.memory.pop(account, None)
            return
        self.world.must(made.before == opened.modseq, "a change was missed")
        opened.modseq = made.modseq
        opened.uids += [uid for change in made.changes for uid in change.uids]

    # --- time and the network --------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.ahead + self.world.now * self.rate

    async def running(self) -> None:
        while (left := self.frozen_until - self.world.now) > 0:  # noqa: ASYNC110  it may be frozen again meanwhile
            await asyncio.sleep(left)
        if not self.alive:
            await asyncio.Event().wait()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.001))
        await self.running()

    def _stuck(self) -> float:
        return 0.0 if self._since is None else self.world.now - self._since

    async def _probe(self, address: str) -> bool:
        other = self.world.fleet.at[address]
        await asyncio.sleep(self.world.random.uniform(0.0, 0.005))
        if (self.address, address) in self.world.parted:
            await asyncio.sleep(60.0)
        await other.running()
        return other.alive

    async def call(self, work: Callable[[], Awaitable[T]], *, late: bool = True) -> T:
        """To the database and back. `late`: it may arrive there when nobody waits for it any more. Raises Lost, and
        what the work raises.
        """
        world, random = self.world, self.world.random
        await self.running()
        fate = random.random() if world.now < self.losing_until else 1.0
        half = 0.075 if world.now < self.slow_until else 0.02
        await asyncio.sleep(random.uniform(0.0, half))
        while (left := max(self.cut_until, world.paused_until) - world.now) > 0:
            await self._refused_or(left)
        if fate < 0.2:
            if late and fate < 0.1:
                world.aside(self._late(work))
            raise Lost
        done = await work()
        await asyncio.sleep(random.uniform(0.0, half))
        while (left := self.deaf_until - world.now) > 0:
            await self._refused_or(left)
        await self.running()
        if fate < 0.4:
            raise Lost
        return done

    async def _refused_or(self, left: float) -> None:
        """A way that is cut is felt at some time, or not before it is whole again."""
        random = self.world.random
        refused = random.random() < 0.5
        await asyncio.sleep(random.uniform(0.0, left) if refused else left)
        if refused:
            await self.running()
            raise Lost

    async def _late(self, work: Callable[[], Awaitable[object]]) -> None:
        """What was sent arrives when the sender has given it up."""
        await asyncio.sleep(self.world.random.uniform(0.0, 0.5))
        try:
            await work()
        except RookeryError:
            return

    # --- the writer: the steps of storage/writer.py, without its thread --------------------------------------------

    async def _write_all(self) -> None:
        while True:
            while not self._waiting:
                self._work.clear()
                await self._work.wait()
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            results = await self._commit([item for item, _ in batch])
            for (_, answer), result in zip(batch, results, strict=True):
                if not answer.done():
                    answer.set_result(result)

    async def _commit(self, items: list[AppendItem]) -> list[Appended | Refusal]:
        me = self.placement.heart.me
        session = self._session = Session(self.world.pool, me.incarnation if me is not None else 0)
        tx = MemoryTransaction(session)
        self._since = self.world.now
        try:
            made, results = await self.call(lambda: self._fenced(tx, items), late=False)
            await asyncio.sleep(max(0.0, self.hung_until - self.world.now))
            self._since = self.world.now
            try:
                await self.call(lambda: self._committed(tx))
            except Lost as error:
                raise OutcomeUnknown(error.cause, error.what) from None
            self.batching.durable()
            self.batching.committed(made)
        except EngineFailed as error:
            if isinstance(error, OutcomeUnknown):
                self.batching.doubted(items)
            self.batching.failed(items)
            kept = any(self.placement.epoch(item.account) == item.epoch for item in items)
            self.world.must(not (kept and isinstance(error, OutcomeUnknown)), "it kept what is in doubt")
            self.world.aside(self._closed(session))
            return [error.refusal for _ in items]
        finally:
            self._since = None
        return results

    async def _fenced(self, tx: MemoryTransaction, items: list[AppendItem]) -> tuple[object, list[Appended | Refusal]]:
        """Nothing is written yet."""
        self.batching.begin(tx, {item.blob: Place(1, 0, 1, 0) for item in items}, items)  # type: ignore[arg-type]
        results = append_batch(tx, self.batching.batch, items)  # type: ignore[arg-type]
        return self.batching.finish(tx), results  # type: ignore[arg-type]

    async def _committed(self, tx: MemoryTransaction) -> None:
        tx.commit()

    async def _closed(self, session: Session) -> None:
        """Some time after a connection was lost the server has heard of it."""
        await asyncio.sleep(self.world.random.uniform(0.0, 0.6))
        session.end()

    # --- clients ---------------------------------------------------------------------------------------------------

    async def _client(self) -> None:
        random = self.world.random
        while True:
            await self.pause(random.uniform(0.0, 0.5) * self.pace)
            pending, delivery = self.world.pending, ""
            if pending and random.random() < 0.5:
                account, delivery = random.choice(list(pending.items()))
            elif self.recent and random.random() < 0.5:
                account = random.choice(self.recent)
            else:
                account = self.world.some_account()
            try:
                if random.random() < 0.1:
                    await self.find(account_id(random.choice(self.world.fleet.numbers)))
                await self._session_of(account, delivery)
            except RookeryError:
                continue

    async def find(self, account: AccountId) -> "Process | None":
        """As a client that is referred from one to the next, also to other pools. None: it gave up."""
        process = self
        for _ in range(HOPS):
            found = await process.across.locate(account)
            if isinstance(found, Here):
                return process
            process = self.world.fleet.at[found.address]
            if not process.alive:
                break
        return None

    async def storm(self, count: int) -> None:
        """A letter to many, as the queue has them: each account is looked for at once."""
        accounts = dict.fromkeys(self.world.some_account() for _ in range(count))
        found = await asyncio.gather(*(self.placement.locate(one) for one in accounts), return_exceptions=True)
        here = [account for account, where in zip(accounts, found, strict=True) if isinstance(where, Here)]
        await asyncio.gather(*(self.write(account) for account in here))

    async def _session_of(self, account: AccountId, delivery: str) -> None:
        """`delivery`: one that nobody knows the outcome of, to be made again."""
        random = self.world.random
        if not isinstance(await self.placement.locate(account), Here):
            return
        await self.write(account, delivery)
        if not await self._open(account):
            return
        self.recent = [account, *self.recent[:9]]
        for _ in range(random.randrange(10)):
            await self.pause(random.uniform(0.0, 0.3) * self.pace)
            if random.random() < 0.5:
                await self.placement.fresh()
                if account not in self.memory:
                    return
                self.world.was_read(self, account, self.memory[account].uids)
            else:
                await self.write(account)
        if random.random() < 0.1:
            await self.placement.release(account)

    async def _open(self, account: AccountId) -> bool:
        """As open_accounts.py does: what is committed while it is read is taken over afterwards."""
        epoch = self.placement.epoch(account)
        if account in self.memory or account in self.opening or epoch is None:
            return account in self.memory
        made = self.opening[account] = []
        try:
            modseq, uids = await self.call(lambda: self._load(account))
            if self.opening.get(account) is not made:
                return False
            opened = self.memory[account] = Opened(epoch, modseq, uids)
        finally:
            if self.opening.get(account) is made:
                del self.opening[account]
        for progress in made:
            if progress.epoch == epoch:
                self._advance_one(account, opened, progress)
        return account in self.memory

    async def _load(self, account: AccountId) -> tuple[int, list[int]]:
        mail = self.world.pool.mail_of(int.from_bytes(account, "big"))
        return mail.modseq, list(mail.uids)

    async def write(self, account: AccountId, delivery: str = "") -> bool:
        """Whether it was confirmed; if not, it stays pending."""
        epoch = self.placement.epoch(account)
        if epoch is None:
            return False
        delivery = delivery or self.world.random.randbytes(8).hex()
        self.world.pending[account] = delivery
        item = AppendItem(account, BlobId(delivery.encode()), 1, 0, delivery=delivery, epoch=epoch)
        answer: asyncio.Future[Appended | Refusal] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        self._work.set()
        made = await answer
        if isinstance(made, Appended):
            self.world.answered(account, made.uid)
            self.world.pending.pop(account, None)
        return isinstance(made, Appended)
