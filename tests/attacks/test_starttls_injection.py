"""STARTTLS injection (CVE-2011-0411): commands in clear behind STARTTLS must never be carried out inside TLS."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from rookery.access.smtp import serve_mx
from rookery.management.certificates import make_self_signed
from rookery.net.limits import ConnectionLimits
from rookery.net.listener import Listener, listen
from rookery.net.stream import Stream
from rookery.net.tls import client_context, server_context
from tests.access.smtp.world import World

INJECTED = b"EHLO attacker\r\nMAIL FROM:<attacker@x.test>\r\nRCPT TO:<alice@d.test>\r\n"


@pytest_asyncio.fixture
async def listener(mail_world: World, tmp_path: Path) -> AsyncIterator[Listener]:
    pair = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_self_signed(*pair, ["mx.test"], datetime.datetime.now(datetime.UTC))
    tls = server_context(*pair)

    async def serve(stream: Stream) -> None:
        await serve_mx(
            stream, spool=mail_world.spool, directory=mail_world.directory, settings=mail_world.settings,
            clock=mail_world.clock, tls=tls,
        )  # fmt: skip

    opened = await listen(["127.0.0.1"], 0, serve, name="smtp", limits=ConnectionLimits())
    yield opened
    await opened.close()


async def greeted(listener: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.ports[0])
    await reader.readline()
    writer.write(b"EHLO client.test\r\n")
    while not (await reader.readline()).startswith(b"250 "):
        pass
    return reader, writer


@pytest.mark.parametrize("behind", [INJECTED, b"\r\n", b"x", b"\x16\x03\x01\x02\x00"])
async def test_in_the_same_packet_it_is_refused_and_the_connection_ends(listener: Listener, behind: bytes) -> None:
    reader, writer = await greeted(listener)
    writer.write(b"STARTTLS\r\n" + behind)
    assert (await reader.read()).startswith(b"503 ")
    writer.close()


async def test_a_moment_later_it_breaks_the_handshake(listener: Listener) -> None:
    reader, writer = await greeted(listener)
    writer.write(b"STARTTLS\r\n")
    assert (await reader.readline()).startswith(b"220 ")
    writer.write(INJECTED)
    assert b"250" not in await reader.read()
    writer.close()


async def test_nothing_said_before_tls_counts_inside(listener: Listener, mail_world: World) -> None:
    reader, writer = await greeted(listener)
    writer.write(b"MAIL FROM:<attacker@x.test>\r\nRCPT TO:<alice@d.test>\r\nSTARTTLS\r\n")
    for code in (b"250", b"250", b"220"):
        assert (await reader.readline()).startswith(code)
    await writer.start_tls(client_context(), server_hostname="mx.test")
    writer.write(b"DATA\r\n")
    assert (await reader.readline()).startswith(b"503 ")
    writer.write(b"EHLO client.test\r\n")
    lines = []
    while not lines or not lines[-1].startswith(b"250 "):
        lines.append(await reader.readline())
    assert b"250-STARTTLS\r\n" not in lines
    writer.write(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<alice@d.test>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n")
    assert b"250 2.0.0 Queued" in await reader.read()
    (stored,) = mail_world.spooled()
    assert b" with ESMTPS (TLSv1.3 " in stored.replace(b"\r\n\t", b" ")
    writer.close()
