"""LMTP through a frontend: to the hosts of the recipients, and what each of them says is what the MTA hears."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from rookery.access.conversation import SmtpSettings
from rookery.access.directory_service import DirectoryService
from rookery.access.frontend.fan import AHEAD, Envelope, Fan
from rookery.access.frontend.lmtp import LmtpFront, serve_lmtp_front
from rookery.access.lmtp import serve_lmtp
from rookery.access.smtp import serve_mx
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member, Role
from rookery.distribution.delivery.local import LocalDelivery, LocalSettings
from rookery.distribution.delivery.outcome import Job, Outcome, Verdict, own
from rookery.distribution.directory.values import AccountRecord
from rookery.distribution.service.calls import Expect, Granted, Host
from rookery.distribution.service.known import KnownDirectory
from rookery.distribution.service.questions import Questions
from rookery.net.memory import MemoryStream, memory_pipe
from rookery.net.stream import Peer, Stream
from tests.access.hosts import THERE, Hosts
from tests.access.smtp.world import DOMAIN, HERE, Client, World, make_world

B1, B2 = Host("b1", "192.0.2.21:7143"), Host("b2", "192.0.2.22:7143")
MX = Member("mx1", frozenset({Role.FRONTEND, Role.MX_IN}), b"", 0)
LARGE = SmtpSettings(hostname="front.test", message_size=1 << 24)
ALICE, BOB = f"<alice@{DOMAIN}>", f"<bob@{DOMAIN}>"


class Backend:
    """A backend with a world of its own. `away`: it cannot be reached. `ends`: of the streams that were opened."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.hosts = Hosts()
        self.away = False
        self.ends: list[MemoryStream] = []
        self.sessions: list[asyncio.Task[None]] = []
        world.settings = replace(LARGE, hostname="host.test")

    def lacks(self, name: str) -> None:
        self.hosts.away[self.world.account_id(name)] = THERE

    async def dial(self, protocol: str) -> Stream:
        if self.away:
            raise RookeryError(Cause.UNAVAILABLE, "connection refused")
        world = self.world
        near, far = memory_pipe(wheel=world.wheel)
        if protocol == "lmtp":
            serving = serve_lmtp(
                far, store=world.store, directory=world.directory, settings=world.settings, clock=world.clock,
                hosts=self.hosts,
            )  # fmt: skip
        else:
            serving = serve_mx(
                far, spool=world.spool, directory=world.directory, settings=world.settings, clock=world.clock
            )

        async def run() -> None:
            try:
                await serving
            finally:
                far.close()

        self.ends.append(far)
        self.sessions.append(asyncio.create_task(run()))
        return near


class Front:
    """A frontend before two backends, of which b1 has alice and b2 has bob. It implements `Deliveries`."""

    def __init__(self, b1: World, b2: World) -> None:
        self.backends = {B1: Backend(b1), B2: Backend(b2)}
        self.backends[B1].lacks("bob")
        self.backends[B2].lacks("alice")
        self.world = b1  # the directory node
        self.says = {f"alice@{DOMAIN}": B1, f"bob@{DOMAIN}": B2}
        self.asked: list[str] = []  # again, because of a backend so called
        self.directory_away = False
        self.jobs: list[tuple[Host | None, Job]] = []
        service = DirectoryService(
            b1.directory, b1.authenticator, self.bring, self.passing, self.where, node="d1", clock=b1.clock
        )
        self.questions = Questions()
        service.take(self.questions)
        settings = LocalSettings("front.test", streams=4)
        self._to: dict[Host | None, LocalDelivery] = {
            host: LocalDelivery(partial(backend.dial, "lmtp"), settings) for host, backend in self.backends.items()
        }
        self._to[None] = LocalDelivery(
            partial(self.backends[B1].dial, "smtp"), LocalSettings("front.test", streams=4, lmtp=False)
        )
        self.shared = LmtpFront(KnownDirectory(self.call, b1.clock), self, LARGE, b1.clock)

    async def call(self, question: bytes) -> bytes:
        if self.directory_away:
            raise RookeryError(Cause.UNAVAILABLE, "no directory node answers")
        return await self.questions.answer(MX, question)

    async def bring(self, account: AccountRecord, expect: Expect) -> tuple[Host, bytes]:
        raise AssertionError("nobody logs in")

    def passing(self, comes: Expect, beyond: Granted) -> bytes:
        raise AssertionError("nobody logs in")

    async def where(self, account: AccountRecord, tried: str) -> Host:
        if tried:
            self.asked.append(tried)
            return B2 if tried == "b1" else B1
        return self.says[account.address]

    def submit(self, host: Host | None, job: Job) -> None:
        self.jobs.append((host, job))
        self._to[host].submit(job)

    async def connect(self, peer: Peer = HERE, *, allowed: bool = True) -> Client:
        client = await self.world._connect(lambda stream: serve_lmtp_front(stream, self.shared, allowed=allowed), peer)
        if allowed:
            await client.say("LHLO mta.test\n")
        return client

    async def inbox(self, host: Host, name: str) -> list[bytes]:
        return await self.backends[host].world.inbox(name)

    async def close(self) -> None:
        for delivery in self._to.values():
            await delivery.close()
        sessions = [task for backend in self.backends.values() for task in backend.sessions]
        async with asyncio.timeout(20):
            await asyncio.gather(*sessions, return_exceptions=True)


