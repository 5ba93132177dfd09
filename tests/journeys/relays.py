"""Ways between nodes that need no privileges: each node's cluster port is dialled at a relay, which can be cut.

relays = Relays({"n1": "127.0.8.1", "f1": "127.0.8.3"})         # the addresses that nodes dial from: cluster.local
relays.before("n1", ("127.0.8.101", 7143), ("127.0.8.1", 7143))  # n1 is dialled there: cluster.announce
relays.cut("f1", "n1")                                           # nothing arrives any more, and nothing is refused
relays.heal()

What is held up by a cut arrives when it is healed, as what TCP sends again would; unless its connection has ended.
"""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

Where = tuple[str, int]
T = TypeVar("T")


class Relays:
    """On a thread of its own. `nodes`: by name, the address that each dials from."""

    def __init__(self, nodes: Mapping[str, str]) -> None:
        self._names = {address: name for name, address in nodes.items()}
        self._cut: set[frozenset[str]] = set()
        self._changed = asyncio.Condition()
        self._servers: list[asyncio.Server] = []
        self._serving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def before(self, node: str, at: Where, to: Where) -> None:
        """Take connections there, for the node that is here."""

        def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._take(node, to, reader, writer))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

        async def serve() -> None:
            self._servers.append(await asyncio.start_server(take, *at))

        self._run(serve())

    def cut(self, one: str, *others: str) -> None:
        """Between the one and each of the others, both ways."""
        self._run(self._set(self._cut | {frozenset((one, other)) for other in others}))

    def heal(self) -> None:
        self._run(self._set(set()))

    def close(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- on the thread ---

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _set(self, cut: set[frozenset[str]]) -> None:
        async with self._changed:
            self._cut = cut
            self._changed.notify_all()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _open(self, way: frozenset[str]) -> None:
        """Wait until it is not cut."""
        async with self._changed:
            await self._changed.wait_for(lambda: way not in self._cut)

    async def _take(self, node: str, to: Where, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialler = self._names.get(writer.get_extra_info("peername")[0], "")
        way = frozenset((dialler, node))
        ends = [writer]
        try:
            await self._open(way)
            inward, outward = await asyncio.open_connection(*to)
            ends.append(outward)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(way, reader, outward))
                group.create_task(self._pass(way, inward, writer))
        except* OSError:
            pass  # the node is not there
        finally:
            for end in ends:
                end.transport.abort()

    async def _pass(self, way: frozenset[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Whoever ends the connection ends it for both: nodes do not close halves. Raises ConnectionError then."""
        while data := await reader.read(65536):
            await self._open(way)
            writer.write(data)
            with suppress(OSError):
                await writer.drain()
        await self._open(way)
        raise ConnectionError
