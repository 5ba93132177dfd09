"""A store and a directory with accounts, IMAP sessions over memory, and dialogues written as they look on the wire."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rookery.access.imap import ImapSettings, serve_imap, services
from rookery.access.imap.session import Services
from rookery.base.clock import ManualClock
from rookery.base.ids import AccountId, system_random
from rookery.distribution.auth.authenticator import Authenticator, AuthSettings
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.opening import open_directory
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.directory.values import Plain
from rookery.net.memory import MemoryStream, memory_pipe
from rookery.net.stream import Peer
from rookery.net.wheel import Wheel
from rookery.storage.gate import Gate
from rookery.storage.open_account import OpenAccount
from rookery.storage.store import Store, StoreSettings
from rookery.storage.values import Appended
from tests.storage.hosts import Host

DOMAIN = "d.test"
PASSWORD = "hunter2 hunter3"
OUTSIDE = Peer("192.0.2.7", 40_000)
HERE = Peer("127.0.0.1", 40_000)
PLAIN = b"From: a@d.test\r\nTo: b@d.test\r\nSubject: %b\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\nBody of %b.\r\n"


def message(subject: str = "hello") -> bytes:
    name = subject.encode()
    return PLAIN % (name, name)


class World:
    """Everything of one node that IMAP needs, and the connections of a test."""

    def __init__(self, store: Store, directory: Directory, shared: Services, clock: ManualClock) -> None:
        self.store = store
        self.directory = directory
        self.services = shared
        self.clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    async def add_account(self, name: str) -> AccountId:
        admin = Administration(self.directory)
        record = await admin.add_account(f"{name}@{DOMAIN}", Plain(PASSWORD))
        await self.store.create_account(record.account)
        return record.account

    def account_id(self, name: str) -> AccountId:
        record = self.directory.account(f"{name}@{DOMAIN}")
        assert record is not None
        return record.account

    async def open(self, name: str) -> OpenAccount:
        return await self.store.open_account(self.account_id(name))

    async def append(self, name: str, data: bytes, mailbox: str = "INBOX", flags: int = 0) -> Appended:
        """As a delivery would."""
        account = await self.open(name)
        try:
            box = account.mailbox(mailbox)
            assert box is not None
            staging = self.store.stage()
            staging.write(data)
            staged = staging.finish()
            try:
                return await account.append(box.number, staged, flags)
            finally:
                staged.release()
        finally:
            account.release()

    def connect(self, peer: Peer = HERE, wheel: Wheel | None = None) -> "Client":
        near, far = memory_pipe(wheel=wheel, client=peer, server=Peer("127.0.0.1", 143))
        task = asyncio.create_task(serve_imap(far, self.services))
        self._tasks.append(task)
        return Client(near, task)

    async def login(self, name: str = "alice") -> "Client":
        client = self.connect()
        await client.line()
        await client.ok(f'LOGIN {name}@{DOMAIN} "{PASSWORD}"')
        return client

    async def selected(self, name: str = "alice", mailbox: str = "INBOX", *, rev2: bool = False) -> "Client":
        client = await self.login(name)
        if rev2:
            await client.ok("ENABLE IMAP4rev2")
        await client.ok(f"SELECT {mailbox}")
        return client

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


class Client:
    """One connection, talked to in lines."""

    def __init__(self, stream: MemoryStream, task: "asyncio.Task[None]") -> None:
        self.stream = stream
        self.task = task
        self._data = b""
        self._count = 0

    def send(self, data: bytes) -> None:
        self.stream.write(data)

    async def _more(self) -> None:
        data = await asyncio.wait_for(self.stream.read(), 20)
        if not data:
            raise EOFError(f"the server has hung up, after {self._data!r}")
        self._data += data

    async def line(self) -> bytes:
        """One line without its end."""
        while b"\r\n" not in self._data:
            await self._more()
        line, _, self._data = self._data.partition(b"\r\n")
        return line

    async def exactly(self, count: int) -> bytes:
        while len(self._data) < count:
            await self._more()
        found, self._data = self._data[:count], self._data[count:]
        return found

    async def response(self) -> bytes:
        """One response with its literals, without the last line end."""
        text = b""
        while True:
            line = await self.line()
            literal = re.search(rb"\{([0-9]+)\}$", line)
            if literal is None:
                return text + line
            text += line + b"\r\n" + await self.exactly(int(literal[1]))

    async def command(self, text: str | bytes) -> list[bytes]:
        """Responses through the tagged one, which is last and has no tag."""
        self._count += 1
        tag = b"T%d" % self._count
        self.send(b"%b %b\r\n" % (tag, text.encode() if isinstance(text, str) else text))
        return await self.until(tag)

    async def until(self, tag: bytes) -> list[bytes]:
        found = []
        while True:
            response = await self.response()
            if response.startswith(tag + b" "):
                return [*found, response[len(tag) + 1 :]]
            found.append(response)

    async def ok(self, text: str | bytes) -> list[bytes]:
        """The untagged responses of a command that must succeed."""
        *untagged, tagged = await self.command(text)
        assert tagged.startswith(b"OK"), tagged
        return untagged

    async def append(self, mailbox: str, data: bytes, arguments: str = "") -> bytes:
        return (await self.append_responses(mailbox, data, arguments))[-1]

    async def append_responses(self, mailbox: str, data: bytes, arguments: str = "") -> list[bytes]:
        self._count += 1
        tag = b"T%d" % self._count
        self.send(b"%b APPEND %b %b{%d+}\r\n%b\r\n" % (tag, mailbox.encode(), arguments.encode(), len(data), data))
        return await self.until(tag)

    async def dialogue(self, script: str) -> None:
        """Lines `C: ...` are sent, lines `S: ...` must come, exactly and in this order; `<...>` stands for anything.

        Nothing else may have come at the end.
        """
        for number, text in enumerate(script.strip().splitlines(), 1):
            side, _, words = text.strip().partition(": ")
            if side == "C":
                self.send(words.encode() + b"\r\n")
                continue
            assert side == "S", text
            got = (await self.line()).decode("utf-8", "replace")
            pattern = ".*".join(map(re.escape, re.split("<[^<>]*>", words)))
            assert re.fullmatch(pattern, got), f"line {number}: expected {words!r}, got {got!r}"
        assert not self._data, self._data

    async def hang_up(self) -> None:
        self.stream.close()
        await asyncio.wait_for(self.task, 20)


async def append_three(world: World) -> None:
    for name in ("one", "two", "three"):
        await world.append("alice", message(name))


SMALL_STORE = StoreSettings(ballast=0)


@asynccontextmanager
async def make_world(
    folder: Path,
    *accounts: str,
    imap: ImapSettings | None = None,
    tls: ssl.SSLContext | None = None,
    clock: ManualClock | None = None,
    host: Host | None = None,
) -> AsyncIterator[World]:
    """`host`: a backend of a shared store, in place of a store in `folder`."""
    clock = clock or ManualClock()
    gate = Gate()
    hasher = Hasher()
    directory = open_directory(
        folder / "directory.db",
        clock=clock,
        gate=gate,
        hasher=hasher,
        settings=DirectorySettings(scram=True, scram_iterations=64),
    )
    open_store = Store.open if host is None else host.open
    store = await open_store(folder / "store", clock=clock, random=system_random, gate=gate, settings=SMALL_STORE)
    authenticator = Authenticator(directory, hasher, clock=clock, settings=AuthSettings(scram=True), sleep=_no_sleep)
    shared = services(store=store, authenticator=authenticator, settings=imap or ImapSettings(), clock=clock, tls=tls)
    world = World(store, directory, shared, clock)
    if directory.domain(DOMAIN) is None:
        await Administration(directory).add_domain(DOMAIN)
        for name in accounts:
            await world.add_account(name)
    try:
        yield world
    finally:
        await world.close()
        await authenticator.settle()
        await store.close()
        await directory.close()
        hasher.close()


async def _no_sleep(seconds: float) -> None:
    """Delays of failed logins are counted, not waited for."""