@pytest_asyncio.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    async with make_world(tmp_path / "b1") as b1, make_world(tmp_path / "b2") as b2:
        made = Front(b1, b2)
        yield made
        await b1.close()
        await made.close()


async def test_each_recipient_is_answered_by_its_host_which_gets_the_message_once(front: Front) -> None:
    b2 = front.backends[B2].world
    await b2.add_account("small", size_limit=10)
    await front.world.add_account("small")
    front.says[f"small@{DOMAIN}"] = B2
    client = await front.connect()
    answers = await client.send(ALICE, f"<small@{DOMAIN}>", BOB, f"<bob+lists@{DOMAIN}>", answers=4)
    assert [answer[:9] for answer in answers] == ["250 2.0.0", "452 4.2.2", "250 2.0.0", "250 2.0.0"]
    assert [(host, len(job.recipients)) for host, job in front.jobs] == [(B1, 1), (B2, 3)]
    (message,) = await front.inbox(B1, "alice")
    lines = message.split(b"\r\n")
    assert lines[0] == b"Return-Path: <a@x.test>"
    assert b"Received: from mta.test ([127.0.0.1])" in message
    assert b"by front.test with LMTP id" in message
    assert message.endswith(b"Subject: hello\r\n\r\nBody.\r\n")
    assert len(await front.inbox(B2, "bob")) == 2


async def test_streams_to_hosts_are_used_again(front: Front) -> None:
    for _ in range(2):
        client = await front.connect()
        for _ in range(3):
            await client.send(ALICE, BOB, answers=2)
    assert [len(backend.ends) for backend in front.backends.values()] == [1, 1]
    assert len(await front.inbox(B1, "alice")) == 6


