"""Connecting to a host: one address, one attempt, one time limit. Which address to try next is the caller's."""

import asyncio
import socket
from pathlib import Path
from typing import Protocol

from rookery.net.sockets import SocketStream
from rookery.net.stream import Stream

PATH_TIMEOUT = 5.0  # seconds
UNANSWERED = 0.7  # seconds for an attempt to be answered, or refused, before another is made


class Dial(Protocol):
    """Raises OSError (TimeoutError among them) when there is no connection within `timeout` seconds."""

    async def __call__(self, address: str, port: int, timeout: float) -> Stream: ...


async def dial(address: str, port: int, timeout: float) -> Stream:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout):
        _, stream = await loop.create_connection(SocketStream, address, port)
    return stream


async def connect_soon(address: str, port: int, local: str = "") -> socket.socket:
    """A connection, however long it takes; `local`: our address for it. Raises OSError when it is refused.

    An attempt that nobody answers is given up and made again: the kernel would wait longer each time before it asks
    again, and a network that is whole once more is to be used at once.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    while True:
        failure: OSError | None = None
        for family, kind, protocol, _, where in found:
            made = socket.socket(family, kind, protocol)
            try:
                made.setblocking(False)
                if local:
                    made.bind((local, 0))
                async with asyncio.timeout(UNANSWERED):
                    await loop.sock_connect(made, where)
            except OSError as error:
                made.close()
                failure = error if failure is None or isinstance(error, TimeoutError) else failure
            except BaseException:
                made.close()
                raise
            else:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return made
        if failure is not None and not isinstance(failure, TimeoutError):
            raise failure


async def dial_path(path: Path) -> Stream:
    """A socket of this machine. Raises OSError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATH_TIMEOUT):
        _, stream = await loop.create_unix_connection(SocketStream, str(path))
    return stream
