"""The port at which nodes join: who may come, how long it may take, how much it may say."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from rookery.base.config.kinds import NETWORK
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Role
from rookery.distribution.cluster.joining import join
from rookery.distribution.cluster.messages import MESSAGE_LIMIT
from rookery.management import desk as module
from rookery.management.desk import Desk, ask
from tests.cluster.world import World

HERE = (NETWORK.read("127.0.0.0/8"),)


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    made = Desk(world.first.desk, HERE, world.registrar.answer)
    made.start(["127.0.0.1"], 0)
    yield made
    await made.close()


def _blind() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _connect(desk: Desk) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", desk.ports[0], ssl=_blind())


async def test_a_node_joins(world: World, desk: Desk) -> None:
    address = f"127.0.0.1:{desk.ports[0]}"
    token = await world.registrar.invite("f1", [Role.FRONTEND], [address], 1)
    member = await join(token, world.node("f1"), ask)
    assert (member.name, member.roles) == ("f1", {Role.FRONTEND})


async def test_nobody_is_there(world: World, desk: Desk) -> None:
    token = await world.registrar.invite("f1", [Role.FRONTEND], [f"127.0.0.1:{desk.ports[0]}"], 1)
    await desk.close()
    with pytest.raises(RookeryError) as told:
        await join(token, world.node("f1"), ask)
    assert told.value.cause is Cause.UNAVAILABLE


async def test_strangers_get_no_handshake(world: World) -> None:
    desk = Desk(world.first.desk, (NETWORK.read("192.0.2.0/24"),), world.registrar.answer)
    desk.start(["127.0.0.1"], 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.ports[0])
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await reader.readexactly(1)
    writer.close()
    await desk.close()


async def test_so_many_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTIONS", 2)
    held = [await _connect(desk) for _ in range(2)]
    with pytest.raises((OSError, EOFError)):
        await _connect(desk)
    for _, writer in held:
        writer.close()


@pytest.mark.parametrize("said", [b"\xff\xff\xff\xff", (MESSAGE_LIMIT + 1).to_bytes(4, "big") + b"x" * 100])
async def test_who_says_too_much_is_cut_off(desk: Desk, said: bytes) -> None:
    reader, writer = await _connect(desk)
    writer.write(said)
    assert await reader.read() == b""
    writer.close()


async def test_nonsense_is_answered(desk: Desk) -> None:
    reader, writer = await _connect(desk)
    writer.write(b"\0\0\0\x03abc")
    size = int.from_bytes(await reader.readexactly(4), "big")
    assert b"no question" in await reader.readexactly(size)
    writer.close()


async def test_who_says_nothing_is_cut_off(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIME", 0.3)
    reader, writer = await _connect(desk)
    assert await reader.read() == b""
    writer.close()
