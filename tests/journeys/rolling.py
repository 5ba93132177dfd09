"""Clients and senders at work through the frontends of a cluster while its nodes are restarted one by one, and what
they were told.

load = Load(cluster)
async with load.at_work():
    await load.during("restart of b1", restart)
await load.judge()

Whoever is cut off comes back at once, at another frontend, as clients do whose server has several addresses. One of the
accounts is the sender of all mail, so that a bounce comes there.
"""

import asyncio
import base64
import contextlib
import itertools
import re
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from tests.journeys.cluster import Cluster
from tests.journeys.crowd import Line
from tests.journeys.imap import Refused
from tests.journeys.waiting import wait_until

PATIENCE = 20.0  # seconds for an answer
AGAIN = 0.02  # seconds between two attempts
THINKING = 0.1  # seconds between two commands
SETTLED = 1.0  # seconds of work after each restart
LONGEST = 3.0  # seconds without a login, or a delivery: 1 s is promised, and a busy machine stops anybody for a second
ROUNDS = 5  # of work between two logins
LOST = (EOFError, OSError)

_TEMPORARY = re.compile(rb"t NO \[UNAVAILABLE\]|4\d\d ")
_SUBJECT = re.compile(rb"Subject: ([^\r\n]*)\r\n")

T = TypeVar("T")


