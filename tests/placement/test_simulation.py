"""Placement and fence among random faults, in virtual time. A seed that fails fails again."""

import asyncio
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

import pytest

from rookery.base.ids import AccountId
from rookery.base.log import Level, logger
from rookery.distribution.placement.values import MovedTo
from tests.placement.conftest import account_id
from tests.placement.faults import Faults
from tests.placement.process import Process
from tests.placement.simulation import Fleet, World
from tests.placement.virtual import run


class Plan(NamedTuple):
    """pools: each with so many backends and accounts of its own. clients: of each backend; pace: how slow they are.
    seconds: with faults of these lengths, one every `apart` seconds in each pool, and then `rest`, until all is over.
    """

    pools: int = 1
    backends: int = 4
    accounts: int = 12
    clients: int = 3
    pace: float = 1.0
    seconds: float = 30.0
    apart: float = 1.0
    lengths: Sequence[float] = (0.1, 0.3, 0.7, 1.5, 5.0)
    rest: float = 20.0


SMALL = Plan()
MIDDLE = Plan(4, 50, 5_000, 1, 2.0, 2.0, 0.1, (0.3, 0.7), 3.5)
LARGE = Plan(40, 50, 25_000, 1, 2.0, 8.0, 0.1, (0.1, 0.3, 0.7, 1.5), 6.0)


async def _takes_mail(serving: list[Process], account: AccountId) -> bool:
    """At the latest when it is asked again: clients are at work, and release it when they like."""
    for process in [*serving, *serving]:
        host = await process.find(account)
        if host is not None and await host.write(account):
            return True
    return False


async def _everything_opens(world: World) -> None:
    serving = [process for process in world.living() if process.placement.heart.me is not None]
    assert sorted(process.name for process in serving) == sorted(world.latest)  # one of each name
    for _ in range(50):
        account = account_id(world.random.choice(world.fleet.numbers))
        if account not in world.fleet.world(account).moved():
            assert await world.random.choice(serving).find(account) is not None
    for account in [*world.pending][:20]:
        assert account in world.moved() or await _takes_mail(serving, account)
    for account in world.moved():
        for process in serving:
            process.placement.fenced([account])  # as the next write would find it
            with pytest.raises(MovedTo):
                await process.across.locate(account)


async def _troubled(world: World, plan: Plan) -> None:
    faults = Faults(world, plan.lengths)
    while world.now < plan.seconds:
        await asyncio.sleep(world.random.expovariate(1 / plan.apart))
        faults.one(world.random)
        if world.random.random() < 0.05:
            world.move()


async def _life(seed: int, plan: Plan) -> Fleet:
    fleet = Fleet(Random(seed), plan.pools, plan.accounts)
    for world in fleet.worlds:
        for n in range(plan.backends):
            Process(world, f"b{n}", plan.clients, plan.pace)
    await asyncio.gather(*(_troubled(world, plan) for world in fleet.worlds))
    await asyncio.sleep(plan.rest)
    before = [set(world.makers) for world in fleet.worlds]
    await asyncio.gather(*(_everything_opens(world) for world in fleet.worlds))
    assert [set(world.makers) for world in fleet.worlds] == before  # it has come to rest
    failed = [task for process in fleet.at.values() if process.alive for task in process.tasks if task.done()]
    assert not failed
    for world in fleet.worlds:
        for process in world.living():
            process.die(silently=False)
        world.at_rest()
        assert not world.broken
    return fleet


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    log = logger("placement")
    before, log.level = log.level, Level.ERROR
    yield
    log.level = before


def _promises_hold(seed: int, plan: Plan = SMALL) -> Fleet:
    fleet = run(_life(seed, plan))
    for world in fleet.worlds:
        assert world.writes > 2 * plan.seconds
        assert world.reads > 2 * plan.seconds
    return fleet


@pytest.mark.parametrize("seed", range(3))
def test_what_is_promised_holds_among_faults(seed: int) -> None:
    _promises_hold(seed)


def test_in_several_pools_of_fifty_backends() -> None:
    _promises_hold(1, MIDDLE)


async def _a_third_dies() -> World:
    """While the database is far away, for most of them."""
    (world,) = Fleet(Random(1), 1, 100).worlds
    processes = [Process(world, f"b{n}", 0) for n in range(60)]
    for process in processes[5:]:
        process.slow_until = 60.0
    await asyncio.sleep(2.0)
    for process in processes[::3]:
        process.die(silently=True)
    await asyncio.sleep(5.0)
    for process in world.living():
        process.die(silently=True)
    return world


def test_who_finds_many_dead_is_not_found_dead_itself() -> None:
    world = run(_a_third_dies())
    assert not world.broken
    assert world.deaths == 20


@pytest.mark.soak
@pytest.mark.parametrize("start", range(1000, 11_000, 1000))
def test_it_holds_for_long(start: int) -> None:
    for seed in range(start, start + 1000):
        _promises_hold(seed)


@pytest.mark.soak
def test_two_thousand_backends_and_a_million_accounts() -> None:
    fleet = _promises_hold(1, LARGE)
    assert len(fleet.numbers) == 1_000_000
    assert sum(len(world.latest) for world in fleet.worlds) == 2_000
    assert sum(len(world.pool.accounts) for world in fleet.worlds) > 10_000  # were claimed,
    assert sum(world.again for world in fleet.worlds) > 3_000  # and claimed again
    assert sum(world.deaths for world in fleet.worlds) > 100
