"""IMAP through a frontend that has neither mail nor directory: both are asked as over the cluster port."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from rookery.access.directory_service import DirectoryService
from rookery.access.frontend.imap import serve_imap_front
from rookery.access.frontend.login import Front, FrontSettings
from rookery.access.frontend.way import ATTEMPTS, Opening
from rookery.access.imap.serve import entered, serve_entered
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.directory.values import AccountRecord
from rookery.distribution.service.calls import Expect, Granted, Host
from rookery.distribution.service.handles import Handles
from rookery.distribution.service.logins import Logins
from rookery.distribution.service.questions import Questions
from rookery.net.memory import memory_pipe
from rookery.net.stream import Peer, Stream
from tests.access.imap.support import DOMAIN, HERE, OUTSIDE, PASSWORD, Client, World, make_world, message
from tests.service.test_directory_service import F1
from tests.wire.sasl.scram_client import ScramClient

B1 = Host("b1", "192.0.2.21:8143")


class Cluster:
    """A backend, which is the directory too, and frontends. `refusals`: what it says to the next sessions."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.handles = Handles(world.clock)
        self.refusals: list[Cause] = []
        self.away = False
        self.sessions: list[asyncio.Task[None]] = []
        self.service = DirectoryService(
            world.directory,
            world.services.authenticator,
            self.bring,
            self.passing,
            self.where,
            node="d1",
            clock=world.clock,
        )
        self.questions = Questions()
        self.service.take(self.questions)
        self.front = Front(Logins(self.ask, world.clock), self, FrontSettings(scram=True))

    async def ask(self, question: bytes, node: str = "") -> tuple[bytes, str]:
        if self.away:
            raise RookeryError(Cause.UNAVAILABLE, "no directory node answers")
        return await self.questions.answer(F1, question), "d1:7143"

    def passing(self, comes: Expect, beyond: Granted) -> bytes:
        raise AssertionError("every host is reached")

    async def where(self, account: AccountRecord, tried: str) -> Host:
        return B1

    async def bring(self, account: AccountRecord, expect: Expect) -> tuple[Host, bytes]:
        return B1, self.handles.expect(account.account, expect.protocol, expect.frontend, expect.session)

    async def open(self, granted: Granted, opening: Opening) -> tuple[Stream, bytes]:
        """As the frontend's way, and what the host makes of it."""
        if self.refusals:
            raise RookeryError(self.refusals.pop(0), "not here")
        account = AccountId(granted.account)
        coming = self.handles.redeem(granted.handle, account, opening.protocol, F1.name)
        record = self.world.directory.account_by_id(account)
        if coming is None or coming.session != opening.session or record is None:
            raise RookeryError(Cause.DENIED, "the handle opens nothing")
        near, far = memory_pipe(client=opening.stream.peer, server=opening.stream.local)
        session = await entered(far, self.world.services, record, coming.session)
        self.sessions.append(asyncio.create_task(serve_entered(session, opening.resume)))
        return near, await near.read()

    def connect(self, peer: Peer = HERE) -> Client:
        near, far = memory_pipe(client=peer, server=Peer("127.0.0.1", 143))
        return Client(near, asyncio.create_task(serve_imap_front(far, self.front)))

    async def login(self, name: str = "alice") -> Client:
        client = self.connect()
        await client.line()
        await client.ok(f'LOGIN {name}@{DOMAIN} "{PASSWORD}"')
        return client


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with make_world(tmp_path, "alice", "bob") as world:
        made = Cluster(world)
        yield made
        for task in made.sessions:
            task.cancel()
        await asyncio.gather(*made.sessions, return_exceptions=True)


async def test_what_a_client_sees_is_what_it_would_see_at_the_host(cluster: Cluster) -> None:
    await cluster.world.append("alice", message("first"))
    for connect in (cluster.connect, cluster.world.connect):
        client = connect()
        await client.dialogue(
            f"""
            S: * OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE AUTH=SCRAM-SHA-256 <>
            C: a ID NIL
            S: * ID ("name" "Rookery")
            S: a OK <>
            C: b NOOP
            S: b OK <>
            C: c SELECT INBOX
            S: c BAD <>
            C: d LOGIN alice@{DOMAIN} wrong
            S: d NO [AUTHENTICATIONFAILED] Login failed
            C: e LOGIN alice@{DOMAIN} "{PASSWORD}"
            S: e OK [CAPABILITY IMAP4rev1 <> APPENDLIMIT=50000000] Logged in
            C: f STATUS INBOX (MESSAGES)
            S: * STATUS "INBOX" (MESSAGES 1)
            S: f OK <>
            C: g LOGOUT
            S: * BYE Logging out
            S: g OK <>
            """
        )
        assert await client.stream.read() == b""
        await asyncio.wait_for(client.task, 20)


