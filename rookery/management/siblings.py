"""Deliveries from the other backends of this machine: LMTP on a socket file that only the site's owner may open.

Being able to open it is what shows that a delivery comes from a queue of ours, whose delivery ids are believed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from rookery.base.log import logger
from rookery.management.protocol import socket_path
from rookery.net.sockets import SocketStream
from rookery.net.stream import Stream

_log = logger("node")


class Siblings:
    """`serve` one stream; it may be cancelled."""

    def __init__(self, path: Path, serve: Callable[[Stream], Awaitable[None]]) -> None:
        self._path = path
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """The former process of this name is gone: what it left of its socket is removed."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        address, _ = socket_path(self._path)
        self._server = await loop.create_unix_server(partial(_Accepted, self._begin), address)

    def _begin(self, stream: Stream) -> None:
        task = asyncio.get_running_loop().create_task(self._session(stream))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)

    async def _session(self, stream: Stream) -> None:
        try:
            await self._serve(stream)
        except Exception as error:  # noqa: BLE001  one session's trouble is its own; logged
            _log.error("session-failed", listener="siblings", error=f"{type(error).__name__}: {error}")
        finally:
            stream.close()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._sessions):
            task.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions)
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


class _Accepted(SocketStream):
    __slots__ = ("_begin",)

    def __init__(self, begin: Callable[[Stream], None]) -> None:
        super().__init__()
        self._begin = begin

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._begin(self)
