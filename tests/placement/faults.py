"""What happens to the simulated pool. Each fault ends by itself."""

import asyncio
from collections.abc import Sequence
from random import Random

from tests.placement.process import Process
from tests.placement.simulation import World

STANDBY = 0.3  # seconds that an asynchronous one is behind

OF_ONE = (
    "freeze", "cut", "part", "crash", "lose", "deaf", "hang", "drain", "slow", "step", "replace", "storm",
)  # fmt: skip
OF_ALL = ("all at once", "pause", "promote", "fail over")


async def _part(world: World, one: Process, other: Process, seconds: float, *, both: bool) -> None:
    """From one to the other, or both ways."""
    ways = {(one.address, other.address)} | ({(other.address, one.address)} if both else set())
    world.parted |= ways
    await asyncio.sleep(seconds)
    world.parted -= ways


async def _drain(process: Process, seconds: float) -> None:
    await process.placement.drain()
    await asyncio.sleep(seconds)
    process.placement.undrain()


def again(process: Process) -> Process:
    """Another one with its name."""
    return Process(process.world, process.name, process.clients, process.pace)


async def _crash(process: Process, seconds: float) -> None:
    process.die(silently=process.world.random.random() < 0.5)
    await asyncio.sleep(seconds)
    if process.world.latest[process.name] is process:
        again(process)


async def _fail_over(world: World) -> None:
    """The standby lacks what is committed from now on."""
    before = world.pool.copy()
    await asyncio.sleep(STANDBY)
    if before.timeline == world.pool.timeline:
        world.fail_over(before)


async def _step(process: Process, seconds: float) -> None:
    """The date goes back; what counts the time goes on by too much, as after a sleep that nobody saw."""
    process.clock.step(-10 * seconds)
    process.ahead += seconds
    await asyncio.sleep(seconds)
    process.clock.step(10 * seconds)


class Faults:
    def __init__(self, world: World, lengths: Sequence[float]) -> None:
        self._world = world
        self._lengths = lengths
        self.happened = dict.fromkeys(OF_ONE + OF_ALL, 0)

    def one(self, random: Random) -> None:
        rarely = random.random() < 1.25 / len(self._world.latest)  # that many times as much happens to one of them
        kind = random.choice(OF_ALL if rarely else OF_ONE)
        seconds = random.choice(self._lengths) * random.uniform(0.5, 1.5)
        living = self._world.living()
        if len(living) < 2:
            return
        self.happened[kind] += 1
        process, other = random.sample(living, 2)
        self._happen(kind, process, other, seconds, random)

    def _happen(self, kind: str, process: Process, other: Process, seconds: float, random: Random) -> None:
        world = self._world
        if kind == "freeze":
            process.frozen_until = process.ill(seconds)
        elif kind == "cut":
            process.cut_until = process.ill(seconds)
        elif kind == "lose":
            process.losing_until = process.ill(seconds)
        elif kind == "deaf":
            process.deaf_until = process.ill(seconds)
        elif kind == "hang":
            process.hung_until = process.ill(seconds)
        elif kind == "slow":
            process.slow_until = world.now + seconds
        elif kind == "part":
            world.aside(_part(world, process, other, seconds, both=random.random() < 0.5))
        elif kind == "crash":
            world.aside(_crash(process, seconds))
        elif kind == "all at once":
            for one in random.sample(world.living(), len(world.living()) // 3):
                world.aside(_crash(one, seconds))
        elif kind == "replace":  # on another machine, while this one sleeps
            process.frozen_until = process.ill(seconds)
            again(process)
            world.aside(self._found(process, 1.5 * seconds))
        elif kind == "pause":
            world.pause(seconds)
        elif kind == "promote":
            world.fail_over(None)
        elif kind == "fail over":
            world.aside(_fail_over(world))
        elif kind == "drain":
            world.aside(_drain(process, seconds))
        elif kind == "step":
            world.aside(_step(process, seconds))
        elif kind == "storm":
            world.aside(process.storm(200))

    async def _found(self, process: Process, seconds: float) -> None:
        """Somebody ends the old one at last."""
        await asyncio.sleep(seconds)
        process.die(silently=True)
