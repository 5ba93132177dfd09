"""Mail programs by the hundred, an account each, that go where they are sent at once, and say how long that took.

crowd = Crowd(cluster, "b1", writing=20, asking=100)
await crowd.log_in()
async with crowd.at_work():
    ...
await crowd.complaints()

Most wait in IDLE. `writing` of them append one message after another. `asking` do not come back when their sessions
end: a delivery asks for the account instead, which needs no password to be checked. Senders put mail into the queue.
"""

import asyncio
import contextlib
import itertools
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable

from tests.journeys.cluster import BACKENDS, Cluster
from tests.journeys.imap import LITERAL, Refused

PATIENCE = 60.0  # seconds for an answer
AGAIN = 0.02  # seconds between two attempts to log in
THINKING = 0.25  # seconds between two messages of one who writes, or sends: with their number, the load
SENDERS = 4

_HOSTED = re.compile(rb"hosted by backend (\w+)")
_MARK = re.compile(rb"Subject: (mark-\d+)\r\n")


class Line:
    """A connection of any of the protocols; EOFError when the other side ends it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.heard = 0.0  # when the last line came

    @classmethod
    async def to(cls, host: str, port: int) -> "Line":
        made = cls(*await asyncio.open_connection(host, port))
        await made.read()
        return made

    async def read(self) -> bytes:
        """A line; with the literals in it and what follows them."""
        whole = b""
        while True:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            self.heard = time.monotonic()
            whole += line
            found = LITERAL.search(line)
            if not found:
                return whole
            whole += await self._reader.readexactly(int(found[1]))

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def ask(self, command: bytes) -> list[bytes]:
        """An IMAP command; all lines, the tagged one is the last. Raises Refused."""
        self.write(b"t " + command + b"\r\n")
        lines = []
        async with asyncio.timeout(PATIENCE):
            while not (line := await self.read()).startswith(b"t "):
                lines.append(line)
        if not line.startswith(b"t OK"):
            raise Refused(line)
        return [*lines, line]

    async def tell(self, *commands: bytes) -> None:
        """SMTP or LMTP, each answered before the next. Raises Refused."""
        for command in commands:
            self.write(command + b"\r\n")
            async with asyncio.timeout(PATIENCE):
                while (answer := await self.read())[3:4] == b"-":
                    pass
            if answer[:1] not in b"23":
                raise Refused(answer)

    def close(self) -> None:
        self._writer.close()


class Program:
    """`pauses`: seconds from the last word of one host, or from the command that it did not answer, to the SELECT that
    another answered. `referrals`: how often it was sent elsewhere.
    """

    def __init__(self, crowd: "Crowd", account: str) -> None:
        self.account = account
        self.pauses: list[float] = []
        self.referrals = 0
        self.moved = asyncio.Event()
        self._crowd = crowd
        self._line: Line | None = None
        self._asked = 0.0  # for what was not answered yet; 0: nothing

    @property
    def line(self) -> Line:
        assert self._line is not None
        return self._line

    async def log_in(self) -> None:
        """Where it was, or where it is sent from there."""
        cluster = self._crowd.cluster
        name = self._crowd.backend
        while True:
            line = None
            try:
                line = await Line.to(BACKENDS[name], cluster.ports["imap"])
                await line.ask(f'LOGIN {self.account} "{cluster.passwords[self.account]}"'.encode())
                await line.ask(b"SELECT INBOX")
            except (Refused, OSError, EOFError) as error:
                if line is not None:
                    line.close()
                name = cluster.referred(error) if isinstance(error, Refused) else ""
                if name:
                    self.referrals += 1
                else:
                    name = self._crowd.backend
                    await asyncio.sleep(AGAIN)
            else:
                self._line = line
                return

    async def idle(self) -> None:
        """Until cancelled, like the others of these three."""
        while True:
            await self._wait_for_end()
            await self._moved(self.log_in())

    async def write(self) -> None:
        while True:
            try:
                while True:
                    await self._append()
                    await asyncio.sleep(THINKING)
            except (EOFError, OSError, Refused):
                await self._moved(self.log_in())

    async def ask(self) -> None:
        await self._wait_for_end()
        await self._moved(self._crowd.ask_for(self.account))
        await asyncio.Event().wait()

    async def _wait_for_end(self) -> None:
        self.line.write(b"t IDLE\r\n")
        with contextlib.suppress(EOFError, OSError):
            while True:
                await self.line.read()

    async def _append(self) -> None:
        mark = self._crowd.mark()
        text = b"Subject: %b\r\n\r\nx\r\n" % mark
        self._asked = time.monotonic()
        await self.line.ask(b"APPEND INBOX {%d+}\r\n%b" % (len(text), text))
        self._asked = 0.0
        self._crowd.acknowledged[mark] = self.account

    async def _moved(self, again: Awaitable[None]) -> None:
        began = self._asked or self.line.heard
        self.line.close()
        await again
        self.pauses.append(time.monotonic() - began)
        self.moved.set()

    async def marks(self) -> Counter[bytes]:
        """Of the messages of its INBOX."""
        self.line.close()
        await self.log_in()
        lines = await self.line.ask(b"UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        self.line.close()
        return Counter(found[1] for line in lines if (found := _MARK.search(line)))


class Crowd:
    """One for each account of the cluster, at `backend` as long as that has them."""

    def __init__(self, cluster: Cluster, backend: str, *, writing: int, asking: int) -> None:
        self.cluster = cluster
        self.backend = backend
        self.everybody = [Program(self, account) for account in cluster.passwords]
        self.writing, self.asking = self.everybody[:writing], self.everybody[writing : writing + asking]
        self.idle = self.everybody[writing + asking :]
        self.acknowledged: dict[bytes, str] = {}
        self._numbers = itertools.count(1)
        self._others = [name for name in BACKENDS if name != backend]

    def mark(self) -> bytes:
        return b"mark-%d" % next(self._numbers)

    async def log_in(self, at_once: int = 8) -> None:
        """All of them, with INBOX selected."""
        turn = asyncio.Semaphore(at_once)

        async def one(program: Program) -> None:
            async with turn:
                await program.log_in()

        await asyncio.gather(*map(one, self.everybody))

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Raises what went wrong for any of them."""
        lives = [
            *(program.write() for program in self.writing), *(program.ask() for program in self.asking),
            *(program.idle() for program in self.idle), *map(self._send, range(SENDERS)),
        ]  # fmt: skip
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(life) for life in lives]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def _send(self, number: int) -> None:
        """By SMTP to one backend after the other."""
        lines = {}
        for name in BACKENDS:
            lines[name] = await Line.to(BACKENDS[name], self.cluster.ports["smtp"])
            await lines[name].tell(b"EHLO client.test")
        for turn, name in zip(itertools.count(number), itertools.cycle(BACKENDS), strict=False):
            account, mark = self.everybody[turn * 31 % len(self.everybody)].account, self.mark()
            text = b"Subject: %b\r\n\r\nx\r\n." % mark
            to = b"RCPT TO:<%b>" % account.encode()
            try:
                await lines[name].tell(b"MAIL FROM:<sender@elsewhere.test>", to, b"DATA", text)
                self.acknowledged[mark] = account
            except Refused:
                await lines[name].tell(b"RSET")
            await asyncio.sleep(THINKING)

    async def ask_for(self, account: str) -> None:
        """By LMTP, until RCPT is answered with yes: the account is open there."""
        name = self._others[0]
        while True:
            line = await Line.to(BACKENDS[name], self.cluster.ports["lmtp"])
            try:
                await line.tell(b"LHLO client.test", b"MAIL FROM:<>", b"RCPT TO:<%b>" % account.encode())
            except Refused as refused:
                found = _HOSTED.search(refused.answer)
                if found and (there := found[1].decode()) in self._others:
                    name = there
                else:
                    await asyncio.sleep(AGAIN)
            else:
                return
            finally:
                line.close()

    async def all_moved(self, patience: float) -> None:
        async with asyncio.timeout(patience):
            await asyncio.gather(*(program.moved.wait() for program in self.everybody))

    async def complaints(self) -> list[str]:
        """What was acknowledged and is not there just once. The queue must be empty."""
        found = {program.account: await program.marks() for program in self.everybody}
        return [
            f"{mark.decode()} is {found[account][mark]} times in the INBOX of {account}"
            for mark, account in self.acknowledged.items()
            if found[account][mark] != 1
        ]
