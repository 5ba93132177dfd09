"""IMAP clients that do as little as possible themselves: blocking sockets, search for the tagged line."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from types import TracebackType

from bench.peers.base import PASSWORD, address

HEADERS = (
    b"Return-Path: <sender@elsewhere.test>\r\nReceived: from mx.elsewhere.test (mx.elsewhere.test [192.0.2.1])\r\n"
    b"\tby mx.example.test with ESMTPS id 0123456789ab; Mon, 02 Nov 2026 10:00:00 +0000\r\n"
    b"From: Some Sender <sender@elsewhere.test>\r\nTo: user0@example.test, Other <other@example.test>\r\n"
    b"Subject: measurement number %d\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <%d@elsewhere.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
)
LINE = b"All work and no play makes a mail server a dull place to keep one's letters.\r\n"


def message(number: int, size: int = 4096) -> bytes:
    head = HEADERS % (number, number)
    return head + LINE * max(1, (size - len(head)) // len(LINE))


_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # making one takes longer than a handshake
_TLS.check_hostname = False
_TLS.verify_mode = ssl.CERT_NONE


class Imap:
    """One connection. Commands return all octets through the tagged line; RuntimeError on NO or BAD."""

    def __init__(self, port: int, *, tls: bool = False) -> None:
        raw = socket.create_connection(("127.0.0.1", port), timeout=300)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = raw
        if tls:
            self._socket = _TLS.wrap_socket(raw)
        self._count = 0
        self._until(b"* OK")

    def __enter__(self) -> "Imap":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        self._socket.close()

    def _until(self, mark: bytes) -> bytearray:
        got = bytearray()
        while True:
            data = self._socket.recv(262144)
            if not data:
                raise RuntimeError(f"connection closed while waiting for {mark!r}: {bytes(got[-200:])!r}")
            got += data
            # the tagged line is the last one, so the search need not look further back than this
            if got.endswith(b"\r\n") and (
                got.startswith(mark) or got.rfind(b"\r\n" + mark, max(0, len(got) - 4096)) >= 0
            ):
                return got

    def command(self, text: bytes, literal: bytes | None = None) -> bytearray:
        self._count += 1
        tag = b"A%d " % self._count
        self._socket.sendall(tag + text + b"\r\n")
        if literal is not None:
            self._until(b"+")
            self._socket.sendall(literal + b"\r\n")
        got = self._until(tag)
        if not got.startswith(tag + b"OK") and got.rfind(b"\r\n" + tag + b"OK") < 0:
            raise RuntimeError(f"{text[:60]!r}: {bytes(got[-200:])!r}")
        return got

    def login(self, number: int) -> None:
        self.command(b"LOGIN %s %s" % (address(number).encode(), PASSWORD.encode()))

    def idle(self) -> None:
        self._socket.sendall(b"I IDLE\r\n")
        self._until(b"+")


def fill(port: int, account: int, mailbox: str, count: int) -> float:
    """APPEND `count` messages of 4 kB over one connection; messages per second."""
    with Imap(port) as imap:
        imap.login(account)
        imap.command(b"CREATE " + mailbox.encode()) if mailbox != "INBOX" else None
        started = time.perf_counter()
        for n in range(count):
            body = message(n)
            imap.command(b"APPEND %s {%d}" % (mailbox.encode(), len(body)), body)
        return count / (time.perf_counter() - started)


def parallel_append_rate(port: int, connections: int = 20, each: int = 50) -> float:
    """APPENDs per second over several connections, an account each."""

    def work(n: int) -> None:
        fill(port, n, "INBOX", each)

    return connections * each / _in_parallel(work, connections)


def login_rate(port: int, connections: int = 10, each: int = 40, *, tls: bool = False) -> float:
    """Connect, LOGIN, LOGOUT; cycles per second."""

    def work(n: int) -> None:
        for _ in range(each):
            with Imap(port, tls=tls) as imap:
                imap.login(n)
                imap.command(b"LOGOUT")

    return connections * each / _in_parallel(work, connections)


def command_rate(port: int, account: int, mailbox: str, commands: list[bytes], work: int, rounds: int = 1) -> float:
    """Units of work per second, where all `commands` together are `work` units. SELECT is not counted."""
    with Imap(port) as imap:
        imap.login(account)
        imap.command(b"SELECT " + mailbox.encode())
        started = time.perf_counter()
        for _ in range(rounds):
            for text in commands:
                imap.command(text)
        return rounds * work / (time.perf_counter() - started)


def fetch_rate(port: int, account: int, size: int, *, tls: bool = False, times: int = 5) -> float:
    """FETCH of the first message's body, of `size` octets; MB (10^6) per second."""
    with Imap(port, tls=tls) as imap:
        imap.login(account)
        imap.command(b"SELECT INBOX")
        started = time.perf_counter()
        for _ in range(times):
            imap.command(b"FETCH 1 (BODY.PEEK[])")
        return times * size / (time.perf_counter() - started) / 1e6


def select_rate(port: int, account: int, mailbox: str, rounds: int = 100) -> float:
    with Imap(port) as imap:
        imap.login(account)
        started = time.perf_counter()
        for _ in range(rounds):
            imap.command(b"SELECT " + mailbox.encode())
        return rounds / (time.perf_counter() - started)


def open_idle(port: int, count: int, *, tls: bool, accounts: int = 50) -> list[Imap]:
    """`count` connections, logged in, INBOX selected, in IDLE. The caller closes them."""
    held = []
    for n in range(count):
        imap = Imap(port, tls=tls)
        imap.login(n % accounts)
        imap.command(b"SELECT INBOX")
        imap.idle()
        held.append(imap)
    return held


def close_all(held: list[Imap]) -> None:
    for imap in held:
        with closing(imap._socket):
            pass


def _in_parallel(work: Callable[[int], None], count: int) -> float:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started
