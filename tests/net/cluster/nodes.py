"""Two nodes on loopback: b1 listens, f1 dials. Both beat by one clock, which moves only when told."""

import asyncio
import functools
import ipaddress
import ssl
from dataclasses import replace
from typing import Any

from rookery.base.clock import ManualClock
from rookery.base.errors import RookeryError
from rookery.net.cluster.link import Link
from rookery.net.cluster.links import DialSettings, Links
from rookery.net.cluster.member import Role
from rookery.net.cluster.node import Node, Service
from rookery.net.cluster.port import ClusterPort, PortSettings, open_port
from rookery.net.cluster.stream import LinkStream
from rookery.net.stream import Peer
from rookery.net.wheel import Wheel
from rookery.wire.cluster.frames import Kind, frame
from rookery.wire.cluster.values import Preface, Signal, encode
from tests.net.cluster.certificates import Authority, member_of
from tests.net.turns import until

LOOPBACK = PortSettings(allow=[ipaddress.ip_network("127.0.0.0/8")])
BACKEND = Node("c1", "b1", "0.1", member_of)
FRONTEND = Node("c1", "f1", "0.1", member_of)


@functools.cache
def context(authority: Authority, name: str, role: Role, *, server: bool) -> ssl.SSLContext:
    return authority.context(name, role, server=server)


class Nodes:
    """What b1 is asked is kept: `opened` streams, `signals`; a call is answered with its octets, backwards."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.clock = ManualClock()
        self.wheel = Wheel(self.clock.monotonic)
        self.opened: list[tuple[Link, Preface, LinkStream]] = []
        self.signals: list[Signal] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked = self.cancelled = 0  # calls
        self.ports: list[ClusterPort] = []
        self.dialled: list[Links] = []

    # --- b1

    def take(self, link: Link, preface: Preface, stream: LinkStream) -> None:
        self.opened.append((link, preface, stream))

    async def answer(self, link: Link, payload: bytes) -> bytes:
        self.asked += 1
        try:
            await self.answering.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if payload.startswith(b"bug"):
            raise KeyError(payload)
        return payload[::-1]

    def service(self) -> Service:
        return Service(self.take, self.answer, lambda link, signal: self.signals.append(signal))

    def port(self, node: Node = BACKEND, tls: ssl.SSLContext | None = None, **settings: Any) -> Peer:
        """Where it listens."""
        port = open_port(
            ["127.0.0.1"],
            0,
            node,
            self.service(),
            tls or context(self.authority, "b1", Role.BACKEND, server=True),
            wheel=self.wheel,
            settings=replace(LOOPBACK, **settings),
        )
        self.ports.append(port)
        return Peer("127.0.0.1", port.ports[0])

    # --- f1

    def links(
        self, node: Node = FRONTEND, tls: ssl.SSLContext | None = None, service: Service | None = None, **settings: Any
    ) -> Links:
        links = Links(
            node,
            service or Service(),
            tls or context(self.authority, "f1", Role.FRONTEND, server=False),
            wheel=self.wheel,
            settings=replace(DialSettings(connect=20), **settings),
        )
        self.dialled.append(links)
        return links

    async def link(self, backend: Node = BACKEND, frontend: Node = FRONTEND) -> Link:
        """From f1 to b1."""
        return await self.links(frontend).to(self.port(backend))

    async def pair(self, preface: Preface, link: Link | None = None) -> tuple[LinkStream, LinkStream]:
        """(f1's end, b1's end) of a stream."""
        before = len(self.opened)
        near = await (link or await self.link()).open(preface)
        await until(lambda: len(self.opened) > before)
        return near, self.opened[-1][2]

    # --- time

    async def beat(self, seconds: int = 1) -> None:
        """Let time pass, second by second, and everybody do what they then do."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.wheel.tick()
            await turns()

    async def close(self) -> None:
        for links in self.dialled:
            await links.close()
        for port in self.ports:
            await port.close()
        await until(lambda: not sum(map(len, [*self.dialled, *self.ports])))


class Raw:
    """A node f1 that does what no node does: it says and reads only what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def dial(cls, nodes: Nodes, address: Peer, *, hello: bool = True) -> "Raw":
        tls = context(nodes.authority, "f1", Role.FRONTEND, server=False)
        raw = cls(*await asyncio.open_connection(*address, ssl=tls, server_hostname=""))
        if hello:
            raw.say(frame(Kind.HELLO, 0, encode(FRONTEND.hello())))
        return raw

    def say(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def open(self, nodes: Nodes, number: int = 1) -> LinkStream:
        """b1's end of a stream that was opened by that number."""
        before = len(nodes.opened)
        self.say(frame(Kind.OPEN, number, encode(Preface("imap"))))
        await until(lambda: len(nodes.opened) > before)
        return nodes.opened[-1][2]

    async def rest(self) -> bytes:
        """All that b1 says until it ends the connection, which it must."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def close(self) -> None:
        self.writer.transport.abort()


async def turns(count: int = 20) -> None:
    """A few turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def refused(links: Links, address: Peer) -> RookeryError:
    """Why there is no link."""
    try:
        await links.to(address)
    except RookeryError as error:
        return error
    raise AssertionError("there is a link")
