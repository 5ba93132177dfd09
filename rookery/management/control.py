"""The control socket: operations over a Unix socket of the site that only its owner may open (protocol.py).

Bounded: `LINE_LIMIT` octets a request, `CONNECTION_LIMIT` connections, one request at a time each.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.log import logger
from rookery.management.operations.registry import Operation, by_name
from rookery.management.protocol import CONNECTION_LIMIT, LINE_LIMIT, Answer, Request, socket_path

_log = logger("control")


class ControlServer:
    """Serves until closed. `run` is handed each operation with its decoded arguments."""

    def __init__(self, path: Path, run: Callable[[Operation, msgspec.Struct], Awaitable[object]]) -> None:
        self._path = path
        self._run = run
        self._connections = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """The store's lock is held by now, so a socket that lies here is a dead node's."""
        self._path.unlink(missing_ok=True)
        address, folder = socket_path(self._path)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, address, limit=LINE_LIMIT)
        finally:
            os.umask(before)
            if folder is not None:
                os.close(folder)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._connections += 1
        try:
            if self._connections > CONNECTION_LIMIT:
                await _answer(writer, Answer(refused=Refusal(Cause.TOO_MANY, "too many commands at once; try again")))
                return
            while (line := await _line(reader)).endswith(b"\n"):
                await _answer(writer, await self._one(line))
        except RookeryError as error:
            await _answer(writer, Answer(refused=error.refusal))
        except OSError:
            pass  # the client went away; what it asked for was done or refused
        finally:
            self._connections -= 1
            writer.close()

    async def _one(self, line: bytes) -> Answer:
        try:
            request = msgspec.json.decode(line, type=Request)
            found = by_name(request.operation)
            arguments = msgspec.json.decode(request.arguments, type=found.arguments)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return Answer(refused=Refusal(Cause.INVALID, str(error)))
        except RookeryError as error:
            return Answer(refused=error.refusal)
        try:
            result = await self._run(found, arguments)
        except RookeryError as error:
            _log.info("refused", operation=found.name, cause=error.cause.value, what=error.what)
            return Answer(refused=error.refusal)
        _log.debug("done", operation=found.name)
        return Answer(result=msgspec.Raw(msgspec.json.encode(result)))


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:
        raise RookeryError(Cause.TOO_BIG, f"a request has at most {LINE_LIMIT} octets") from None


async def _answer(writer: asyncio.StreamWriter, answer: Answer) -> None:
    writer.write(msgspec.json.encode(answer) + b"\n")
    await writer.drain()
