"""Where new nodes join, at a port of its own: one question and one answer a connection, in TLS that asks for no
certificate. What a question proves, and what it gets, is the registrar's business.
"""

import asyncio
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.distribution.cluster.joining import Admit
from rookery.distribution.cluster.messages import MESSAGE_LIMIT
from rookery.net.listener import Networks, contains

TIME = 10.0  # seconds for all of it
CONNECTIONS = 32  # at the same time
_LENGTH = struct.Struct(">I")

log = logger("cluster")


class Desk:
    """`answer` never raises RookeryError."""

    def __init__(self, context: ssl.SSLContext, allow: Networks, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._context = context
        self._allow = allow
        self._answer = answer
        self._servers: list[asyncio.Server] = []
        self._connections = 0

    async def start(self, addresses: Sequence[str], port: int) -> None:
        """Raises OSError."""
        for address in addresses:
            self._servers.append(
                await asyncio.start_server(
                    self._serve, address, port, ssl=self._context, limit=MESSAGE_LIMIT, ssl_handshake_timeout=TIME
                )
            )

    async def close(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = str((writer.get_extra_info("peername") or ("",))[0])
        if not contains(self._allow, address) or self._connections >= CONNECTIONS:
            log.info("refused", listener="join", address=address)
            writer.transport.abort()
            return
        self._connections += 1
        try:
            async with asyncio.timeout(TIME):
                answer = await self._answer(await _read(reader))
                writer.write(_LENGTH.pack(len(answer)) + answer)
                await writer.drain()
        except (TimeoutError, OSError, EOFError, RookeryError) as error:
            log.info("not-answered", listener="join", address=address, error=type(error).__name__)
        finally:
            self._connections -= 1
            writer.close()


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
