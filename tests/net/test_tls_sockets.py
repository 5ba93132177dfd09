"""Real sockets: which versions of TLS are spoken, and that passwords wait for it when the client is elsewhere."""

import asyncio
import imaplib
import smtplib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from rookery.access.imap.serve import serve_imap
from rookery.access.submission import serve_submission
from rookery.net.limits import ConnectionLimits
from rookery.net.listener import Serve, listen
from rookery.net.tls import client_context, server_context
from tests.access.imap import support as imap
from tests.access.smtp import world as smtp

Pair = tuple[Path, Path]


@asynccontextmanager
async def listening(serve: Serve, address: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    listener = await listen([address], 0, serve, name="test", limits=ConnectionLimits(before_login=None), tls=tls)
    try:
        yield listener.ports[0]
    finally:
        await listener.close()


# --- versions --------------------------------------------------------------------------------------------------------


def speaking(version: ssl.TLSVersion, context: ssl.SSLContext) -> ssl.SSLContext:
    """`context`, speaking `version` only, with any cipher."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    return context


def agreed(port: int, version: ssl.TLSVersion) -> str | None:
    """The version agreed on with a client that speaks only this one; None when the server hung up instead."""
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        try:
            with speaking(version, client_context()).wrap_socket(plain) as secure:
                assert secure.recv(4) == b"* OK"
                return secure.version()
        except (ssl.SSLError, ConnectionResetError):
            return None


def agreed_in_memory(certificate: Pair, version: ssl.TLSVersion) -> str | None:
    """The version agreed on between such a client and a server that would speak it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = speaking(version, client_context()).wrap_bio(back, there)
    other = speaking(version, server).wrap_bio(there, back, server_side=True)
    for side in (one, other, one, other, one):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return one.version()


@pytest.mark.filterwarnings("ignore:.*TLSv1:DeprecationWarning")
async def test_imaps_speaks_tls_1_2_and_1_3_only(tmp_path: Path, certificate: Pair) -> None:
    context = server_context(*certificate)
    versions = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    names = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
    assert [agreed_in_memory(certificate, version) for version in versions] == names, "the client can speak all four"
    async with (
        imap.make_world(tmp_path, "alice", tls=context) as world,
        listening(partial(serve_imap, shared=world.services), "127.0.0.1", context) as port,
    ):
        found = [await asyncio.to_thread(agreed, port, version) for version in versions]
    assert found == [None, None, "TLSv1.2", "TLSv1.3"]


# --- passwords -------------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> str:
    """An address of this machine that is not loopback: what connects to it comes from it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        try:
            found.connect(("192.0.2.1", 9))  # sends nothing; the kernel chooses the address
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(found.getsockname()[0])


def log_in_by_imap(address: str, port: int) -> None:
    alice = (f"alice@{imap.DOMAIN}", imap.PASSWORD)
    with imaplib.IMAP4(address, port, timeout=20) as client:
        assert {"STARTTLS", "LOGINDISABLED"} <= set(client.capabilities)
        assert not [name for name in client.capabilities if name == "AUTH=PLAIN"]
        for attempt in (
            lambda: client.login(*alice),
            lambda: client.authenticate("PLAIN", lambda _: "\0".join(("", *alice)).encode()),
        ):
            with pytest.raises(imaplib.IMAP4.error):
                attempt()
        assert client.state == "NONAUTH"
        client.starttls(client_context())
        assert "AUTH=PLAIN" in client.capabilities
        assert "LOGINDISABLED" not in client.capabilities
        assert client.login(*alice)[0] == "OK"


async def test_imap_takes_passwords_from_elsewhere_only_after_starttls(
    tmp_path: Path, certificate: Pair, elsewhere: str
) -> None:
    async with (
        imap.make_world(tmp_path, "alice", tls=server_context(*certificate)) as world,
        listening(partial(serve_imap, shared=world.services), elsewhere) as port,
    ):
        await asyncio.to_thread(log_in_by_imap, elsewhere, port)


def log_in_by_submission(address: str, port: int) -> None:
    with smtplib.SMTP(address, port, "client.test", timeout=20) as client:
        client.ehlo()
        assert client.has_extn("starttls")
        assert not client.has_extn("auth")
        code, _ = client.docmd("AUTH", "PLAIN " + smtp.plain("alice@d.test").decode())
        assert code in (530, 538)  # RFC 4954 section 6: not without encryption
        code, _ = client.mail("alice@d.test")
        assert code == 530
        client.starttls(context=client_context())
        client.ehlo()
        assert client.has_extn("auth")
        assert client.login(f"alice@{smtp.DOMAIN}", smtp.PASSWORD)[0] == 235
        assert client.mail(f"alice@{smtp.DOMAIN}")[0] == 250


async def test_submission_takes_passwords_from_elsewhere_only_after_starttls(
    tmp_path: Path, certificate: Pair, elsewhere: str
) -> None:
    async with smtp.make_world(tmp_path) as world:
        serve = partial(
            serve_submission,
            spool=world.spool,
            directory=world.directory,
            authenticator=world.authenticator,
            settings=world.settings,
            clock=world.clock,
            tls=server_context(*certificate),
        )
        async with listening(serve, elsewhere) as port:
            await asyncio.to_thread(log_in_by_submission, elsewhere, port)
