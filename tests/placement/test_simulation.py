"""The placement code among random faults, in virtual time. A seed that fails fails again."""

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from rookery.base.ids import AccountId
from rookery.base.log import Level, logger
from rookery.distribution.placement.heartbeat import STUCK
from rookery.distribution.placement.values import Elsewhere, Here, MovedTo
from rookery.storage.schema import MOVED
from tests.placement.simulation import Machine, World
from tests.placement.virtual import run

SECONDS = 30.0


async def _part(world: World, one: Machine, other: Machine, seconds: float) -> None:
    link = frozenset((one.name, other.name))
    world.parted.add(link)
    await asyncio.sleep(seconds)
    world.parted.discard(link)


async def _drain(machine: Machine, seconds: float) -> None:
    await machine.placement.drain()
    await asyncio.sleep(seconds)
    machine.placement.undrain()


def _fault(world: World, random: Random) -> None:
    """One more, which ends by itself."""
    machine, other = random.sample(world.machines, 2)
    seconds = random.choice([0.1, 0.3, 0.7, 1.5, 5.0]) * random.uniform(0.5, 1.5)
    until = world.now + seconds
    kind = random.choice(["freeze", "cut", "part", "crash", "pause", "lose", "stuck", "promote", "drain"])
    if kind == "part":
        world.aside(_part(world, machine, other, seconds))
    elif kind == "pause":
        world.pause(seconds)
    elif kind == "promote":
        world.pool.timeline = f"one/{world.now}"
        world.note()
    elif kind == "drain" and machine.alive:
        world.aside(_drain(machine, seconds))
    elif kind == "crash" and machine.alive:
        world.aside(machine.crash(seconds))
    else:
        machine.ill(seconds)
        if kind == "freeze":
            machine.frozen_until = until
        elif kind == "cut":
            machine.cut_until = until
        elif kind == "lose":
            machine.losing_until = until
        elif kind == "stuck":
            machine.stuck_from, machine.stuck_until = world.now - STUCK, until


async def _everything_opens(world: World) -> None:
    for account in world.accounts:
        machine = world.random.choice(world.machines)
        if world.pool.accounts[account].state == MOVED:
            await _refers(world, account)
            continue
        found = await machine.placement.locate(account)
        for _ in range(3):  # clients are at work: whoever hosts it may release it before it is asked
            if isinstance(found, Elsewhere):
                found = await world.machine(found.backend).placement.locate(account)
        assert isinstance(found, Here)


async def _refers(world: World, account: AccountId) -> None:
    """Whoever had it open learns from the fence, at the next write at the latest."""
    for machine in world.machines:
        if machine.placement.here(account):
            machine.placement.fenced([account])
        with pytest.raises(MovedTo):
            await machine.placement.locate(account)


async def _life(seed: int, backends: int, accounts: int) -> World:
    world = World(seed, backends, accounts)
    for machine in world.machines:
        machine.start()
    leaving = list(world.accounts[: accounts // 4])
    while world.now < SECONDS:
        await asyncio.sleep(world.random.expovariate(1.0))
        _fault(world, world.random)
        if leaving and world.random.random() < 0.1:
            world.move(leaving.pop())
    await asyncio.sleep(20.0)
    await _everything_opens(world)
    failed = [task for machine in world.machines for task in machine.tasks if task.done()]
    for machine in world.machines:
        for task in machine.tasks:
            task.cancel()
        await machine.placement.close()
    assert not failed
    assert not world.broken
    for account, uids in world.acknowledged.items():
        assert set(uids) <= set(world.mail[account])
        assert world.mail[account] == sorted(set(world.mail[account]))
    return world


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    log = logger("placement")
    before, log.level = log.level, Level.ERROR
    yield
    log.level = before


def _promises_hold(seed: int) -> None:
    world = run(_life(seed, 4, 12))
    assert world.writes > 50
    assert world.reads > 50


@pytest.mark.parametrize("seed", range(3))
def test_what_is_promised_holds_among_faults(seed: int) -> None:
    _promises_hold(seed)


@pytest.mark.soak
@pytest.mark.parametrize("start", range(1000, 11_000, 1000))
def test_it_holds_for_long(start: int) -> None:
    for seed in range(start, start + 1000):
        _promises_hold(seed)
