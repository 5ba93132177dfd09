"""Where new nodes join, at a port of its own: one question and one answer a connection, in TLS that asks for no
certificate. What a question proves, and what it gets, is the registrar's business.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.distribution.cluster.joining import Admit
from rookery.distribution.cluster.messages import MESSAGE_LIMIT
from rookery.net.accepting import Accepting, bound
from rookery.net.listener import Networks, contains

TIME = 10.0  # seconds for all of it
CONNECTIONS = 32  # at the same time
_LENGTH = struct.Struct(">I")

log = logger("cluster")


class Desk:
    """`answer` never raises RookeryError. Who is not allowed costs no handshake."""

    def __init__(self, context: ssl.SSLContext, allow: Networks, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._context = context
        self._allow = allow
        self._answer = answer
        self._accepting: Accepting | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, addresses: Sequence[str], port: int) -> None:
        """Raises OSError."""
        self._accepting = Accepting(bound(addresses, port), "join", self._take)

    @property
    def ports(self) -> list[int]:
        return [] if self._accepting is None else self._accepting.ports

    async def close(self) -> None:
        if self._accepting is not None:
            self._accepting.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, connection: socket.socket, address: str) -> None:
        if not contains(self._allow, address) or len(self._tasks) >= CONNECTIONS:
            log.info("refused", listener="join", address=address)
            connection.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(connection, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(MESSAGE_LIMIT, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout(TIME):
                transport, _ = await loop.connect_accepted_socket(
                    lambda: protocol, connection, ssl=self._context, ssl_handshake_timeout=TIME
                )
                writer = asyncio.StreamWriter(transport, protocol, reader, loop)
                answer = await self._answer(await _read(reader))
                writer.write(_LENGTH.pack(len(answer)) + answer)
                await writer.drain()
        except (TimeoutError, OSError, EOFError, RookeryError) as error:
            log.info("not-answered", listener="join", address=address, error=type(error).__name__)
        finally:
            if transport is None:
                connection.close()
            else:
                transport.close()


async def ask(address: str, context: ssl.SSLContext, admit: Admit, question: bytes) -> bytes:
    """Implements joining.Ask."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(TIME):
            reader, writer = await asyncio.open_connection(
                host.strip("[]"), int(port), ssl=context, server_hostname="", limit=MESSAGE_LIMIT
            )
            try:
                admit(writer.get_extra_info("ssl_object"))
                writer.write(_LENGTH.pack(len(question)) + question)
                return await _read(reader)
            finally:
                writer.close()
    except TimeoutError as error:
        raise OSError(f"no answer within {TIME:.0f} s") from error


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Raises EOFError, RookeryError(TOO_BIG)."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MESSAGE_LIMIT:
        raise RookeryError(Cause.TOO_BIG, f"a message of joining has at most {MESSAGE_LIMIT} octets")
    return await reader.readexactly(length)
