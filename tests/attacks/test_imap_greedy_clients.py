"""Clients that ask for much and read little: what waits for them is bounded, and others are served meanwhile."""

import asyncio
from pathlib import Path

from rookery.base.clock import ManualClock
from tests.access.imap.support import World, make_world, message

BOUND = 1_500_000  # octets; a slice or two


class HastyClock(ManualClock):
    """A millisecond passes with every look, so that turns end soon."""

    __slots__ = ()

    def monotonic(self) -> float:
        self.advance(0.001)
        return super().monotonic()


async def _filled(world: World, doublings: int, size: int = 4000) -> None:
    await world.append("alice", message() + b"x" * size)
    client = await world.selected()
    for _ in range(doublings):
        await client.ok("COPY 1:* INBOX")
    await client.hang_up()


async def _rest() -> None:
    for _ in range(2000):
        await asyncio.sleep(0)


async def test_a_client_that_reads_nothing(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice") as world:
        await _filled(world, 10)
        client = await world.selected()
        client.send(b"a UID FETCH 1:* BODY.PEEK[]\r\n" * 1000)
        await _rest()
        assert len(client.stream._data) < BOUND
        await client.hang_up()


async def test_an_idle_client_that_reads_nothing(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice") as world:
        await _filled(world, 9, 10)
        idler, other = await world.selected(), await world.selected()
        idler.send(b"i IDLE\r\n")
        for number in range(200):
            await other.ok(f"STORE 1:* {'+-'[number % 2]}FLAGS.SILENT (\\Flagged)")
        assert len(idler.stream._data) < BOUND
        assert await idler.line() == b"+ idling"
        idler.send(b"DONE\r\n")
        assert (await idler.until(b"i"))[-1] == b"OK Idle completed"
        assert await idler.ok("SEARCH FLAGGED") == [b"* SEARCH"]


async def test_a_large_fetch_leaves_turns_to_others(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice", "bob", clock=HastyClock()) as world:
        await _filled(world, 12, 10)
        greedy, modest = await world.selected(), await world.selected("bob")
        fetching = asyncio.create_task(greedy.ok("UID FETCH 1:* (ENVELOPE BODY.PEEK[])"))
        answered = 0
        while not fetching.done():
            await modest.ok("NOOP")
            answered += 1
        assert len(await fetching) == 4096
        assert answered > 10
