"""imaplib and imapclient over real sockets, in clear, with STARTTLS and with TLS from the start."""

import asyncio
import datetime
import imaplib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from imapclient import IMAPClient

from rookery.access.imap import serve_imap
from rookery.management.certificates import make_self_signed
from rookery.net.limits import ConnectionLimits
from rookery.net.listener import listen
from rookery.net.tls import client_context, server_context
from tests.access.imap.support import DOMAIN, PASSWORD, World, make_world, message

ALICE = f"alice@{DOMAIN}"


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_self_signed(cert, key, ["mail.d.test"], datetime.datetime.now(datetime.UTC))
    return server_context(cert, key)


@asynccontextmanager
async def _listening(world: World, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    listener = await listen(
        ["127.0.0.1"], 0, partial(serve_imap, shared=world.services), name="imap", limits=ConnectionLimits(), tls=tls
    )
    try:
        yield listener.ports[0]
    finally:
        await listener.close()


def _with_imaplib(port: int) -> None:
    with imaplib.IMAP4("127.0.0.1", port, timeout=20) as client:
        client.login(ALICE, PASSWORD)
        assert client.select("INBOX") == ("OK", [b"0"])
        status, _ = client.append("INBOX", "(\\Seen)", None, message("from imaplib"))
        assert status == "OK"
        assert client.search(None, "SUBJECT", "imaplib") == ("OK", [b"1"])
        status, data = client.fetch("1", "(FLAGS BODY[HEADER.FIELDS (SUBJECT)])")
        assert data[0] == (
            b"1 (FLAGS (\\Seen \\Recent) BODY[HEADER.FIELDS (SUBJECT)] {25}",
            b"Subject: from imaplib\r\n\r\n",
        )
        assert client.copy("1", "Trash")[0] == "OK"
        assert client.store("1", "+FLAGS", "\\Deleted") == ("OK", [b"1 (FLAGS (\\Deleted \\Seen \\Recent))"])
        assert client.expunge() == ("OK", [b"1"])
        assert client.status("Trash", "(MESSAGES)") == ("OK", [b'"Trash" (MESSAGES 1)'])


async def test_imaplib_in_clear(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice") as world, _listening(world) as port:
        await asyncio.to_thread(_with_imaplib, port)


UTF8_MAIL = (
    "From: Zoë <zoë@d.test>\r\nTo: alice@d.test\r\nSubject: Grüße aus Köln\r\n"
    'Content-Type: text/plain; charset=utf-8; name="größe.txt"\r\n\r\nschöne Grüße\r\n'
).encode()


def _with_utf8(port: int) -> None:
    """RFC 6855 and its successor RFC 9755, in which APPEND needs no words of its own."""
    with imaplib.IMAP4("127.0.0.1", port, timeout=20) as client:
        client.login(ALICE, PASSWORD)
        assert b" UTF8=ACCEPT" in client.capability()[1][0]
        client.create("&2D3eAA-")  # modified UTF-7, so far
        assert client.enable("UTF8=ACCEPT")[0] == "OK"
        assert client.utf8_enabled
        assert client.create('"Entwürfe/März"')[0] == "OK"
        listed = {line.decode().split(' "/" ')[1] for line in client.list()[1]}
        assert {'"\U0001f600"', '"Entwürfe/März"'} <= listed
        assert client.list('""', '"Entwürfe/%"')[1] == [b'(\\HasNoChildren) "/" "Entw\xc3\xbcrfe/M\xc3\xa4rz"']
        assert client.subscribe('"Entwürfe/März"')[0] == "OK"
        assert client.lsub('""', '"Entw*"')[1][0].endswith('"Entwürfe/März"'.encode())
        assert client.status('"Entwürfe"', "(MESSAGES)")[1] == ['"Entwürfe" (MESSAGES 0)'.encode()]
        client.literal = UTF8_MAIL
        assert client._simple_command("APPEND", '"Entwürfe"')[0] == "OK"
        assert client.select('"Entwürfe"') == ("OK", [b"1"])
        for key, text in (("SUBJECT", "Köln"), ("FROM", "ZOË"), ("BODY", "SCHÖNE"), ("TEXT", "zoë@d.test")):
            assert client.search(None, key, f'"{text}"') == ("OK", [b"1"]), key
            client.literal = text.encode()
            assert client.search(None, key) == ("OK", [b"1"]), key
        assert client.search(None, "SUBJECT", '"Koeln"') == ("OK", [b""])
        with pytest.raises(imaplib.IMAP4.error, match="names no charset"):
            client._simple_command("SEARCH", "CHARSET", "UTF-8", "ALL")
        whole = client.fetch("1", "(BODY[])")[1][0]
        assert whole[1] == UTF8_MAIL
        for item in ("ENVELOPE", "BODYSTRUCTURE"):
            pieces = client.fetch("1", f"({item})")[1]
            words = b"".join(piece if isinstance(piece, bytes) else b"".join(piece) for piece in pieces)
            assert ("größe.txt" if item == "BODYSTRUCTURE" else "Grüße aus Köln").encode() in words
        assert client.getquotaroot('"Entwürfe"')[0] == "OK"
        assert client.rename('"Entwürfe"', '"Ältere"')[0] == "OK"
        assert client.copy("1", '"Ältere/März"')[0] == "OK"


async def test_imaplib_in_utf8(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice") as world, _listening(world) as port:
        await asyncio.to_thread(_with_utf8, port)
        client = await world.selected("alice", "&AMQ-ltere")  # who has not enabled it sees names as ever
        assert (await client.ok('LIST "" "&AMQ-*"'))[0].endswith(b'"&AMQ-ltere"')
        (line,) = await client.ok("FETCH 1 ENVELOPE")
        assert line.isascii() or b"{" in line, "octets beyond ASCII in literals only"


def _with_imapclient(port: int, *, tls: bool) -> None:
    context = client_context()
    with IMAPClient("127.0.0.1", port, ssl=tls, ssl_context=context, timeout=20) as client:
        if not tls:
            assert b"STARTTLS" in client.capabilities()
            client.starttls(context)
            assert b"STARTTLS" not in client.capabilities()
        client.login(ALICE, PASSWORD)
        assert client.has_capability("UIDPLUS")
        names = {name for _, _, name in client.list_folders()}
        assert names == {"INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"}
        client.create_folder("Entwürfe/März")
        assert client.folder_exists("Entwürfe/März")
        client.select_folder("INBOX")
        client.append("INBOX", message("one"), flags=[b"$Label"])
        (uid,) = client.search(["KEYWORD", "$Label"])
        found = client.fetch([uid], ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "INTERNALDATE", "RFC822.SIZE"])[uid]
        assert found[b"ENVELOPE"].subject == b"one"
        assert found[b"RFC822.SIZE"] == len(message("one"))
        assert found[b"BODYSTRUCTURE"][:2] == (b"text", b"plain")
        client.idle()
        with IMAPClient("127.0.0.1", port, ssl=tls, ssl_context=context, timeout=20) as other:
            if not tls:
                other.starttls(context)
            other.login(ALICE, PASSWORD)
            other.append("INBOX", message("two"))
        assert (2, b"EXISTS") in client.idle_check(timeout=20)
        client.idle_done()
        client.move([uid], "Trash")
        client.rename_folder("Entwürfe", "Old")
        assert client.folder_exists("Old/März")


async def test_imapclient_with_starttls(tmp_path: Path, certificate: ssl.SSLContext) -> None:
    async with make_world(tmp_path, "alice", tls=certificate) as world, _listening(world) as port:
        await asyncio.to_thread(_with_imapclient, port, tls=False)


async def test_imapclient_with_tls_from_the_start(tmp_path: Path, certificate: ssl.SSLContext) -> None:
    async with make_world(tmp_path, "alice", tls=certificate) as world, _listening(world, certificate) as port:
        await asyncio.to_thread(_with_imapclient, port, tls=True)


def _injects(port: int) -> bytes:
    """What comes back when a command is slipped in behind STARTTLS, before TLS."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.recv(4096)
        raw.sendall(b"a STARTTLS\r\nb CAPABILITY\r\n")
        got = b""
        while piece := raw.recv(4096):
            got += piece
        return got


async def test_nothing_is_taken_from_before_tls(tmp_path: Path, certificate: ssl.SSLContext) -> None:
    async with make_world(tmp_path, "alice", tls=certificate) as world, _listening(world) as port:
        got = await asyncio.to_thread(_injects, port)
        assert got == b"a OK Begin TLS negotiation now\r\n", "and the connection has ended"
