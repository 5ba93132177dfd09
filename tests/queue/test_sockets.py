"""Over real sockets: TLS when offered, in clear when it fails, and Debian's smtp-sink as a server of somebody else."""

import asyncio
import datetime
import os
import random
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from rookery.base.clock import SystemClock
from rookery.distribution.delivery.hosts import Hosts, HostSettings, Smarthost
from rookery.distribution.delivery.outcome import Job, Outcome, Verdict
from rookery.distribution.delivery.remote import RemoteDelivery, RemoteSettings
from rookery.management.certificates import make_self_signed
from rookery.net.dial import dial
from rookery.net.resolver import MailHost
from rookery.net.sockets import SocketStream
from rookery.net.stream import Stream
from rookery.net.tls import client_context, server_context
from tests.queue.conftest import Server

BODY = b"Subject: hello\r\n\r\n" + b".a line\r\n" * 1000


class Loopback:
    """Every domain's mail goes to 127.0.0.1."""

    async def mail_hosts(self, domain: str) -> list[MailHost]:
        return [MailHost(10, f"mx.{domain}")]

    async def addresses(self, host: str) -> list[str]:
        return ["127.0.0.1"]


def delivery(port: int, **facts: object) -> RemoteDelivery:
    settings = HostSettings("node.test", port=port, tls=client_context(), **facts)  # type: ignore[arg-type]
    dice = random.Random(1)
    return RemoteDelivery(Hosts(settings, Loopback(), dial, dice), SystemClock(), dice, RemoteSettings())


async def send(remote: RemoteDelivery, count: int = 1) -> list[Outcome]:
    outcomes: list[Outcome] = []
    finished = asyncio.Event()

    def done(found: list[Outcome]) -> None:
        outcomes.extend(found)
        if len(outcomes) == count:
            finished.set()

    async def chunks() -> AsyncIterator[bytes]:
        yield BODY[:3001]
        yield BODY[3001:]

    for n in range(count):
        remote.submit(
            "other.test",
            Job("ann@node.test", (f"u{n}@other.test",), len(BODY), False, False, "0", "s", None, chunks, done),
        )
    async with asyncio.timeout(20):
        await finished.wait()
    await remote.close(1.0)
    return outcomes


@pytest.fixture
async def listen() -> AsyncIterator[Callable[..., int]]:
    servers: list[asyncio.AbstractServer] = []
    tasks: set[asyncio.Task[None]] = set()

    async def start(server: Server, tls: ssl.SSLContext | None = None) -> int:
        """`tls`: from the first octet."""

        class Peer(SocketStream):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                fresh = self.tls is None
                super().connection_made(transport)
                if fresh and (self.tls is None or tls is not None):
                    task = asyncio.get_running_loop().create_task(server.serve(self))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)

        listening = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0, ssl=tls)
        servers.append(listening)
        return listening.sockets[0].getsockname()[1]

    yield start
    for listening in servers:
        listening.close()
    for task in tasks:
        task.cancel()


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_self_signed(certificate, key, ["mx.other.test"], datetime.datetime.now(datetime.UTC))
    return server_context(certificate, key)


async def test_tls_is_used_when_offered(listen, context: ssl.SSLContext) -> None:
    server = Server("mx.other.test", offers=("PIPELINING", "STARTTLS"), tls=context)
    (found,) = await send(delivery(await listen(server)))
    assert found.verdict is Verdict.DONE
    assert server.encrypted == 1
    assert server.taken[0].body == BODY
    assert [command.split(" ")[0] for command in server.commands[:4]] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]


async def test_in_clear_when_starttls_is_refused(listen, context: ssl.SSLContext) -> None:
    server = Server("mx.other.test", offers=("STARTTLS",), answers={"STARTTLS": "454 not now"}, tls=context)
    (found,) = await send(delivery(await listen(server)))
    assert found.verdict is Verdict.DONE
    assert (server.encrypted, server.connections) == (0, 1)


async def test_in_clear_when_the_handshake_fails(listen) -> None:
    server = Server("mx.other.test", offers=("STARTTLS",))  # says 220, then goes on in clear
    (found,) = await send(delivery(await listen(server)))
    assert found.verdict is Verdict.DONE
    assert (server.encrypted, server.connections) == (0, 2)


