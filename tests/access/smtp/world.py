"""Store, spool and directory of one node, and SMTP, submission and LMTP sessions over memory."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from rookery.access.conversation import SmtpSettings
from rookery.access.fullness import Fullness
from rookery.access.lmtp import Hosts, serve_lmtp
from rookery.access.smtp import serve_mx
from rookery.access.submission import serve_submission
from rookery.base.clock import ManualClock
from rookery.base.ids import AccountId, system_random
from rookery.base.numberset import NumberSet
from rookery.distribution.auth.authenticator import Authenticator, AuthSettings
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.opening import open_directory
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.directory.values import Plain
from rookery.distribution.placement.static import EVERYTHING_HERE
from rookery.distribution.spool.opening import open_spool
from rookery.distribution.spool.spool import Spool
from rookery.distribution.spool.values import Claimed
from rookery.net.memory import MemoryStream, memory_pipe
from rookery.net.stream import Peer, Stream
from rookery.net.wheel import Wheel
from rookery.storage.gate import Gate
from rookery.storage.store import Store, StoreSettings
from rookery.storage.values import INBOX

DOMAIN = "d.test"
PASSWORD = "hunter2 hunter3"
OUTSIDE = Peer("192.0.2.7", 40_000)
HERE = Peer("127.0.0.1", 40_000)
MESSAGE = b"From: a@x.test\r\nSubject: hello\r\n\r\nBody.\r\n"


class Client:
    """The other end of one session. `say` sends and gives the codes of the next replies, as many as asked for."""

    def __init__(self, stream: MemoryStream, server: MemoryStream, task: "asyncio.Task[None]") -> None:
        self.stream = stream
        self.server = server  # the session's end
        self.task = task
        self.text = ""  # everything that was answered
        self._read = 0

    async def replies(self, count: int) -> list[str]:
        """The last lines of the next `count` replies; fewer when the connection ends."""
        async with asyncio.timeout(30):
            while len(found := re.findall(r"^\d{3} .*$", self.text[self._read :], re.MULTILINE)) < count:
                data = await self.stream.read()
                if not data:
                    break
                self.text += data.decode().replace("\r\n", "\n")
        found = found[:count]
        for line in found:
            self._read = self.text.index(line, self._read) + len(line)
        return found

    async def say(self, text: str | bytes, count: int = 1) -> list[int]:
        self.stream.write(text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode())
        return [int(line[:3]) for line in await self.replies(count)]

    async def send(
        self, *recipients: str, sender: str = "a@x.test", message: bytes = MESSAGE, answers: int = 1
    ) -> list[str]:
        """The replies to a whole message to recipients that are all accepted."""
        assert await self.say(f"MAIL FROM:<{sender}>\n") == [250]
        for recipient in recipients:
            assert await self.say(f"RCPT TO:{recipient}\n") == [250]
        assert await self.say("DATA\n") == [354]
        self.stream.write(message + b".\r\n")
        return await self.replies(answers)

    async def ended(self) -> str:
        """Everything that was answered, when the session is over."""
        async with asyncio.timeout(30):
            await self.task
            while data := await self.stream.read():
                self.text += data.decode().replace("\r\n", "\n")
        return self.text


class Taken:
    """In the queue's place: takes everything, delivers nothing."""

    def __init__(self) -> None:
        self.messages: list[Claimed] = []

    def room(self, recipients: int) -> bool:
        return True

    def take(self, claimed: Claimed) -> None:
        self.messages.append(claimed)

    def wake(self) -> None:
        return


