"""The pool in memory, which the simulation takes for the database, and the statements to PostgreSQL, the fence's among
them: whatever is asked of both in the same order, they answer the same, and have the same in the end.
"""

from collections.abc import Collection, Sequence
from itertools import count
from random import Random
from typing import Any

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId, BlobId
from rookery.distribution.placement.values import Answer, Claimed, Here, Pool
from rookery.storage.append import AppendItem, append_batch
from rookery.storage.engine import EngineFailed
from rookery.storage.fence import FencedBatching
from rookery.storage.segments import Place as Stored
from rookery.storage.values import Appended
from tests.placement.conftest import MemoryPlace, Place, PostgresPlace

STEPS = 100
NEVER = 1 << 40  # an epoch


class Told:
    """What the fence says of accounts; everything is watched."""

    def __init__(self) -> None:
        self.words: list[object] = []

    def epoch(self, account: AccountId) -> int | None:
        return None

    def fenced(self, accounts: Collection[AccountId]) -> None:
        self.words.append(("fenced", sorted(accounts)))

    def doubtful(self, accounts: Collection[AccountId]) -> None:
        self.words.append(("doubtful", sorted(accounts)))

    def moved_on(self, timeline: str) -> None:
        self.words.append(("moved on", timeline))


class Fence:
    """The writer of one incarnation."""

    def __init__(self, place: Place, incarnation: int) -> None:
        self._place = place
        self._incarnation = incarnation
        self.told = Told()
        self.made: list[Any] = []
        self.batching = FencedBatching(ManualClock(), (), self.made.append, lambda _: None, self.told)

    def write(self, items: Sequence[AppendItem]) -> list[Appended | Refusal]:
        """One batch. Raises EngineFailed."""
        batching = self.batching
        try:
            with self._place.write(self._incarnation) as tx:
                batching.begin(tx, {item.blob: Stored(1, 0, 1, 0) for item in items}, items)
                results = append_batch(tx, batching.batch, items)
                made = batching.finish(tx)
        except EngineFailed:
            batching.failed(items)
            raise
        batching.durable()
        batching.committed(made)
        return results