class Load:
    """`wrong`: what nobody should be told. `refusals`: "come again", with what was asked. `slowest`: seconds from a
    first attempt to the one that succeeded, by what happened meanwhile and what was asked. `unanswered`: messages that
    were stored, though nobody said so.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.wrong: list[str] = []
        self.refusals: Counter[str] = Counter()
        self.slowest: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.done: Counter[str] = Counter()
        self.acknowledged: dict[str, str] = {}  # mark -> account
        self.doubtful: dict[str, str] = {}  # nobody has said what became of these
        self.unanswered = 0
        self._cut_off: set[str] = set()  # of those in doubt, when all work was ended
        self._phase = "quiet"
        self._numbers = itertools.count(1)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Raises what went wrong for any of them."""
        accounts = list(self.cluster.passwords)
        lives = [self._read_and_write(*one) for one in enumerate(accounts)]
        lives += [self._idle(*one) for one in enumerate(accounts)]
        for number, protocol in enumerate(("smtp", "lmtp", "submission", "smtp", "lmtp")):
            lives.append(Sender(self, number, protocol, accounts[0]).run())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(life) for life in lives]
            try:
                yield
            finally:
                self._cut_off = set(self.doubtful)
                for task in tasks:
                    task.cancel()

    async def during(self, phase: str, change: Callable[[], object]) -> None:
        """`change` is made, in a thread, and found to be no trouble for anybody."""
        self._phase, began = phase, time.monotonic()
        await asyncio.to_thread(change)
        print(f"{phase}: {time.monotonic() - began:.1f} s")
        await asyncio.sleep(SETTLED)
        self._phase = "quiet"

    async def judge(self) -> None:
        """Nobody is at work any more: nobody was told what is wrong, nobody waited long, nothing is lost or bounced."""
        print(self.summary())
        assert not self.wrong
        waited = {(phase, what): time for phase, kinds in self.slowest.items() for what, time in kinds.items()}
        assert max(waited.values()) <= LONGEST, waited
        await asyncio.to_thread(wait_until, lambda: not self.cluster.json("queue", "list"), "the queue to be empty")
        assert not await self.complaints()
        print(f"stored, though nobody said so: {self.unanswered}")

    def summary(self) -> str:
        times = [
            f"{phase}: " + ", ".join(f"{what} {seconds:.2f} s" for what, seconds in sorted(slowest.items()))
            for phase, slowest in self.slowest.items()
        ]
        counts = ", ".join(f"{count} {what}" for what, count in sorted(self.done.items()))
        told = [f"{count} x {what}" for what, count in self.refusals.most_common()]
        return "\n".join([f"done: {counts}; in doubt: {len(self.doubtful)}", *times, *told, *self.wrong])

    async def complaints(self) -> list[str]:
        """What was acknowledged and is not there just once, and whatever was not sent. The queue must be empty."""
        complaints = []
        for number, account in enumerate(self.cluster.passwords):
            line = await self.log_in(self.doors(number), account)
            await line.ask(b"SELECT INBOX")
            lines = await line.ask(b"UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            line.close()
            found = Counter(mark[1].decode() for one in lines if (mark := _SUBJECT.search(one)))
            known = {mark: 1 for mark, owner in self.acknowledged.items() if owner == account}
            possible = known | {mark: 1 for mark, owner in self.doubtful.items() if owner == account}
            complaints += [
                f"{account} has {mark!r} {count} times too often" for mark, count in (found - Counter(possible)).items()
            ]
            self.unanswered += sum(mark in self.doubtful and mark not in self._cut_off for mark in found)
            complaints += [f"{account} has not {mark!r}" for mark in known if mark not in found]
        return complaints

    # --- what everybody does ---

    def doors(self, first: int) -> "itertools.cycle[str]":
        addresses = list(self.cluster.doors.values())
        return itertools.cycle(addresses[first % 2 :] + addresses[: first % 2])

    def message(self) -> tuple[str, bytes]:
        """A new mark and what bears it."""
        mark = f"mark-{next(self._numbers)}"
        return mark, f"Subject: {mark}\r\n\r\nx\r\n".encode()

    async def asked(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Again and again until it succeeds."""
        began, phase = time.monotonic(), self._phase
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    made = await attempt()
                break
            except Refused as refused:
                self.refused(what, refused)
            except TimeoutError:
                self.wrong.append(f"{what}: no answer within {PATIENCE:g} s")
            except LOST:
                pass
            await asyncio.sleep(AGAIN)
        self.done[what] += 1
        for one in {phase, self._phase}:
            self.slowest[one][what] = max(self.slowest[one][what], time.monotonic() - began)
        return made

    def refused(self, what: str, refused: Refused) -> None:
        if _TEMPORARY.match(refused.answer):
            self.refusals[f"{what}: {refused.answer.decode().strip()}"] += 1
        else:
            self.wrong.append(f"{what}: {refused.answer!r}")

    async def log_in(self, doors: "itertools.cycle[str]", account: str) -> Line:
        async def attempt() -> Line:
            line = await Line.to(next(doors), self.cluster.ports["imap"])
            try:
                await line.ask(f'LOGIN {account} "{self.cluster.passwords[account]}"'.encode())
            except BaseException:
                line.close()
                raise
            return line

        return await self.asked("login", attempt)

    # --- readers ---

    async def _read_and_write(self, number: int, account: str) -> None:
        """Many short sessions."""
        doors = self.doors(number)
        while True:
            await self._session(await self.log_in(doors, account), self._work(account))

    async def _idle(self, number: int, account: str) -> None:
        """One session, as long as it lasts."""
        doors = self.doors(number)
        while True:
            await self._session(await self.log_in(doors, account), _wait)

    async def _session(self, line: Line, use: Callable[[Line], Awaitable[None]]) -> None:
        try:
            await line.ask(b"SELECT INBOX")
            await use(line)
        except Refused as refused:
            self.refused("session", refused)
        except LOST:
            pass
        finally:
            line.close()

    def _work(self, account: str) -> Callable[[Line], Awaitable[None]]:
        async def work(line: Line) -> None:
            for _ in range(ROUNDS):
                mark, text = self.message()
                self.doubtful[mark] = account
                await line.ask(b"APPEND INBOX {%d+}\r\n%b" % (len(text), text))
                self.acknowledged[mark] = self.doubtful.pop(mark)
                await line.ask(b"FETCH 1:* (FLAGS)")
                await asyncio.sleep(THINKING)
            await line.ask(b"LOGOUT")

        return work


async def _wait(line: Line) -> None:
    line.write(b"t IDLE\r\n")
    while True:
        await line.read()


class Sender:
    """One message after the other, to all accounts in turn, on one connection as long as that lasts."""

    def __init__(self, load: Load, number: int, protocol: str, account: str) -> None:
        self._load = load
        self._protocol = protocol
        self._account = account
        self._doors = load.doors(number)
        self._recipients = itertools.cycle(load.cluster.passwords)
        self._line: Line | None = None

    async def run(self) -> None:
        while True:
            mark, text = self._load.message()
            to = next(self._recipients)
            await self._load.asked(self._protocol, lambda: self._deliver(mark, text, to))  # noqa: B023  it is awaited
            await asyncio.sleep(THINKING)

    async def _deliver(self, mark: str, text: bytes, to: str) -> None:
        """Raises Refused, EOFError, OSError when it was not taken. Nobody sends again what may have been."""
        sent, load = False, self._load
        try:
            if self._line is None:
                self._line = await self._connect()
            line = self._line
            await line.tell(f"MAIL FROM:<{self._account}>".encode(), f"RCPT TO:<{to}>".encode(), b"DATA")
            sent = True
            load.doubtful[mark] = to
            await line.tell(text + b".")
            load.acknowledged[mark] = load.doubtful.pop(mark)
        except BaseException as error:
            if self._line is not None:
                self._line.close()
                self._line = None
            if sent and isinstance(error, LOST):
                load.refusals[f"{self._protocol}: no answer to a message that was sent"] += 1
                return
            if isinstance(error, Refused):
                load.doubtful.pop(mark, None)
            raise

    async def _connect(self) -> Line:
        cluster = self._load.cluster
        line = await Line.to(next(self._doors), cluster.ports[self._protocol])
        secret = base64.b64encode(f"\0{self._account}\0{cluster.passwords[self._account]}".encode())
        try:
            await line.tell(b"LHLO client.test" if self._protocol == "lmtp" else b"EHLO client.test")
            if self._protocol == "submission":
                await line.tell(b"AUTH PLAIN " + secret)
        except BaseException:
            line.close()
            raise
        return line
