"""What takes long to answer is worked out aside, everybody else is served meanwhile; no answer is made whole first."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from rookery.access.imap import derive, fetching, mailboxes, matching
from tests.access.imap.support import World, make_world, message

BOUND = 3_000_000  # octets that wait for a client; a message or two
T = TypeVar("T")


class Held:
    """Stands for `aside`: work begins when it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        for module in (derive, fetching, mailboxes, matching):
            monkeypatch.setattr(module, "aside", self.aside)

    async def aside(self, account: object, work: Callable[[], T]) -> T:
        self.begun.set()
        await self.go.wait()
        return work()


async def _served_meanwhile(world: World, held: Held, command: str) -> list[bytes]:
    asking, other = await world.selected(), await world.selected("bob")
    answer = asyncio.create_task(asking.ok(command))
    await asyncio.wait_for(held.begun.wait(), 10)
    await other.ok("NOOP")
    assert not answer.done()
    held.go.set()
    return await answer


@pytest.mark.parametrize(
    "command",
    [
        "FETCH 1 BODYSTRUCTURE", "FETCH 1 ENVELOPE", "FETCH 1 BODY.PEEK[1]", "FETCH 1 BODY.PEEK[HEADER.FIELDS (X-A)]",
        "FETCH 1 BINARY.SIZE[1]", "FETCH 1 BODY.PEEK[HEADER]",
        "SEARCH BODY zz", "SEARCH TEXT zz", "SEARCH HEADER X-A zz",
    ],
)  # fmt: skip
async def test_a_mail_full_of_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    async with make_world(tmp_path, "alice", "bob") as world:
        await world.append("alice", b"A:\r\n" * 20_000 + message())
        assert await _served_meanwhile(world, Held(monkeypatch), command)


async def test_names_and_patterns_without_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_world(tmp_path, "alice", "bob") as world:
        client = await world.login()
        for number in range(5):
            await client.ok(f"SUBSCRIBE {'a' * 990}{number}")
        patterns = " ".join(["*a*a*a*a*b"] * 50)
        held = Held(monkeypatch)
        assert await _served_meanwhile(world, held, f'LIST (SUBSCRIBED) "" ({patterns})') == []


@pytest.mark.parametrize("size", [30_000, 900_000, 2_000_000])
async def test_parts_of_a_message_again_and_again(tmp_path: Path, size: int) -> None:
    """200 items of one FETCH, each nearly the whole message, and nothing is read."""
    async with make_world(tmp_path, "alice") as world:
        await world.append("alice", message() + b"x" * size)
        client = await world.selected()
        if size < 100_000:
            for _ in range(5):
                await client.ok("COPY 1:* INBOX")
        items = " ".join(f"BODY.PEEK[]<{first}.{size}>" for first in range(200))
        client.send(f"a UID FETCH 1:* ({items})\r\n".encode())
        rest = partial(asyncio.sleep, 0)
        async with asyncio.timeout(60):
            while not client.stream._data:
                await rest()
        for _ in range(2000):
            await rest()
        assert len(client.stream._data) < BOUND + size
        await client.hang_up()
