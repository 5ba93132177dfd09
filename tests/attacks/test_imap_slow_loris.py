"""Connections that are held open with as little as possible: each ends when its time is up, and says why."""

import asyncio
from pathlib import Path

from rookery.base.clock import ManualClock
from rookery.net.wheel import Wheel
from tests.access.imap.support import DOMAIN, PASSWORD, Client, World, make_world

GOODBYE = b"* BYE Autologout; nothing was said for too long"


async def _pass(clock: ManualClock, wheel: Wheel, seconds: int, step: int = 1) -> None:
    for _ in range(0, seconds, step):
        clock.advance(step)
        wheel.tick()
        for _ in range(5):
            await asyncio.sleep(0)


async def _connected(world: World, wheel: Wheel) -> Client:
    client = world.connect(wheel=wheel)
    await client.line()
    return client


async def test_before_login_a_minute_is_all_there_is(tmp_path: Path) -> None:
    """Also for one who keeps saying something."""
    async with make_world(tmp_path, "alice") as world:
        wheel = Wheel(world.clock.monotonic)
        silent, busy = await _connected(world, wheel), await _connected(world, wheel)
        for second in range(62):
            if second < 60:
                busy.send(b"a")
            await _pass(world.clock, wheel, 1)
        for client in (silent, busy):
            assert await client.line() == GOODBYE
            assert await client.stream.read() == b""
            await client.hang_up()


async def test_after_login_half_an_hour_of_silence(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice") as world:
        wheel = Wheel(world.clock.monotonic)
        client = await _connected(world, wheel)
        await client.ok(f'LOGIN alice@{DOMAIN} "{PASSWORD}"')
        await client.ok("SELECT INBOX")
        await _pass(world.clock, wheel, 1780, step=20)
        await client.ok("NOOP")
        client.send(b"i IDLE\r\n")
        assert await client.line() == b"+ idling"
        await _pass(world.clock, wheel, 1780, step=20)
        client.send(b"DONE\r\n")
        assert await client.line() == b"i OK Idle completed"
        await _pass(world.clock, wheel, 1840, step=20)
        assert await client.line() == GOODBYE
        await client.hang_up()


async def test_a_message_that_drips(tmp_path: Path) -> None:
    """An APPEND at a few octets a second holds a file and a session: it is given up."""
    async with make_world(tmp_path, "alice") as world:
        wheel = Wheel(world.clock.monotonic)
        client = await _connected(world, wheel)
        await client.ok(f'LOGIN alice@{DOMAIN} "{PASSWORD}"')
        client.send(b"a APPEND INBOX {100000+}\r\n")
        for _ in range(130):
            client.send(b"x")
            await _pass(world.clock, wheel, 1)
        assert await client.line() == b"* BYE Too slow"
        await client.hang_up()
        assert not list((world.store.folder / "staging").iterdir())
