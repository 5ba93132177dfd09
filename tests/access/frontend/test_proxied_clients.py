"""A load balancer before a frontend: the client that its PROXY header names is limited, logged and told to others."""

import asyncio
import dataclasses
import datetime
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rookery.access.frontend.imap import serve_imap_front
from rookery.access.imap.serve import enter_imap
from rookery.base.clock import ManualClock
from rookery.base.log import captured
from rookery.distribution.service.claims import Claims, count
from rookery.distribution.service.signals import Claim
from rookery.management.certificates import make_self_signed
from rookery.net.limits import ConnectionLimits
from rookery.net.listener import Listener, listen
from rookery.net.stream import Peer, Stream
from rookery.net.tls import client_context, server_context
from tests.access.frontend.nodes import Cluster
from tests.access.imap.support import DOMAIN, PASSWORD, make_world
from tests.net.cluster.certificates import Authority

CLIENT, BALANCER = "192.0.2.77", "192.0.2.1"
V1 = f"PROXY TCP4 {CLIENT} {BALANCER} 40123 993\r\n".encode()
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11"
    + struct.pack(">H", 12)
    + socket.inet_aton(CLIENT)
    + socket.inet_aton(BALANCER)
    + struct.pack(">HH", 40123, 993)
)


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    (tmp_path / "authority").mkdir()
    async with make_world(tmp_path, "alice") as world:
        made = Cluster(world, Authority(tmp_path / "authority"))
        yield made
        await made.close()


class Clients:
    """Of a frontend that listens for TLS, behind a load balancer on loopback."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    async def connect(self, header: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.ports[0])
        writer.write(header)
        await writer.start_tls(client_context(), server_hostname="front.test")
        assert (await reader.readline()).startswith(b"* OK ")
        return reader, writer


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_the_client_that_the_header_names_is_whom_everybody_sees(
    cluster: Cluster, tmp_path: Path, header: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted: list[Peer] = []

    async def entered(stream: Stream, *rest: Any, **more: Any) -> None:
        hosted.append(stream.peer)
        await enter_imap(stream, *rest, **more)

    monkeypatch.setattr("tests.access.frontend.nodes.enter_imap", entered)
    frontend, failed = cluster.frontend("f1", cluster.directory("d1")), list[str]()
    frontend.front = dataclasses.replace(frontend.front, failed=failed.append)
    cluster.backend("b1")
    make_self_signed(tmp_path / "c.pem", tmp_path / "k.pem", ["front.test"], datetime.datetime.now(datetime.UTC))
    claims = Claims(ManualClock())
    listener = await listen(
        ["127.0.0.1"],
        0,
        lambda stream: serve_imap_front(stream, frontend.front),
        name="imaps",
        limits=ConnectionLimits(4, None),
        tls=server_context(tmp_path / "c.pem", tmp_path / "k.pem"),
        proxy_from=[ipaddress.ip_network("127.0.0.0/8")],
        elsewhere=lambda key, limit: claims.elsewhere("imaps", key, limit),
    )
    clients = Clients(listener)
    try:
        with captured() as events:
            reader, writer = await clients.connect(header)
            writer.write(f"a LOGIN alice@{DOMAIN} wrong\r\n".encode())
            assert (await reader.readline()).startswith(b"a NO ")
            writer.write(f'b LOGIN alice@{DOMAIN} "{PASSWORD}"\r\n'.encode())
            assert (await reader.readline()).startswith(b"b OK ")
        seen = {(component, event): fields["address"] for component, event, fields in events if "address" in fields}
        assert seen["auth", "login-failed"] == CLIENT  # at the directory
        assert hosted == [Peer(CLIENT, 40123)]  # from the preface
        assert failed == [CLIENT]
        assert list(listener.counted()) == [(CLIENT, 1)]
        claims.take(Claim("f2", count({"imaps": [(CLIENT, 2)]})))
        kept = [await clients.connect(header)]
        with pytest.raises((OSError, AssertionError)):
            await clients.connect(header)  # two here and two at another frontend are four
        kept.append(await clients.connect(header.replace(b".77 ", b".78 ").replace(b"\x02\x4d", b"\x02\x4e")))
        for _, one in [(reader, writer), *kept]:
            one.close()
    finally:
        await listener.close()
