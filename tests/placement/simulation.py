"""A pool of many backends and everything that goes wrong, in virtual time: placement, fence, APPEND and the jump of
numbers are the real code; the database, the network and what has accounts in memory are not. What must hold is checked
at each step.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, TypeVar

from rookery.base.ids import AccountId
from rookery.distribution.directory.values import Pool, PoolBackend, PoolKind
from rookery.distribution.placement.heartbeat import READ
from rookery.distribution.placement.values import Answer, Claimed, Here, Moved, Peer
from rookery.storage.schema import ACTIVE, MOVED
from tests.placement.conftest import account_id
from tests.placement.memory import Incarnation, MemoryPool
from tests.placement.tables import Mail, Population, Session

if TYPE_CHECKING:
    from tests.placement.process import Process

T = TypeVar("T")

HOT = 50  # accounts that are asked for again and again, everywhere
LEAVING = 3  # accounts that may move to another pool
RATES = 1.001  # clocks differ by no more than this factor


class Fleet:
    """Pools with one directory: of each account everybody can tell its pool."""

    def __init__(self, random: Random, pools: int, accounts: int) -> None:
        self.at: dict[str, Process] = {}  # all, by address
        self._share = accounts
        self.worlds = [
            World(self, f"p{n}", Random(random.random()), range(1 + n * accounts, 1 + (n + 1) * accounts))
            for n in range(pools)
        ]
        self.numbers = range(1, 1 + pools * accounts)

    def world(self, account: AccountId) -> "World":
        return self.worlds[(int.from_bytes(account, "big") - 1) // self._share]


class World:
    """A pool. `broken`: what did not hold. (Raised, it would be taken for a failure of the database.)

    `processes`: all that ever were; `latest`: by name. `pending`: by account, a delivery that
    nobody confirmed.
    """

    def __init__(self, fleet: Fleet, name: str, random: Random, numbers: range) -> None:
        self.fleet = fleet
        self.name = name
        self.random = random
        self.time = asyncio.get_running_loop().time
        self.pool = WatchedPool(self)
        self.numbers = numbers
        self.pool.accounts = Population(numbers)
        self.pool.watch = self._written
        self.processes: list[Process] = []
        self.latest: dict[str, Process] = {}
        self._card: Pool | None = None
        self.makers: dict[int, Process] = {}  # who registered which incarnation
        self.ended: dict[int, float] = {}  # when each incarnation was over
        self.acknowledged: dict[AccountId, int] = {}  # the last UID of each that was answered, and is not lost
        self.given: dict[AccountId, int] = {}  # the last UID that was ever stored
        self.pending: dict[AccountId, str] = {}
        self.paused_until = 0.0
        self.parted: set[tuple[str, str]] = set()  # addresses: from the one the other is not reached
        self.lossy = False
        self._promotions = 1
        self.broken: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.writes = self.reads = self.stale = self.deaths = self.lost = self.again = 0

    @property
    def now(self) -> float:
        return self.time()

    def aside(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def must(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken.append(f"{self.now:.3f}: {what}")

    def some_account(self) -> AccountId:
        numbers = self.numbers if self.random.random() < 0.5 else self.numbers[:HOT]
        return account_id(self.random.choice(numbers))

    def living(self) -> list["Process"]:
        return [process for process in self.processes if process.alive]

    def enter(self, process: "Process") -> str:
        """Returns its address."""
        address = f"{self.name}/{process.name}.{len(self.processes)}"
        self.processes.append(process)
        self.latest[process.name] = self.fleet.at[address] = process
        self._card = None
        return address

    # --- what is asked of the directory, which everybody remembers ---------------------------------------------------

    @property
    def remembered(self) -> "World":
        return self

    async def find(self, look: Callable[["World"], T]) -> T:
        return look(self)

    def elsewhere(self, account: AccountId) -> Pool | None:
        world = self.fleet.world(account)
        return None if world is self else world.card()

    def pools(self) -> list[Pool]:
        """What has moved is in a pool that nobody here knows."""
        return []

    def card(self) -> Pool:
        if self._card is None:
            backends = tuple(PoolBackend(one.name, one.address, "") for one in self.latest.values())
            self._card = Pool(0, self.name, PoolKind.DYNAMIC, "", "", "", True, None, 0, backends)
        return self._card

    def pause(self, seconds: float) -> None:
        """Who was rightly taken for dead before may be told so after it: no beat came between."""
        self.paused_until = max(self.paused_until, self.now + seconds)
        for process in self.living():
            if process.ill_until >= self.now:
                process.ill(seconds)

    def fail_over(self, before: MemoryPool | None) -> None:
        """`before`: what the standby has; None: everything."""
        self._promotions += 1
        for incarnation in self.pool.incarnations:
            self.ended.setdefault(incarnation, self.now)
        self.pool.fail_over(f"one/{self._promotions:08X}", before)
        if before is not None:
            self.lossy = True
            for account in self.acknowledged:
                uids = self._mail(account).uids
                self.acknowledged[account] = min(self.acknowledged[account], uids[-1] if uids else 0)

    def _mail(self, account: AccountId) -> Mail:
        return self.pool.mail_of(int.from_bytes(account, "big"))

    def move(self) -> None:
        """One of a few accounts to another pool; its row alone is told."""
        account = account_id(self.random.choice(self.numbers[:LEAVING]))
        if account not in self.pool.locks:
            self.pool.accounts[account].state = MOVED

    def moved(self) -> list[AccountId]:
        some = [account_id(number) for number in self.numbers[:LEAVING]]
        return [account for account in some if self.pool.accounts[account].state == MOVED]

    # --- what must hold --------------------------------------------------------------------------------------------

    def _written(self, session: Session, number: int, mail: Mail, uid: int) -> None:
        """It is about to be committed."""
        account = account_id(number)
        row = self.pool.accounts[account]
        self.writes += 1
        if session.incarnation in self.makers and row.incarnation is not None:
            same = self.makers[row.incarnation] is self.makers[session.incarnation]
            self.must(same, "a write by who is not the host")
        self.must(row.state == ACTIVE, "a write to what has moved")
        self.must(row.opened_under == self.pool.timeline, "a write under another timeline")
        self.must(uid > self.given.get(account, 0), "a UID was given twice")
        self.must(self.lossy or not mail.uids or uid == mail.uids[-1] + 1 or uid > 1 << 20, "a UID was left out")
        self.given[account] = uid

    def answered(self, account: AccountId, uid: int) -> None:
        """Somebody was told that the message is stored."""
        if uid in self._mail(account).uids:
            self.acknowledged[account] = max(uid, self.acknowledged.get(account, 0))
        else:
            self.must(self.lossy, "what was acknowledged is not there")

    def was_read(self, process: "Process", account: AccountId, uids: Sequence[int]) -> None:
        """Somebody was shown this."""
        self.reads += 1
        there = self._mail(account).uids
        last = uids[-1] if uids else 0
        if self.acknowledged.get(account, 0) <= last and there[: len(uids)] == uids:
            return
        self.stale += 1
        over = [self.ended[one] for one in process.made if one in self.ended]
        admitted = bool(over) and self.now - max(over) < READ * RATES
        self.must(admitted, f"a read at {process.address} that is more stale than is admitted")

    def died(self, incarnation: int) -> None:
        """Another found it dead."""
        process = self.makers[incarnation]
        self.deaths += 1
        me = process.placement.heart.me
        if process.alive and me is not None and me.incarnation == incarnation:
            self.must(self.now <= process.ill_until, f"{process.address} is found dead, and is well")

    def at_rest(self) -> None:
        """Everything is over, and nothing is lost."""
        for account, uid in self.acknowledged.items():
            mail = self._mail(account)
            self.must(uid in mail.uids or not uid, "what was acknowledged is lost")
            self.must(mail.uids == sorted(set(mail.uids)), "UIDs do not rise")
            self.must(len(mail.deliveries) == len(mail.uids), "a delivery was stored twice")


class WatchedPool(MemoryPool):
    """The pool's database, and when each incarnation was over."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def over(self, row: Incarnation) -> None:
        super().over(row)
        self._world.ended.setdefault(row.incarnation, self._world.now)