class Outside(Loopback):
    """Every host is somewhere else, as far as anybody can see; what is dialled is here."""

    async def addresses(self, host: str) -> list[str]:
        return ["192.0.2.7"]

    async def dial(self, address: str, port: int, timeout: float) -> Stream:
        return await dial("127.0.0.1", port, timeout)


def by_smarthost(host: str, port: int, certificate: Path, login: str = "me") -> RemoteDelivery:
    """Through a smarthost with TLS from the first octet."""
    verified = client_context(verify=True, authorities=certificate)
    smarthost = Smarthost(host, port, login, "secret", implicit_tls=True)
    settings = HostSettings("node.test", smarthost=smarthost, tls=client_context(), verified_tls=verified)
    dice, outside = random.Random(1), Outside()
    return RemoteDelivery(Hosts(settings, outside, outside.dial, dice), SystemClock(), dice, RemoteSettings())


async def test_a_smarthost_with_tls_from_the_first_octet(listen, context: ssl.SSLContext, tmp_path: Path) -> None:
    server = Server("mx.other.test", offers=("AUTH PLAIN",), answers={"AUTH": "235 welcome"})
    port = await listen(server, context)
    (found,) = await send(by_smarthost("mx.other.test", port, tmp_path / "cert.pem"))
    assert found.verdict is Verdict.DONE
    assert server.taken[0].body == BODY
    assert [command.split(" ")[0] for command in server.commands[:3]] == ["EHLO", "AUTH", "MAIL"]


@pytest.mark.parametrize("login", ["me", ""])
async def test_its_certificate_is_verified(listen, context: ssl.SSLContext, tmp_path: Path, login: str) -> None:
    server = Server("mx.other.test", offers=("AUTH PLAIN",))
    port = await listen(server, context)
    (found,) = await send(by_smarthost("another.test", port, tmp_path / "cert.pem", login))
    assert (found.verdict, found.enhanced) == (Verdict.LATER, "4.7.5")
    assert server.commands == []


async def test_it_is_never_spoken_to_in_clear(listen, context: ssl.SSLContext, tmp_path: Path) -> None:
    server = Server("mx.other.test", offers=("AUTH PLAIN",))
    (found,) = await send(by_smarthost("mx.other.test", await listen(server), tmp_path / "cert.pem"))
    assert (found.verdict, found.enhanced) == (Verdict.LATER, "4.7.5")
    assert server.commands == []
    assert server.connections == 1


async def test_nobody_listens() -> None:
    (found,) = await send(delivery(1))
    assert (found.verdict, found.enhanced) == (Verdict.LATER, "4.4.1")
    assert "127.0.0.1" in found.text


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ([], Verdict.DONE),
        (["-e"], Verdict.DONE),  # without ESMTP
        (["-p"], Verdict.DONE),  # without PIPELINING
        (["-8"], Verdict.DONE),  # without 8BITMIME
        (["-Q", "rcpt"], Verdict.LATER),  # 421
        (["-q", "data"], Verdict.LATER),  # hangs up
        (["-q", "connect"], Verdict.LATER),
        (["-r", "rcpt"], Verdict.LATER),  # 4xx
        (["-f", "rcpt"], Verdict.NEVER),  # 5xx
        (["-r", "."], Verdict.LATER),
        (["-f", "."], Verdict.NEVER),
        (["-f", "ehlo"], Verdict.DONE),
    ],
)
async def test_smtp_sink(options: list[str], verdict: Verdict, unused_tcp_port: int) -> None:
    found = await with_sink(options, unused_tcp_port, 1)
    assert [outcome.verdict for outcome in found] == [verdict]


async def test_many_messages_to_smtp_sink(unused_tcp_port: int) -> None:
    found = await with_sink([], unused_tcp_port, 500)
    assert {outcome.verdict for outcome in found} == {Verdict.DONE}


async def with_sink(options: list[str], port: int, count: int) -> list[Outcome]:
    sink = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"
    if not Path(sink).exists():
        pytest.skip("Debian's postfix is not installed")
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = await asyncio.create_subprocess_exec(sink, *user, *options, f"127.0.0.1:{port}", "100")
    try:
        await listening(port)
        return await send(delivery(port), count)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def listening(port: int) -> None:
    """Asked again and again, because a program of others cannot be told to say so; no length of time decides."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                continue
            writer.close()
            return
