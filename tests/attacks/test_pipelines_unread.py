"""Commands without number in one go, whose answers are not read: answered bit by bit, with turns for others."""

import asyncio
from pathlib import Path

from tests.access.imap.support import make_world

BOUND = 1_000_000  # octets that wait for a client


async def test_listing_again_and_again(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice", "bob") as world:
        client, other = await world.login(), await world.login("bob")
        for number in range(20):
            await client.ok(f"SUBSCRIBE {'a' * 900}{number}")
        client.send(b'a LSUB "" *\r\n' * 4000)  # 75 MB of answers
        for _ in range(20):
            await other.ok("NOOP")
        for _ in range(500):
            await asyncio.sleep(0)
        assert len(client.stream._data) < BOUND
        await client.hang_up()


async def test_others_are_served_amid_a_pipeline(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice", "bob") as world:
        busy, other = await world.login(), await world.login("bob")
        busy.send(b"a NOOP\r\n" * 5000 + b"z NOOP\r\n")
        answered = asyncio.create_task(busy.until(b"z"))
        await other.ok("NOOP")
        assert not answered.done()
        assert len(await answered) == 5001
