"""Sessions of an account that another backend hosts by now: they end with BYE, and nothing is claimed."""

import asyncio
import threading

from rookery.storage.engine import Transaction
from tests.access.imap.support import Client, World, message
from tests.storage.hosts import BOTH

BYE = b"* BYE [UNAVAILABLE] The account has moved to another server, connect again"

pytestmark = BOTH


async def _ends(client: Client) -> None:
    assert await client.line() == BYE
    await asyncio.wait_for(client.task, 20)


async def test_silent_ones_and_idling_ones_end_at_once(world: World) -> None:
    silent, selected, idling, other = (
        await world.login(), await world.selected(), await world.selected(), await world.selected("bob")
    )  # fmt: skip
    idling.send(b"i IDLE\r\n")
    assert await idling.line() == b"+ idling"
    world.store.drop_account(world.account_id("alice"))
    for client in (silent, selected, idling):
        await _ends(client)
    await other.ok("NOOP")
    again = await world.login()
    await again.ok("SELECT INBOX")


async def test_of_a_removed_account_they_end_when_it_is_gone(world: World) -> None:
    silent, idling, other = await world.login(), await world.selected(), await world.selected("bob")
    idling.send(b"i IDLE\r\n")
    assert await idling.line() == b"+ idling"
    await world.store.remove_account(world.account_id("alice"))
    for client in (silent, idling):
        assert await client.line() == b"* BYE The account was removed"
        await asyncio.wait_for(client.task, 20)
    await other.ok("NOOP")


async def test_in_the_middle_of_an_append(world: World) -> None:
    client = await world.login()
    client.send(b"a APPEND INBOX {100}\r\n")
    assert (await client.line()).startswith(b"+")
    client.send(b"Subject: half")
    world.store.drop_account(world.account_id("alice"))
    await _ends(client)
    assert world.store.blobs.stage() is not None
    account = await world.open("alice")
    assert account.usage().messages == 0


async def test_what_is_under_way_is_not_answered(world: World) -> None:
    client = await world.login()
    held, begun = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        begun.set()
        held.wait(20)

    holding = asyncio.ensure_future(world.store.exclusive(hold))
    await asyncio.to_thread(begun.wait, 20)
    weight = world.store.writer.waiting
    client.send(b"a CREATE Work\r\nb NOOP\r\n")
    while world.store.writer.waiting == weight:  # noqa: ASYNC110  nothing else tells
        await asyncio.sleep(0)
    world.store.drop_all()
    held.set()
    await holding
    await _ends(client)


async def test_in_the_middle_of_a_long_answer(world: World) -> None:
    for _ in range(30):
        await world.append("alice", message() + b"x" * 100_000)
    client = await world.selected()
    client.send(b"a FETCH 1:* BODY.PEEK[]\r\n")
    assert (await client.response()).startswith(b"* 1 FETCH")
    world.store.drop_all()
    last = b""
    while last != BYE:
        last = await client.response()
        assert not last.startswith(b"a ")
    await asyncio.wait_for(client.task, 20)