async def test_what_was_sent_behind_the_login_is_the_hosts_to_answer(cluster: Cluster) -> None:
    client = cluster.connect()
    await client.line()
    client.send(f'a LOGIN alice@{DOMAIN} "{PASSWORD}"\r\nb SELECT INBOX\r\nc NO'.encode())
    assert (await client.until(b"a"))[-1].startswith(b"OK [CAPABILITY")
    assert (await client.until(b"b"))[-1].startswith(b"OK [READ-WRITE]")
    client.send(b"OP\r\n")
    assert (await client.until(b"c"))[-1].startswith(b"OK")


async def test_every_mechanism(cluster: Cluster) -> None:
    client = cluster.connect()
    await client.line()
    plain = base64.b64encode(f"\0alice@{DOMAIN}\0{PASSWORD}".encode()).decode()
    await client.ok(f"AUTHENTICATE PLAIN {plain}")
    client = cluster.connect()
    await client.line()
    client.send(b"a AUTHENTICATE LOGIN\r\n")
    for words in (f"alice@{DOMAIN}", PASSWORD):
        assert (await client.line()).startswith(b"+ ")
        client.send(base64.b64encode(words.encode()) + b"\r\n")
    assert (await client.line()).startswith(b"a OK")


async def test_an_exchange_that_is_cancelled_or_left_is_over(cluster: Cluster) -> None:
    client = cluster.connect()
    await client.line()
    client.send(b"a AUTHENTICATE LOGIN\r\n")
    await client.line()
    client.send(b"*\r\n")
    assert (await client.line()).startswith(b"a BAD")
    client.send(b"b AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(ScramClient("alice", "x").first()) + b"\r\n")
    assert (await client.line()).startswith(b"+ ")
    await client.hang_up()
    assert not any(cluster.service._exchanges.values())


async def test_no_password_without_tls_and_no_end_of_guessing(cluster: Cluster) -> None:
    client = cluster.connect(OUTSIDE)
    assert b"LOGINDISABLED" in await client.line()
    assert (await client.command(f'LOGIN alice "{PASSWORD}"'))[-1].startswith(b"NO [PRIVACYREQUIRED]")
    client = cluster.connect()
    await client.line()
    for _ in range(4):
        assert (await client.command("LOGIN alice wrong"))[-1].startswith(b"NO [AUTHENTICATIONFAILED]")
    *_, bye, answer = await client.command("LOGIN alice wrong")
    assert (bye, answer[:2]) == (b"* BYE Too many failed logins", b"NO")
    assert await client.stream.read() == b""


async def test_a_host_that_does_not_take_it_is_asked_for_again(cluster: Cluster) -> None:
    cluster.refusals = [Cause.MOVED, Cause.DENIED, Cause.UNAVAILABLE]
    client = await cluster.login()
    await client.ok("SELECT INBOX")
    assert not cluster.refusals


async def test_when_nobody_takes_it_the_client_is_told_to_come_later(cluster: Cluster) -> None:
    cluster.refusals = [Cause.UNAVAILABLE] * ATTEMPTS
    client = cluster.connect()
    await client.line()
    answer = (await client.command(f'LOGIN alice@{DOMAIN} "{PASSWORD}"'))[-1]
    assert answer.startswith(b"NO [UNAVAILABLE]")
    await client.ok(f'LOGIN alice@{DOMAIN} "{PASSWORD}"')
    cluster.away = True
    client = cluster.connect()
    await client.line()
    answer = (await client.command(f'LOGIN alice@{DOMAIN} "{PASSWORD}"'))[-1]
    assert answer.startswith(b"NO [UNAVAILABLE]")


async def test_large_answers_and_large_messages_pass(cluster: Cluster) -> None:
    client = await cluster.login()
    body = message("large") + b"x" * 70 + b"\r\n" * 200_000
    assert b"OK [APPENDUID" in (answer := b" ".join(await client.append_responses("INBOX", body))), answer[:200]
    await client.ok("SELECT INBOX")
    fetched = await client.ok("FETCH 1 BODY.PEEK[]")
    assert body in fetched[0]


async def test_who_hangs_up_leaves_no_session_behind_and_a_host_that_ends_ends_the_client(cluster: Cluster) -> None:
    client = await cluster.login()
    await client.hang_up()
    await asyncio.wait_for(cluster.sessions[0], 20)
    client = await cluster.login()
    cluster.world.store.drop_account(cluster.world.account_id("alice"))
    assert (await client.line()).startswith(b"* BYE")
    assert await client.stream.read() == b""
    await asyncio.wait_for(client.task, 20)


async def test_one_that_idles_is_told_of_new_mail(cluster: Cluster) -> None:
    client = await cluster.login()
    await client.ok("SELECT INBOX")
    client.send(b"a IDLE\r\n")
    assert await client.line() == b"+ idling"
    await cluster.world.append("alice", message("new"))
    assert await client.line() == b"* 1 EXISTS"
