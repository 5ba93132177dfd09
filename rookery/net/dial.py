"""Connecting to a host: one address, one attempt, one time limit. Which address to try next is the caller's."""

import asyncio
from pathlib import Path
from typing import Protocol

from rookery.net.sockets import SocketStream
from rookery.net.stream import Stream

PATH_TIMEOUT = 5.0  # seconds


class Dial(Protocol):
    """Raises OSError (TimeoutError among them) when there is no connection within `timeout` seconds."""

    async def __call__(self, address: str, port: int, timeout: float) -> Stream: ...


async def dial(address: str, port: int, timeout: float) -> Stream:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout):
        _, stream = await loop.create_connection(SocketStream, address, port)
    return stream


async def dial_path(path: Path) -> Stream:
    """A socket of this machine. Raises OSError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATH_TIMEOUT):
        _, stream = await loop.create_unix_connection(SocketStream, str(path))
    return stream