async def test_an_address_that_is_not_known_or_not_ours_is_refused(front: Front) -> None:
    client = await front.connect()
    lines = f"MAIL FROM:<a@x.test>\nRCPT TO:<nobody@{DOMAIN}>\nRCPT TO:<a@other.test>\nDATA\n"
    assert await client.say(lines, 4) == [250, 550, 550, 503]
    assert not front.jobs


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_a_mailbox_that_has_moved_is_found_again(front: Front, size: int) -> None:
    front.says[f"bob@{DOMAIN}"] = B1
    client = await front.connect()
    message = b"Subject: x\r\n\r\n" + b"x" * 70 * (size // 70) + b"\r\n"
    for _ in range(2):
        answers = await client.send(BOB, message=message, answers=1)
        assert [answer[:3] for answer in answers] == ["250"]
    assert front.asked == ["b1"]  # and remembered
    assert [body[-len(message) :] for body in await front.inbox(B2, "bob")] == [message] * 2


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_a_host_that_cannot_be_reached_defers_its_recipients_only(front: Front, size: int) -> None:
    front.backends[B2].away = True
    client = await front.connect()
    message = b"Subject: x\r\n\r\n" + b"y" * size + b"\r\n"
    answers = await client.send(ALICE, BOB, message=message, answers=2)
    assert [answer[:3] for answer in answers] == ["250", "451"]
    assert front.asked == ["b2"]
    assert len(await front.inbox(B1, "alice")) == 1


async def test_a_large_message_goes_to_every_host_while_it_arrives(front: Front) -> None:
    client = await front.connect()
    lines = f"MAIL FROM:<>\nRCPT TO:{ALICE}\nRCPT TO:{BOB}\nDATA\n"
    assert await client.say(lines, 4) == [250, 250, 250, 354]
    piece = b"z" * 998 + b"\r\n"
    sent = b"Subject: long\r\n\r\n"
    client.stream.write(sent)
    for _ in range(200):
        client.stream.write(piece * 20)
        await client.stream.drain()
    assert len(front.jobs) == 2  # long before its end
    client.stream.write(b".\r\n")
    assert [answer[:3] for answer in await client.replies(2)] == ["250", "250"]
    for host, name in ((B1, "alice"), (B2, "bob")):
        (message,) = await front.inbox(host, name)
        assert message.endswith(sent + piece * 4000)


async def test_a_host_that_dies_in_the_middle_defers_its_recipients_only(front: Front) -> None:
    client = await front.connect()
    lines = f"MAIL FROM:<>\nRCPT TO:{ALICE}\nRCPT TO:{BOB}\nDATA\n"
    assert await client.say(lines, 4) == [250, 250, 250, 354]
    client.stream.write(b"Subject: x\r\n\r\n" + b"x" * 200_000)
    async with asyncio.timeout(20):
        while not front.backends[B2].ends:  # noqa: ASYNC110  turns of the loop, not time
            await asyncio.sleep(0)
    front.backends[B2].ends[0].abort()
    client.stream.write(b"y" * 500_000 + b"\r\n.\r\n")
    assert [answer[:3] for answer in await client.replies(2)] == ["250", "451"]
    assert len(await front.inbox(B1, "alice")) == 1
    assert not await front.inbox(B2, "bob")
    assert await client.say("QUIT\n") == [221]


@pytest.mark.parametrize("size", [100, 500_000])
async def test_what_the_client_does_not_send_whole_nobody_gets(front: Front, size: int) -> None:
    client = await front.connect()
    assert await client.say(f"MAIL FROM:<>\nRCPT TO:{ALICE}\nDATA\n", 3) == [250, 250, 354]
    client.stream.write(b"Subject: half\r\n\r\n" + b"x" * size)
    await client.stream.drain()
    client.stream.close()
    async with asyncio.timeout(20):
        await client.task
    await front.close()
    assert not await front.inbox(B1, "alice")


async def test_a_group_goes_to_a_node_with_a_queue(front: Front) -> None:
    await front.world.admin.add_group(f"staff@{DOMAIN}", [f"alice@{DOMAIN}", f"bob@{DOMAIN}"])
    client = await front.connect()
    answers = await client.send(f"<staff@{DOMAIN}>", ALICE, answers=2)
    assert [answer[:13] for answer in answers] == ["250 2.0.0 Que", "250 2.0.0 Del"]
    (claimed,) = front.world.taken.messages
    assert [recipient.address for recipient in claimed.recipients] == [f"staff@{DOMAIN}"]


async def test_while_the_directory_is_away_known_addresses_are_taken(front: Front) -> None:
    client = await front.connect()
    await client.send(ALICE)
    front.directory_away = True
    front.world.clock.advance(86_400)
    assert (await client.send(ALICE))[0].startswith("250")
    assert await client.say(f"MAIL FROM:<>\nRCPT TO:{BOB}\n", 2) == [250, 451]


async def test_who_may_not_deliver_is_told_so(front: Front) -> None:
    client = await front.connect(Peer("192.0.2.9", 40_000), allowed=False)
    assert await client.ended() == "554 5.7.1 No LMTP for you\n"


# --- how much waits here ---------------------------------------------------------------------------------------------


class Slow:
    """Takes jobs, and of their bodies what it is told to."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def submit(self, host: Host | None, job: Job) -> None:
        self.jobs.append(job)


async def test_no_more_waits_than_the_slowest_host_takes() -> None:
    slow = Slow()

    async def again(address: str, tried: Host) -> Host | None:
        return None

    fan = Fan(Envelope("", 0, False, False, "s"), [("a", B1), ("b", B2)], slow, again)
    written = 0

    async def client() -> None:
        nonlocal written
        for _ in range(100):
            waits = fan.write(b"x" * 10_000)
            if waits is not None:
                await waits
            written += 10_000

    sending = asyncio.create_task(client())
    await _turns()
    assert written <= 70_000  # nobody has begun yet
    bodies = [job.chunks() for job in slow.jobs]
    firsts = [await anext(body) for body in bodies]
    await _turns()
    assert written <= len(firsts[0]) + AHEAD + 20_000
    slow.jobs[1].done([own("4.4.2", "lost")])  # one that is gone keeps nobody waiting
    taken = len(firsts[0])
    finished = asyncio.create_task(_finish(sending, fan))
    async for chunk in bodies[0]:
        taken += len(chunk)
    slow.jobs[0].done([Outcome(Verdict.DONE, 250, "2.0.0", "ok")])
    assert [outcome.code for outcome in await finished] == [250, 451]
    assert taken == 1_000_000


async def _finish(sending: "asyncio.Task[None]", fan: Fan) -> list[Outcome]:
    await sending
    return await fan.finish()


async def _turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)