class Way:
    """A backend's way to the pool's database; implements values.Pool."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._world = process.world
        self._pool = process.world.pool

    async def register(self, backend: str, address: str, incarnation: int, draining: bool) -> str:
        return await self._process.call(lambda: self._pool.register(backend, address, incarnation, draining))

    async def beat(self, incarnation: int, draining: bool) -> Answer:
        return await self._process.call(lambda: self._pool.beat(incarnation, draining))

    async def end(self, seen: Mapping[int, int | None]) -> set[int]:
        return await self._process.call(lambda: self._end(seen))

    async def _end(self, seen: Mapping[int, int | None]) -> set[int]:
        ended = await self._pool.end(seen)
        for incarnation in ended:
            if seen[incarnation] is not None and self._pool.incarnations[incarnation].timeline == self._pool.timeline:
                self._world.died(incarnation)
        return ended

    async def claim(self, incarnation: int, accounts: Sequence[AccountId], *, take: bool) -> Claimed:
        return await self._process.call(lambda: self._claim(incarnation, accounts, take))

    async def _claim(self, incarnation: int, accounts: Sequence[AccountId], take: bool) -> Claimed:
        rows, world = self._pool.accounts, self._world
        before = {account: (rows[account].epoch, rows[account].opened_under) for account in accounts}
        claimed = await self._pool.claim(incarnation, accounts, take=take)
        for account, found in claimed.found.items():
            if isinstance(found, Here):
                epoch, timeline = before[account]
                world.again += epoch > 0
                world.must(found.epoch > epoch or timeline != self._pool.timeline, "an epoch that does not rise")
            moved = rows[account].state == MOVED
            world.must(moved == isinstance(found, Moved), "a claim of what has moved is no referral")
        return claimed

    async def release(self, incarnation: int, account: AccountId, epoch: int) -> None:
        await self._process.call(lambda: self._pool.release(incarnation, account, epoch))

    async def living(self) -> list[tuple[Peer, int]]:
        return await self._process.call(self._pool.living)

    async def purge(self, ended: Sequence[int]) -> list[int]:
        return await self._process.call(lambda: self._pool.purge(ended))