class World:
    def __init__(self, store: Store, spool: Spool, directory: Directory, hasher: Hasher, clock: ManualClock) -> None:
        self.store = store
        self.spool = spool
        self.directory = directory
        self.admin = Administration(directory)
        self.clock = clock
        self.wheel = Wheel(clock.monotonic)
        self.taken = Taken()
        spool.attach(self.taken)
        self.settings = SmtpSettings(hostname="mx.test", message_size=100_000)
        self.authenticator = Authenticator(directory, hasher, clock=clock, settings=AuthSettings(), sleep=_no_sleep)
        self._clients: list[Client] = []

    async def add_account(self, name: str, *, size_limit: int = 0) -> None:
        record = await self.admin.add_account(f"{name}@{DOMAIN}", Plain(PASSWORD), size_limit=size_limit)
        await self.store.create_account(record.account, limits=(size_limit, 0))

    async def _connect(self, serve: Callable[[Stream], Awaitable[None]], peer: Peer) -> Client:
        near, far = memory_pipe(wheel=self.wheel, client=peer)

        async def run() -> None:
            try:
                await serve(far)
            finally:
                far.close()

        client = Client(near, far, asyncio.ensure_future(run()))
        self._clients.append(client)
        await client.replies(1)
        return client

    async def mx(self, peer: Peer = OUTSIDE, hello: str = "EHLO client.test\n", giver: str = "") -> Client:
        client = await self._connect(
            lambda stream: serve_mx(
                stream,
                spool=self.spool,
                directory=self.directory,
                settings=self.settings,
                clock=self.clock,
                full=Fullness(self.directory, self.store),
                giver=giver,
            ),
            peer,
        )
        await client.say(hello)
        return client

    async def submission(self, peer: Peer = HERE, login: str = "") -> Client:
        client = await self._connect(
            lambda stream: serve_submission(
                stream, spool=self.spool, directory=self.directory, authenticator=self.authenticator,
                settings=self.settings, clock=self.clock,
            ),
            peer,
        )  # fmt: skip
        await client.say("EHLO client.test\n")
        if login:
            assert await client.say(b"AUTH PLAIN " + plain(login) + b"\r\n") == [235]
        return client

    def account_id(self, name: str) -> AccountId:
        record = self.directory.account(f"{name}@{DOMAIN}")
        assert record is not None
        return record.account

    async def lmtp(
        self,
        *,
        trusted: bool = False,
        allowed: bool = True,
        peer: Peer = HERE,
        hosts: Hosts = EVERYTHING_HERE,
        giver: str = "",
    ) -> Client:
        client = await self._connect(
            lambda stream: serve_lmtp(
                stream, store=self.store, directory=self.directory, settings=self.settings, clock=self.clock,
                trusted=trusted, allowed=allowed, hosts=hosts, giver=giver,
            ),
            peer,
        )  # fmt: skip
        if allowed:
            await client.say("LHLO client.test\n")
        return client

    async def inbox(self, name: str) -> list[bytes]:
        """Everything in somebody's INBOX."""
        record = self.directory.account(f"{name}@{DOMAIN}")
        assert record is not None
        account = await self.store.open_account(record.account)
        try:
            everything = NumberSet([(1, (1 << 32) - 1)])
            return [account.body(presence) for presence in account.presences(INBOX, everything)]
        finally:
            account.release()

    def spooled(self) -> list[bytes]:
        """Everything that was accepted."""
        return [self.spool.body(claimed.envelope) for claimed in self.taken.messages]

    async def close(self) -> None:
        for client in self._clients:
            client.stream.close()
        if self._clients:
            await asyncio.wait([client.task for client in self._clients], timeout=30)


async def _no_sleep(seconds: float) -> None:
    return


def plain(login: str, password: str = PASSWORD) -> bytes:
    return base64.b64encode(f"\0{login}\0{password}".encode())


SMALL_STORE = StoreSettings(ballast=0)


@asynccontextmanager
async def make_world(folder: Path) -> AsyncIterator[World]:
    clock, gate, hasher = ManualClock(), Gate(), Hasher()
    store = await Store.open(folder / "store", clock=clock, random=system_random, gate=gate, settings=SMALL_STORE)
    spool = await open_spool(folder / "spool", clock=clock, gate=gate)
    directory = open_directory(
        folder / "directory.db", clock=clock, gate=gate, hasher=hasher,
        settings=DirectorySettings(default_domain=DOMAIN, scram=True, scram_iterations=64),
    )  # fmt: skip
    world = World(store, spool, directory, hasher, clock)
    await world.admin.add_domain(DOMAIN)
    for name in ("alice", "bob"):
        await world.add_account(name)
    try:
        yield world
    finally:
        await world.close()
        await directory.close()
        await spool.close()
        await store.close()
        hasher.close()
