"""Mail that another node hands in: each recipient of a message is taken once, however often its answer is lost."""

import asyncio

from rookery.distribution.spool.tidy import tidy
from rookery.storage.engine import Reader
from tests.access.smtp.world import DOMAIN, World

ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"


def _to(address: str, message: str = "c0123456789a") -> str:
    return f"<{address}> XDELIVERY={message}/{address}"


def _taken(world: World) -> list[list[str]]:
    return [[recipient.address for recipient in claimed.recipients] for claimed in world.taken.messages]


async def test_a_message_handed_in_again_is_not_taken_again(world: World) -> None:
    client = await world.mx(giver="mx1")
    assert (await client.send(_to(ALICE), _to(BOB)))[0].startswith("250 2.0.0 Queued as")
    for recipients in ((_to(ALICE), _to(BOB)), (_to(BOB),)):
        assert await client.send(*recipients) == ["250 2.0.0 Taken before"]
    assert _taken(world) == [[ALICE, BOB]]
    assert (await client.send(_to(ALICE, "c0123456789b")))[0].startswith("250 2.0.0 Queued as")


async def test_an_answer_that_was_lost(world: World) -> None:
    client = await world.mx(giver="mx1")
    assert await client.say(f"MAIL FROM:<a@x.test>\nRCPT TO:{_to(ALICE)}\nDATA\n", 3) == [250, 250, 354]
    client.stream.write(b"Subject: x\r\n\r\n.\r\n")
    client.stream.close()  # before it can be answered
    async with asyncio.timeout(20):
        await client.task
        while not world.taken.messages:  # noqa: ASYNC110  turns of the loop, not time
            await asyncio.sleep(0)
    again = await world.mx(giver="mx1")
    assert await again.send(_to(ALICE)) == ["250 2.0.0 Taken before"]
    assert _taken(world) == [[ALICE]]


async def test_of_several_recipients_those_are_taken_that_were_not(world: World) -> None:
    client = await world.mx(giver="mx1")
    await client.send(_to(ALICE))
    assert (await client.send(_to(ALICE), _to(BOB)))[0].startswith("250 2.0.0 Queued as")
    assert _taken(world) == [[ALICE], [BOB]]


async def test_the_same_id_twice_in_one_message_is_one_recipient(world: World) -> None:
    client = await world.mx(giver="mx1")
    assert (await client.send(_to(ALICE), _to(ALICE)))[0].startswith("250")
    assert _taken(world) == [[ALICE]]


async def test_the_ids_of_one_node_are_not_those_of_another(world: World) -> None:
    for giver in ("mx1", "mx2"):
        client = await world.mx(giver=giver)
        assert (await client.send(_to(ALICE)))[0].startswith("250 2.0.0 Queued as")
    assert _taken(world) == [[ALICE], [ALICE]]


async def test_other_servers_give_no_ids(world: World) -> None:
    client = await world.mx()
    assert await client.say(f"MAIL FROM:<a@x.test>\nRCPT TO:{_to(ALICE)}\n", 2) == [250, 555]


def _known(reader: Reader) -> int:
    row = reader.row("SELECT count(*) FROM taken")
    assert row is not None
    return int(row[0])


async def test_what_a_node_has_settled_is_forgotten_and_nothing_of_others(world: World) -> None:
    for giver in ("mx1", "mx2"):
        client = await world.mx(giver=giver)
        for number in range(4):
            await client.send(_to(ALICE, f"c0123456789{number}"))
    for _ in range(2):
        await world.spool.forget_taken("mx1", "c01234567892")
        assert world.spool.read(_known) == 6
    client = await world.mx(giver="mx1")
    assert await client.send(_to(ALICE, "c01234567892")) == ["250 2.0.0 Taken before"]


async def test_what_was_taken_long_ago_is_forgotten(world: World) -> None:
    client = await world.mx(giver="mx1")
    await client.send(_to(ALICE))
    world.clock.advance(29 * 86_400)
    await tidy(world.spool)
    assert world.spool.read(_known) == 1
    world.clock.advance(2 * 86_400)
    await tidy(world.spool)
    assert world.spool.read(_known) == 0
