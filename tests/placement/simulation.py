"""Several backends of a pool and everything that goes wrong, in virtual time: the code is the real one, the database,
the network and the mail are not. What must hold is checked at each step.

Mail is a list of UIDs an account: a host remembers what it has read and written, and writes the next one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from random import Random
from typing import TypeVar

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.placement.heartbeat import READ, Surroundings
from rookery.distribution.placement.placement import Placement
from rookery.distribution.placement.values import Answer, Claimed, Here, Moved, Peer
from rookery.storage.schema import ACTIVE, MOVED
from tests.placement.conftest import account_id
from tests.placement.memory import Account, MemoryPool

T = TypeVar("T")

RECOVERS = 1.0  # seconds after a fault of its own until a backend must not be found dead any more


class World:
    """`broken`: what did not hold. (Raised, it would be taken for a failure of the database.)"""

    def __init__(self, seed: int, backends: int, accounts: int) -> None:
        self.random = Random(seed)
        self.pool = MemoryPool()
        self.accounts = [account_id(n) for n in range(1, accounts + 1)]
        self.pool.accounts = {account: Account() for account in self.accounts}
        self.mail: dict[AccountId, list[int]] = {account: [] for account in self.accounts}
        self.acknowledged: dict[AccountId, list[int]] = {account: [] for account in self.accounts}
        self.ended: dict[int, float] = {}  # when each incarnation was over
        self.paused_until = 0.0
        self.parted: set[frozenset[str]] = set()
        self.broken: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.machines = [Machine(self, f"m{n}") for n in range(backends)]
        self.writes = self.reads = self.stale = self.deaths = 0

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def aside(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    def must(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken.append(f"{self.now:.3f}: {what}")

    def move(self, account: AccountId) -> None:
        """To another pool; the row alone is told."""
        self.pool.accounts[account].state = MOVED

    def note(self) -> None:
        """After everything that the server does: who is over from now on."""
        for row in self.pool.incarnations.values():
            if row.ended or row.timeline != self.pool.timeline:
                self.ended.setdefault(row.incarnation, self.now)

    def pause(self, seconds: float) -> None:
        """Of the database. Who was rightly taken for dead before may be told so after it: no beat came between."""
        self.paused_until = max(self.paused_until, self.now + seconds)
        for machine in self.machines:
            if machine.ill_until >= self.now:
                machine.ill(seconds)

    def machine(self, name: str) -> "Machine":
        return next(machine for machine in self.machines if machine.name == name)


class Machine:
    """A backend's process on its machine. `ill_until`: until then it may rightly be found dead."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.frozen_until = self.cut_until = self.ill_until = self.stuck_from = -1.0
        self.stuck_until = self.losing_until = -1.0
        self.made: set[int] = set()
        self.crashed: set[int] = set()  # of these, what a crash has ended: whoever notices it may say so late
        self.memory: dict[AccountId, list[int]] = {}
        self.begin()

    def begin(self) -> None:
        self.alive = True
        self.memory = {}
        around = Surroundings(lambda: self.world.now, self._stuck, self.pause, self._probe)
        self.placement = Placement(
            Way(self), backend=self.name, address=self.name, around=around, random=self._octets
        )  # fmt: skip
        self.placement.attach(self)
        self.writer = asyncio.Lock()
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.placement.start()
        self.tasks = [asyncio.ensure_future(self._client()) for _ in range(3)]

    async def crash(self, seconds: float) -> None:
        for task in (*self.tasks, *self.placement._tasks):
            task.cancel()
        self.alive = False
        self.crashed |= self.made
        self.ill(seconds)
        await asyncio.sleep(seconds)
        self.begin()
        self.start()

    def ill(self, seconds: float) -> None:
        self.ill_until = max(self.ill_until, self.world.now + seconds + RECOVERS)

    def _octets(self, size: int) -> bytes:
        made = self.world.random.randbytes(size)
        self.made.add(int.from_bytes(made, "big") >> 1)
        return made

    def _stuck(self) -> float:
        now = self.world.now
        return now - self.stuck_from if now < self.stuck_until else 0.0

    # what has accounts in memory

    def drop_account(self, account: AccountId) -> None:
        self.memory.pop(account, None)

    def drop_all(self) -> None:
        self.memory.clear()

    def in_memory(self, account: AccountId) -> bool:
        return account in self.memory

    # time and the network

    async def running(self) -> None:
        left = self.frozen_until - self.world.now
        if left > 0:
            await asyncio.sleep(left)
            await self.running()  # frozen again meanwhile

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.001))
        await self.running()

    async def _probe(self, name: str) -> bool:
        other = self.world.machine(name)
        await asyncio.sleep(self.world.random.uniform(0.0, 0.005))
        if frozenset((self.name, name)) in self.world.parted:
            await asyncio.sleep(60.0)
        await other.running()
        return other.alive

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """To the database and back."""
        world, random = self.world, self.world.random
        await self.running()
        loses = world.now < self.losing_until
        await asyncio.sleep(random.uniform(0.0, 0.02))
        while (left := max(self.cut_until, world.paused_until) - world.now) > 0:
            refused = random.random() < 0.5
            await asyncio.sleep(random.uniform(0.0, left) if refused else left)
            if refused:
                await self.running()
                raise RookeryError(Cause.UNAVAILABLE, "the database does not answer")
        if loses and random.random() < 0.2:
            raise RookeryError(Cause.UNAVAILABLE, "lost on the way")
        done = await work()
        world.note()
        await asyncio.sleep(random.uniform(0.0, 0.02))
        await self.running()
        if loses and random.random() < 0.2:
            raise RookeryError(Cause.UNAVAILABLE, "the answer was lost")
        return done

    # clients

    async def _client(self) -> None:
        random = self.world.random
        while True:
            await self.pause(random.uniform(0.0, 0.3))
            try:
                await self._session(random.choice(self.world.accounts))
            except RookeryError:
                continue

    async def _session(self, account: AccountId) -> None:
        random = self.world.random
        if not isinstance(await self.placement.locate(account), Here):
            return
        if account not in self.memory:
            epoch, generation = self.placement.epoch(account), self.placement.generation
            mail = await self.call(lambda: self._load(account))
            if epoch is None or (self.placement.epoch(account), self.placement.generation) != (epoch, generation):
                return
            self.memory.setdefault(account, mail)
        for _ in range(random.randrange(10)):
            await self.pause(random.uniform(0.0, 0.3))
            if random.random() < 0.5:
                await self.placement.fresh()
                if account not in self.memory:
                    return
                self._read(account)
            else:
                async with self.writer:
                    if account in self.memory:
                        await self._write(account)
        if random.random() < 0.1:
            await self.placement.release(account)

    async def _load(self, account: AccountId) -> list[int]:
        return list(self.world.mail[account])

    def _read(self, account: AccountId) -> None:
        world = self.world
        world.reads += 1
        if set(world.acknowledged[account]) <= set(self.memory[account]):
            return
        world.stale += 1
        mine = [world.ended[one] for one in self.made if one in world.ended]
        world.must(bool(mine) and world.now - max(mine) < READ, "a read that is more stale than is admitted")

    async def _write(self, account: AccountId) -> None:
        """Fence and commit in one step, as the row's lock makes them."""
        world = self.world
        epoch, generation = self.placement.epoch(account), self.placement.generation
        uid = len(self.memory[account]) + 1

        async def commit() -> str:
            row = world.pool.accounts[account]
            if row.opened_under != world.pool.timeline:
                return "timeline"
            if row.epoch != epoch or row.state != ACTIVE:
                return "fenced"
            world.must(row.incarnation is None or row.incarnation in self.made, "a write by who is not the host")
            world.must(uid == len(world.mail[account]) + 1, "a UID was given twice, or left out")
            world.mail[account].append(uid)
            world.writes += 1
            return ""

        if epoch is None:
            return
        try:
            refused = await self.call(commit)
        except RookeryError:
            if self.placement.epoch(account) == epoch:
                self.placement.doubtful([account])
            return
        if self.placement.epoch(account) != epoch or self.placement.generation != generation:
            return
        if refused == "fenced":
            self.placement.fenced([account])
        elif refused:
            self.placement.moved_on(world.pool.timeline)
        else:
            self.memory[account].append(uid)
            world.acknowledged[account].append(uid)