class Side:
    """One of the two: its pool, its writers, and the epochs that it gave."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.pool: Pool = place.open()
        self.fences: dict[int, Fence] = {}
        self.epochs: dict[tuple[int, AccountId], list[int]] = {}
        self.blobs = (number.to_bytes(16, "big") for number in count())
        self.claimants: dict[AccountId, int] = {}  # the last of each

    def epoch(self, incarnation: int, account: AccountId, back: int) -> int:
        """The one that was given to it last, or before."""
        given = self.epochs.get((incarnation, account), [])
        return given[-1 - back] if back < len(given) else NEVER

    async def do(self, word: str, *facts: Any) -> object:
        try:
            return await getattr(self, word)(*facts)
        except RookeryError as error:
            return error.cause

    async def register(self, backend: str, incarnation: int, draining: bool) -> str:
        return await self.pool.register(backend, f"{backend}:993", incarnation, draining)

    async def beat(self, incarnation: int, draining: bool) -> object:
        answer: Answer = await self.pool.beat(incarnation, draining)
        return answer.mine, sorted(answer.others, key=lambda peer: peer.incarnation)

    async def end(self, seen: dict[int, int | None]) -> set[int]:
        return await self.pool.end(seen)

    async def claim(self, incarnation: int, accounts: list[AccountId], take: bool) -> object:
        """Epochs differ, for a sequence has gaps; but they rise."""
        claimed: Claimed = await self.pool.claim(incarnation, accounts, take=take)
        found: dict[AccountId, object] = {}
        for account in accounts if claimed.living else ():
            one = found[account] = claimed.found[account]
            if isinstance(one, Refusal):
                found[account] = one.cause
            elif isinstance(one, Here):
                assert one.epoch > max((max(given) for given in self.epochs.values()), default=0)
                found[account] = "here"
        for account in accounts:
            if found.get(account) == "here":
                epoch = claimed.found[account].epoch  # type: ignore[union-attr]
                self.epochs.setdefault((incarnation, account), []).append(epoch)
                self.claimants[account] = incarnation
        return claimed.timeline, claimed.living, found

    async def release(self, incarnation: int, account: AccountId, back: int) -> None:
        await self.pool.release(incarnation, account, self.epoch(incarnation, account, back))

    async def living(self) -> object:
        return await self.pool.living()

    async def purge(self, ended: list[int]) -> object:
        return sorted(await self.pool.purge(ended))

    async def promote(self, timeline: str) -> None:
        self.place.promote(timeline)

    async def move(self, account: AccountId) -> None:
        self.place.move(account)

    async def write(self, wanted: list[tuple[AccountId, int, str]]) -> object:
        """By the host of the first account, whether it has the others or not."""
        who = self.claimants.get(wanted[0][0], 0)
        items = [
            AppendItem(one, BlobId(next(self.blobs)), 1, 0, delivery=delivery, epoch=self.epoch(who, one, back))
            for one, back, delivery in wanted
        ]
        fence = self.fences.setdefault(who, Fence(self.place, who))
        results: list[object] = [one.cause if isinstance(one, Refusal) else one for one in fence.write(items)]
        made = [
            {a: (p.before, p.modseq, [(c.mailbox, c.values()) for c in p.counters]) for a, p in sorted(one.items())}
            for one in fence.made
        ]
        fence.made.clear()
        return results, made, fence.told.words


class Script:
    """Random statements, most of which make sense."""

    def __init__(self, random: Random, accounts: list[AccountId]) -> None:
        self._random = random
        self._accounts = accounts
        self._incarnations = [1]
        self._timeline = 2
        self._number = 0

    def step(self) -> tuple[Any, ...]:
        random = self._random
        words = ["register", "beat", "beat", "end", "claim", "claim", "claim", "release", "living", "purge"]
        word = random.choice([*words, *["write"] * 10, *random.choice([(), (), ("promote",), ("move",)])])
        incarnation = random.choice(self._incarnations[-4:])
        match word:
            case "register":
                self._incarnations.append(self._incarnations[-1] + 1)
                return word, f"b{random.randrange(3)}", self._incarnations[-1], random.random() < 0.2
            case "beat":
                return word, incarnation, random.random() < 0.2
            case "end":
                some = random.sample(self._incarnations, min(2, len(self._incarnations)))
                return word, {one: random.choice([None, 0, 1, 2]) for one in some}
            case "claim":
                return word, incarnation, random.sample(self._accounts, 4), random.random() < 0.8
            case "release":
                return word, incarnation, random.choice(self._accounts), random.choice([0, 0, 1])
            case "purge":
                return word, random.sample(self._incarnations, len(self._incarnations) // 2)
            case "move":
                return word, self._accounts[random.choice([-1, -2])]
            case "promote":
                self._timeline += random.choice([1, 1, 2])
                return word, f"one/{self._timeline:08X}"
            case "write":
                return word, [self._delivery() for _ in range(random.choice([1, 2, 6]))]
        return (word,)

    def _delivery(self) -> tuple[AccountId, int, str]:
        """One in ten has been made before, or is in the name of an epoch that is over."""
        random = self._random
        self._number += random.random() < 0.9
        return random.choice(self._accounts), int(random.random() < 0.1), f"d{self._number}"


async def _agree(seed: int, memory: Side, postgres: Side) -> list[tuple[Any, ...]]:
    random = Random(seed)
    for side in (memory, postgres):
        side.place.promote("one/00000002")
    accounts = memory.place.add(6)
    assert postgres.place.add(6) == accounts
    script = Script(random, accounts)
    done: list[tuple[Any, ...]] = []
    for _ in range(STEPS):
        done.append(script.step())
        assert await memory.do(*done[-1]) == await postgres.do(*done[-1]), done[-5:]
    assert memory.place.incarnations() == postgres.place.incarnations()
    for account in accounts:
        assert memory.place.numbers(account) == postgres.place.numbers(account)
    return done


@pytest.mark.postgres
@pytest.mark.parametrize("seed", [1, 2, 3, *[pytest.param(n, marks=pytest.mark.soak) for n in range(4, 100)]])
async def test_both_answer_the_same(seed: int, shared: PostgresPlace) -> None:
    await _agree(seed, Side(MemoryPlace()), Side(shared))


class TestRowsThatAreLocked:
    """By a batch under way, in the name of an incarnation that lives, or does not."""

    async def _claimed(self, place: Place) -> tuple[Pool, AccountId, AppendItem]:
        (account,) = place.add(1)
        pool = place.open()
        for incarnation in (10, 20):
            await pool.register(f"b{incarnation}", f"b{incarnation}:993", incarnation, False)
        found = (await pool.claim(10, [account], take=True)).found[account]
        assert isinstance(found, Here)
        return pool, account, AppendItem(account, BlobId(b"x"), 1, 0, delivery="d", epoch=found.epoch)

    async def test_the_batch_of_who_has_ended_is_ended(self, place: Place) -> None:
        pool, account, item = await self._claimed(place)
        fence = Fence(place, 10)
        with pytest.raises(EngineFailed), place.write(10) as tx:  # noqa: PT012  the commit raises
            fence.batching.begin(tx, {item.blob: Stored(1, 0, 1, 0)}, [item])
            append_batch(tx, fence.batching.batch, [item])
            fence.batching.finish(tx)
            await pool.end({10: 0})
            assert isinstance((await pool.claim(20, [account], take=True)).found[account], Here)
        assert place.numbers(account)[1][1:3] == (5, 9)

    async def test_a_host_does_not_end_its_own(self, place: Place) -> None:
        pool, account, item = await self._claimed(place)
        fence = Fence(place, 10)
        with place.write(10) as tx:
            fence.batching.begin(tx, {item.blob: Stored(1, 0, 1, 0)}, [item])
            refused = (await pool.claim(10, [account], take=True)).found[account]
            assert isinstance(refused, Refusal)
            assert refused.cause is Cause.BUSY
            assert not isinstance((await pool.claim(20, [account], take=True)).found[account], (Here, Refusal))
        assert isinstance((await pool.claim(10, [account], take=True)).found[account], Here)
