"""/healthz and /metrics over HTTP/1.1, GET and HEAD only, one request a connection.

Not a web server: a head of at most 8 kB within 5 s, no bodies in, everything else is refused.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from rookery.base.errors import RookeryError

HEAD_LIMIT = 8192  # octets of a request line and its header fields
HEAD_TIME = 5.0  # seconds
CONNECTION_LIMIT = 32


class Page(NamedTuple):
    status: int
    kind: str  # its Content-Type
    text: bytes


_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


def _refuse(status: int) -> Page:
    return Page(status, "text/plain; charset=utf-8", f"{_REASONS[status]}\n".encode())


class HttpServer:
    """Serves `pages` (path -> what makes the page) until closed."""

    def __init__(self, pages: Mapping[str, Callable[[], Awaitable[Page]]]) -> None:
        self._pages = pages
        self._connections = 0
        self._server: asyncio.Server | None = None

    async def start(self, address: str, port: int) -> None:
        """Raises OSError when the port cannot be had."""
        self._server = await asyncio.start_server(self._serve, address, port, limit=HEAD_LIMIT)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections > CONNECTION_LIMIT:
                page, body = _refuse(503), True
            else:
                page, body = await self._answer(reader)
            head = (
                f"HTTP/1.1 {page.status} {_REASONS[page.status]}\r\nContent-Type: {page.kind}\r\n"
                f"Content-Length: {len(page.text)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + (page.text if body else b""))
            async with asyncio.timeout(HEAD_TIME):
                await writer.drain()
        except OSError:  # the client went away, or took nothing for too long (TimeoutError)
            pass
        finally:
            self._connections -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[Page, bool]:
        """The page, and whether its body is wanted."""
        try:
            async with asyncio.timeout(HEAD_TIME):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _refuse(431), True
        except TimeoutError:
            return _refuse(408), True
        except asyncio.IncompleteReadError:
            return _refuse(400), True
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _refuse(400), True
        method, path = words[0], words[1].split(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _refuse(405), True
        make = self._pages.get(path.decode("ascii", "replace"))
        try:
            page = await make() if make is not None else _refuse(404)
        except RookeryError as error:  # the database is away
            page = Page(503, "text/plain; charset=utf-8", f"{error.what or error.cause.value}\n".encode())
        return page, method == b"GET"