class Way:
    """A backend's way to the pool's database; implements values.Pool."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._pool = machine.world.pool

    async def register(self, backend: str, address: str, incarnation: int, draining: bool) -> str:
        return await self._machine.call(lambda: self._pool.register(backend, address, incarnation, draining))

    async def beat(self, incarnation: int, draining: bool) -> Answer:
        return await self._machine.call(lambda: self._pool.beat(incarnation, draining))

    async def end(self, incarnation: int, seen: int | None) -> bool:
        return await self._machine.call(lambda: self._end(incarnation, seen))

    async def _end(self, incarnation: int, seen: int | None) -> bool:
        world = self._machine.world
        row = world.pool.incarnations.get(incarnation)
        ended = await self._pool.end(incarnation, seen)
        if ended and seen is not None and row is not None and row.timeline == world.pool.timeline:
            world.deaths += 1
            machine = world.machine(row.backend)
            well = world.now > machine.ill_until and incarnation not in machine.crashed
            world.must(not well, f"{row.backend} is found dead, and is well")
        return ended

    async def claim(self, incarnation: int, accounts: Sequence[AccountId], *, take: bool) -> Claimed:
        return await self._machine.call(lambda: self._claim(incarnation, accounts, take))

    async def _claim(self, incarnation: int, accounts: Sequence[AccountId], take: bool) -> Claimed:
        rows = self._machine.world.pool.accounts
        before = {account: rows[account].epoch for account in accounts}
        claimed = await self._pool.claim(incarnation, accounts, take=take)
        for account, found in claimed.found.items():
            self._machine.world.must(
                not isinstance(found, Here) or found.epoch > before[account], "an epoch that does not rise"
            )
            moved = rows[account].state == MOVED
            self._machine.world.must(moved == isinstance(found, Moved), "a claim of what has moved is no referral")
        return claimed

    async def release(self, incarnation: int, account: AccountId, epoch: int) -> None:
        await self._machine.call(lambda: self._pool.release(incarnation, account, epoch))

    async def living(self) -> list[tuple[Peer, int]]:
        return await self._machine.call(self._pool.living)

    async def purge(self, ended: Sequence[int]) -> list[int]:
        return await self._machine.call(lambda: self._pool.purge(ended))
