"""Mail from other servers through a frontend: what they see is what a node with a queue says."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from rookery.access.frontend.mx import MxFront, serve_mx_front
from rookery.access.frontend.way import Opening
from rookery.access.smtp import enter_mx
from rookery.base.errors import Cause, RookeryError
from rookery.net.memory import memory_pipe
from rookery.net.stream import Stream
from tests.access.smtp.world import DOMAIN, MESSAGE, OUTSIDE, Client, World, make_world


class Front:
    """A frontend before the world: it implements `Inward`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.away = False
        self.sessions: list[asyncio.Task[None]] = []
        self.openings: list[Opening] = []

    async def open(self, opening: Opening, octets: bytes) -> tuple[Stream, bytes]:
        if self.away:
            raise RookeryError(Cause.UNAVAILABLE, "no node that takes mail answers")
        self.openings.append(opening)
        world = self.world
        near, far = memory_pipe(wheel=world.wheel, client=opening.stream.peer)

        async def serve() -> None:
            try:
                await enter_mx(
                    far, opening.session, opening.resume, spool=world.spool, directory=world.directory,
                    settings=world.settings, clock=world.clock,
                )  # fmt: skip
            finally:
                far.close()

        self.sessions.append(asyncio.create_task(serve()))
        near.write(octets)
        return near, await near.read()

    async def connect(self) -> Client:
        return await self.world._connect(
            lambda stream: serve_mx_front(stream, MxFront(self, self.world.settings)), OUTSIDE
        )


@pytest_asyncio.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    async with make_world(tmp_path) as world:
        made = Front(world)
        yield made
        await world.close()
        async with asyncio.timeout(20):
            await asyncio.gather(*made.sessions)


async def test_a_message_goes_to_a_node_with_a_queue(front: Front) -> None:
    client = await front.connect()
    assert await client.say("EHLO client.test\n") == [250]
    assert not front.openings  # nobody is troubled before the first MAIL
    assert (await client.send(f"<alice@{DOMAIN}>"))[0].startswith("250 2.0.0 Queued as ")
    assert await client.say("MAIL FROM:<b@x.test>\nRCPT TO:<nobody@d.test>\nRCPT TO:<a@other.test>\n", 3) == [
        250,
        550,
        550,
    ]
    assert await client.say("QUIT\n") == [221]
    await client.ended()
    (message,) = front.world.spooled()
    assert message.startswith(b"Received: from client.test ([192.0.2.7])\r\n\tby mx.test with ESMTP id ")
    assert message.endswith(MESSAGE)
    (opening,) = front.openings
    assert front.world.taken.messages[0].envelope.session == opening.session
    assert front.world.taken.messages[0].envelope.peer == OUTSIDE.address


async def test_what_is_pipelined_behind_the_first_mail_goes_along(front: Front) -> None:
    client = await front.connect()
    lines = f"EHLO client.test\nMAIL FROM:<a@x.test> SIZE=100\nRCPT TO:<bob@{DOMAIN}>\nDATA\n"
    assert await client.say(lines, 4) == [250, 250, 250, 354]
    assert await client.say(MESSAGE + b".\r\nQUIT\r\n", 2) == [250, 221]
    assert len(front.world.spooled()) == 1


async def test_an_old_client_says_helo(front: Front) -> None:
    client = await front.connect()
    assert await client.say("HELO old.test\n") == [250]
    await client.send(f"<alice@{DOMAIN}>")
    (message,) = front.world.spooled()
    assert message.startswith(b"Received: from old.test ([192.0.2.7])\r\n\tby mx.test with SMTP id ")


async def test_it_answers_by_itself_before_and_refuses_what_is_no_mail(front: Front) -> None:
    client = await front.connect()
    assert await client.say("MAIL FROM:<a@x.test>\nEHLO c.test\nNOOP\nRCPT TO:<a@d.test>\nMAIL FROM:x\n", 5) == [
        503,
        250,
        250,
        503,
        501,
    ]
    assert not front.openings


async def test_when_no_node_takes_it_the_client_is_told_to_come_again(front: Front) -> None:
    front.away = True
    client = await front.connect()
    assert await client.say("EHLO client.test\nMAIL FROM:<a@x.test>\n", 2) == [250, 421]
    assert "421 4.3.2 No server of this site can take mail now, try again later" in await client.ended()


async def test_who_hangs_up_in_the_middle_leaves_nothing_behind(front: Front) -> None:
    client = await front.connect()
    assert await client.say(f"EHLO c.test\nMAIL FROM:<a@x.test>\nRCPT TO:<bob@{DOMAIN}>\nDATA\n", 4) == [
        250,
        250,
        250,
        354,
    ]
    client.stream.write(b"Subject: half")
    client.stream.close()
    async with asyncio.timeout(20):
        await asyncio.gather(client.task, *front.sessions)
    assert not front.world.spooled()
