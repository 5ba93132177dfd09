"""Connecting to a host: one address, one attempt, one time limit. Which address to try next is the caller's."""

import asyncio
from typing import Protocol

from rookery.net.sockets import SocketStream
from rookery.net.stream import Stream


class Dial(Protocol):
    """Raises OSError (TimeoutError among them) when there is no connection within `timeout` seconds."""

    async def __call__(self, address: str, port: int, timeout: float) -> Stream: ...


async def dial(address: str, port: int, timeout: float) -> Stream:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout):
        _, stream = await loop.create_connection(SocketStream, address, port)
    return stream
