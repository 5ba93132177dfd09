"""Slow loris: connections held open by sending next to nothing, at every stage. The clock is the test's."""

import asyncio
import datetime
from pathlib import Path

import pytest

from rookery.management.certificates import make_self_signed
from rookery.net.limits import ConnectionLimits, Total
from rookery.net.listener import listen
from rookery.net.stream import Stream
from rookery.net.tls import server_context
from tests.access.smtp.world import Client, World

HOUR = 3600
MAIL = "MAIL FROM:<a@x.test>\n"


async def drip(world: World, client: Client, drop: bytes, every: float) -> float:
    """Seconds until the server had enough."""
    passed = 0.0
    while passed < HOUR and not client.task.done():
        client.stream.write(drop)
        for _ in range(4):
            await asyncio.sleep(0)
        world.clock.advance(every)
        world.wheel.tick()
        passed += every
        for _ in range(4):
            await asyncio.sleep(0)
    return passed


STARTS = ("", MAIL, f"{MAIL}RCPT TO:<bob@d.test>\nDATA\n", f"{MAIL}RCPT TO:<bob@d.test>\nBDAT 90000\n")


@pytest.mark.parametrize("every", [0.5, 5, 29])
async def test_a_command_or_message_drop_by_drop(mail_world: World, every: float) -> None:
    for start in STARTS:
        client = await mail_world.mx()
        client.stream.write(start.replace("\n", "\r\n").encode())
        await client.replies(start.count("\n") - ("BDAT" in start))
        assert await drip(mail_world, client, b"x", every) < 150
        assert "421 4.4.2" in await client.ended()
        assert mail_world.spool.blobs._area.in_memory == 0


async def test_silence(mail_world: World) -> None:
    client = await mail_world.mx()
    assert await drip(mail_world, client, b"", 10) <= mail_world.settings.idle + 20
    assert "421 4.4.2" in await client.ended()


async def test_before_login_commands_do_not_buy_time(mail_world: World) -> None:
    client = await mail_world.submission()
    assert await drip(mail_world, client, b"NOOP\r\n", 5) <= mail_world.settings.before_login + 15
    assert "421" in await client.ended()


async def test_an_honest_slow_line_is_let_be(mail_world: World) -> None:
    client = await mail_world.mx()
    await client.say("MAIL FROM:<a@x.test>\nRCPT TO:<bob@d.test>\nDATA\n", 3)
    client.stream.write(b"Subject: slow\r\n\r\n")
    for _ in range(30):
        client.stream.write(b"0123456789" * 99 + b"\r\n")
        for _ in range(4):
            await asyncio.sleep(0)
        mail_world.clock.advance(5)
        mail_world.wheel.tick()
    assert await client.say(b".\r\n") == [250]


async def test_a_handshake_that_does_not_go_on(
    mail_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rookery.net.listener.HANDSHAKE_TIME", 0.05)
    pair = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_self_signed(*pair, ["mx.test"], datetime.datetime.now(datetime.UTC))
    served = []

    async def serve(stream: Stream) -> None:
        served.append(stream)

    total = Total()
    listener = await listen(
        ["127.0.0.1"], 0, serve, name="smtps", limits=ConnectionLimits(), total=total, tls=server_context(*pair)
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.ports[0])
    writer.write(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
    assert await reader.read() == b""
    writer.close()
    assert served == []
    await listener.close()
    assert total.count == 0
