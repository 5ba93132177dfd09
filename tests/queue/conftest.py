"""A queue on a manual clock, with other people's servers that do as they are told, on streams in memory."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from rookery.base.clock import ManualClock
from rookery.distribution.delivery.hosts import Hosts, HostSettings, Smarthost
from rookery.distribution.delivery.local import LocalDelivery, LocalSettings
from rookery.distribution.delivery.remote import RemoteDelivery, RemoteSettings
from rookery.distribution.directory.values import NotLocal, Resolution, Resolved, Target, Unknown
from rookery.distribution.queue.control import QueueControl
from rookery.distribution.queue.notices import NoticeSettings
from rookery.distribution.queue.queue import Queue, QueueSettings
from rookery.distribution.queue.schedule import Schedule
from rookery.distribution.spool.opening import open_spool
from rookery.distribution.spool.spool import Spool
from rookery.distribution.spool.values import Incoming, Recipient
from rookery.net.memory import MemoryStream, memory_pipe
from rookery.net.resolver import LookupTrouble, MailHost, Trouble
from rookery.net.stream import Peer, Stream
from rookery.storage.gate import Gate

T = TypeVar("T")

BODY = b"Received: from there\r\nSubject: hello\r\nMessage-ID: <one@remote.test>\r\n\r\n.Hello.\r\n"


@dataclass
class Taken:
    sender: str
    recipients: tuple[str, ...]
    body: bytes
    mail_line: str
    deliveries: tuple[str, ...] = ()


@dataclass
class Server:
    """An SMTP or LMTP server. `answers`: reply lines by recipient (at RCPT), by "*address" (at the end, LMTP), or by
    command ("greeting", "EHLO", "MAIL", "DATA", "END"). `vanish`: end the connection at that command instead.
    """

    name: str = "mx.test"
    lmtp: bool = False
    offers: tuple[str, ...] = ("PIPELINING", "SIZE 1000000", "8BITMIME")
    answers: dict[str, str] = field(default_factory=dict)
    vanish: str = ""
    taken: list[Taken] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    tls: ssl.SSLContext | None = None
    encrypted: int = 0

    async def serve(self, stream: Stream) -> None:
        self.connections += 1
        await _Conversation(self, stream).run()
        stream.close()


class _Gone(Exception):
    pass


class _Conversation:
    def __init__(self, server: Server, stream: Stream) -> None:
        self.server = server
        self.stream = stream
        self.data = b""
        self.sender = self.mail_line = ""
        self.recipients: list[str] = []
        self.deliveries: list[str] = []

    def say(self, key: str, default: str) -> str:
        if self.server.vanish == key:
            raise _Gone
        answer = self.server.answers.get(key, default)
        self.stream.write(answer.encode() + b"\r\n")
        return answer

    async def until(self, mark: bytes) -> bytes:
        while mark not in self.data:
            await self.more()
        found, self.data = self.data.split(mark, 1)
        return found

    async def more(self) -> None:
        received = await self.stream.read()
        if not received:
            raise _Gone
        self.data += received

    async def run(self) -> None:
        try:
            self.say("greeting", f"220 {self.server.name} ready")
            while True:
                await self.command((await self.until(b"\r\n")).decode())
        except _Gone:
            return

    async def command(self, line: str) -> None:
        self.server.commands.append(line)
        verb = line.split(" ")[0].split(":")[0].upper()
        if verb in ("EHLO", "LHLO", "HELO"):
            lines = [self.server.name, *self.server.offers]
            full = (
                "\r\n".join(f"250-{text}" for text in lines[:-1]) + ("\r\n" if lines[:-1] else "") + f"250 {lines[-1]}"
            )
            self.say("EHLO", full)
        elif verb == "MAIL":
            self.mail_line, self.sender = line, line[line.index("<") + 1 : line.index(">")]
            self.recipients, self.deliveries = [], []
            self.say("MAIL", "250 2.1.0 ok")
        elif verb == "RCPT":
            address = line[line.index("<") + 1 : line.index(">")]
            if self.say(address, "250 2.1.5 ok").startswith("250"):
                self.recipients.append(address)
                self.deliveries.append(line.partition("XDELIVERY=")[2])
        elif verb == "DATA":
            if self.say("DATA", "354 go on").startswith("354"):
                self.data = b"\r\n" + self.data  # the dot may be all there is
                body = (await self.until(b"\r\n.\r\n") + b"\r\n")[2:]
                self.end(b"\r\n".join(part.removeprefix(b".") for part in body.split(b"\r\n")))
        elif verb == "BDAT":
            size = int(line.split(" ")[1])
            while len(self.data) < size:
                await self.more()
            body, self.data = self.data[:size], self.data[size:]
            self.end(body)
        elif verb == "STARTTLS":
            if self.say("STARTTLS", "220 go on").startswith("220"):
                if self.server.tls is None:
                    await self.more()
                    self.stream.write(b"500 what was that?\r\n")
                    raise _Gone
                await self.stream.start_tls(self.server.tls, server_side=True)
                self.server.encrypted += 1
        elif verb == "QUIT":
            self.say("QUIT", "221 bye")
            raise _Gone
        else:
            self.say(verb, "250 ok")

    def end(self, body: bytes) -> None:
        server = self.server
        if not self.recipients:
            self.say("END", "503 5.5.1 nobody")
            return
        if server.lmtp:
            answers = [self.say(f"*{address}", "250 2.0.0 stored") for address in self.recipients]
        else:
            answers = [self.say("END", "250 2.0.0 taken")] * len(self.recipients)
        good = [i for i, answer in enumerate(answers) if answer.startswith("250")]
        if good:
            server.taken.append(
                Taken(
                    self.sender,
                    tuple(self.recipients[i] for i in good),
                    body,
                    self.mail_line,
                    tuple(self.deliveries[i] for i in good),
                )
            )


class World:
    """Names, addresses and servers, and the mail that goes between them."""

    def __init__(self, clock: ManualClock, spool: Spool) -> None:
        self.near = asyncio.Event()  # cleared: to ask the directory takes until it is set
        self.near.set()
        self.clock = clock
        self.spool = spool
        self.local = Server(
            "node.test", lmtp=True, offers=("PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "XDELIVERY")
        )
        self.mx: dict[str, list[MailHost]] = {}
        self.addresses_of: dict[str, list[str]] = {}
        self.servers: dict[tuple[str, int], Server] = {}
        self.accounts = {"bob@example.test", "eve@example.test"}
        self.aliases: dict[str, tuple[str, ...]] = {}
        self.forgotten: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, domain: str, server: Server | None = None, address: str = "192.0.2.1", port: int = 25) -> Server:
        server = server or Server(f"mx.{domain}")
        self.mx.setdefault(domain, []).append(MailHost(10 * len(self.mx.get(domain, [])), f"{address}.host"))
        self.addresses_of[f"{address}.host"] = [address]
        self.servers[address, port] = server
        return server

    # the resolver

    async def mail_hosts(self, domain: str) -> Sequence[MailHost]:
        if domain == "slow.test":
            raise LookupTrouble(Trouble.TEMPORARY, "DNS was too slow")
        if domain in self.mx:
            return self.mx[domain]
        raise LookupTrouble(
            Trouble.NO_DATA if domain in self.addresses_of else Trouble.NO_DOMAIN, f"there is no domain {domain}"
        )

    async def addresses(self, host: str) -> Sequence[str]:
        if ":" in host or host.replace(".", "").isdigit():
            return [host]
        if host in self.addresses_of:
            return self.addresses_of[host]
        raise LookupTrouble(Trouble.NO_DOMAIN, f"there is no domain {host}")

    # the dialler

    async def dial(self, address: str, port: int, timeout: float) -> Stream:
        self.dialled.append((address, port))
        server = self.servers.get((address, port))
        if server is None:
            raise ConnectionRefusedError(111, "Connection refused")
        return self._serve(server, Peer(address, port))

    async def dial_lmtp(self) -> Stream:
        return self._serve(self.local, Peer(""))

    def _serve(self, server: Server, there: Peer) -> MemoryStream:
        near, far = memory_pipe(server=there, client=Peer("198.51.100.1", 40000))
        task = asyncio.get_running_loop().create_task(server.serve(far))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return near

    # the directory

    def resolve(self, address: str) -> Resolution:
        if address in self.aliases:
            members = self.aliases[address]
            ours = tuple(Target(b"a" * 16, member) for member in members if member in self.accounts)  # type: ignore[arg-type]
            return Resolved(ours, tuple(m for m in members if m not in self.accounts), address)
        domain = address.rpartition("@")[2]
        if domain != "example.test":
            return NotLocal(domain)
        local, _, _ = address.partition("@")
        if f"{local.partition('+')[0]}@{domain}" in self.accounts:
            return Resolved((Target(b"a" * 16, address),))  # type: ignore[arg-type]
        return Unknown("no such address")

    def ask(self, look: Callable[["World"], T]) -> T | Awaitable[T]:
        return look(self) if self.near.is_set() else self._ask_there(look, self.near)

    async def _ask_there(self, look: Callable[["World"], T], near: asyncio.Event) -> T:
        await near.wait()
        return look(self)

    async def forget(self, below: str) -> None:
        self.forgotten.append(below)


class Site:
    """The queue under test and what it lives in."""

    def __init__(self, world: World, queue: Queue) -> None:
        self.world = world
        self.queue = queue
        self.control = QueueControl(queue)
        self.spool = queue.spool

    async def send(self, *recipients: str, sender: str = "ann@remote.test", body: bytes = BODY, **facts: object) -> str:
        staging = self.spool.stage()
        staging.write(body)
        given = tuple(Recipient(address) for address in recipients)
        return await self.spool.accept(Incoming(sender, given, staging.finish(), **facts))  # type: ignore[arg-type]

    async def rest(self) -> None:
        """Until nothing is under way any more."""
        for _ in range(3):
            while self.queue._in_flight:  # noqa: ASYNC110  turns of the loop, not time
                await asyncio.sleep(0)
            await self.spool.writer.exclusive(lambda tx: None)

    async def later(self, seconds: float) -> None:
        """Let time pass, then do what is due by then."""
        self.world.clock.advance(seconds)
        await self.queue.pass_once()
        await self.rest()

    async def states(self, message: str) -> dict[str, str]:
        report = await self.control.show(message)
        return {recipient.address: recipient.state for recipient in report.recipients}


MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def make_site(tmp_path: Path, clock: ManualClock) -> AsyncIterator[MakeSite]:
    made: list[Site] = []

    async def make(
        *,
        schedule: Schedule | None = None,
        in_flight: int = 1000,
        hosts: dict[str, object] | None = None,
        remote: RemoteSettings | None = None,
        smarthost: Smarthost | None = None,
    ) -> Site:
        spool = await open_spool(tmp_path / "spool", clock=clock, gate=Gate())
        world = World(clock, spool)
        dice = random.Random(1)
        host_settings = HostSettings("node.test", frozenset({"node.test"}), smarthost=smarthost, **(hosts or {}))  # type: ignore[arg-type]
        queue = Queue(
            spool,
            LocalDelivery(world.dial_lmtp, LocalSettings("node.test", streams=4)),
            RemoteDelivery(Hosts(host_settings, world, world.dial, dice), clock, dice, remote or RemoteSettings()),
            world,
            clock=clock,
            dice=dice,
            settings=QueueSettings(
                NoticeSettings("node.test", "eve@example.test"), schedule or Schedule(), in_flight=in_flight, grace=0.1
            ),
            forget=world.forget,
        )
        spool.attach(queue)
        site = Site(world, queue)
        made.append(site)
        return site

    yield make
    for site in made:
        await site.queue.stop()
        await site.spool.close()


@pytest.fixture
async def site(make_site: MakeSite) -> Site:
    return await make_site()
