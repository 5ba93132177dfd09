"""Accepting connections: limits, PROXY headers and TLS come before any session exists.

The listening sockets are read by us and not by the loop's servers, so that a refusal costs one `send` and no transport,
a PROXY header can be taken off before TLS begins, and running out of file descriptors is a pause and not a spin.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeAlias

from rookery.base.log import logger
from rookery.net.accepting import Accepting, bound
from rookery.net.limits import Admission, Admissions, ConnectionLimits, Key, Refused, Total, nowhere
from rookery.net.sockets import CLOSING_TIME, HANDSHAKE_TIME, SocketStream, nothing
from rookery.net.stream import Interrupted, Peer, Stream
from rookery.net.wheel import Wheel, shared_wheel
from rookery.wire.proxy import NotProxy, ProxyHeader, read_header

Networks: TypeAlias = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
Serve: TypeAlias = Callable[[Stream], Awaitable[None]]

PROXY_TIME = 5.0  # seconds for a PROXY header

log = logger("net")


def contains(networks: Networks, address: str) -> bool:
    """Whether an address, as text, is in one of `networks`."""
    if not networks:
        return False
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(found in network for network in networks)


class Listener:
    """Made by `listen`. One protocol on one port of one or more addresses."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        serve: Serve,
        *,
        name: str,
        admissions: Admissions,
        wheel: Wheel,
        tls: ssl.SSLContext | None = None,
        proxy_from: Networks = (),
        refusal: bytes = b"",
        give_way: Callable[[], None] = nothing,
    ) -> None:
        self._serve = serve
        self._name = name
        self._admissions = admissions
        self._wheel = wheel
        self._tls = tls
        self._proxy_from = proxy_from
        self._refusal = b"" if tls else refusal
        self._give_way = give_way
        self._loop = asyncio.get_running_loop()
        self._sessions: dict[asyncio.Task[None], SocketStream | None] = {}
        self._draining = False
        self.accepting = Accepting(sockets, name, self._take)

    @property
    def ports(self) -> list[int]:
        return self.accepting.ports

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    def counted(self) -> Iterator[tuple[Key, int]]:
        """Connections by client, of those that have a tenth of what one may have."""
        return self._admissions.counted(max(1, self._admissions.limits.per_address // 10))

    # --- taking connections

    def _take(self, connection: socket.socket, address: str) -> None:
        admission = None
        if not contains(self._proxy_from, address):
            admission = self._admit(connection, address)
            if admission is None:
                return
        elif self._admissions.total.count >= self._admissions.total.limit:
            self._refuse(connection, address, Refused("connections"))
            return
        task = self._loop.create_task(self._session(connection, admission, address))
        self._sessions[task] = None
        task.add_done_callback(self._ended)

    def _admit(self, connection: socket.socket, address: str) -> Admission | None:
        answer = self._admissions.admit(address)
        if isinstance(answer, Admission):
            return answer
        self._refuse(connection, address, answer)
        return None

    def _refuse(self, connection: socket.socket, address: str, refused: Refused) -> None:
        say = log.info if refused.first else log.debug
        say("connection-refused", listener=self._name, address=address, limit=refused.why)
        try:
            if self._refusal:
                connection.send(self._refusal)
        except OSError:
            pass  # it does not want to know
        connection.close()

    # --- one connection

    async def _session(self, connection: socket.socket, admission: Admission | None, address: str) -> None:
        task = asyncio.current_task()
        peer = local = None
        try:
            if admission is None:  # a proxy we trust: then a header is required
                peer, local = await self._named(connection)
                admission = self._admit(connection, peer.address if peer else address)
                if admission is None:
                    return
            stream = SocketStream(
                wheel=self._wheel,
                peer=peer,
                local=local,
                give_way=self._give_way,
                lost=admission.release,
                promoted=admission.promote,
            )
            await self._open(connection, stream)
        except OSError as error:
            log.debug("not-connected", listener=self._name, address=address, error=str(error))
            connection.close()
            if admission is not None:
                admission.release()
            return
        except asyncio.CancelledError:
            connection.close()
            if admission is not None:
                admission.release()
            raise
        del connection, admission, peer, local
        if task is not None:
            self._sessions[task] = stream
        if self._draining:
            stream.interrupt()
        try:
            await self._serve(stream)
        except Interrupted:
            pass  # it had no last word
        finally:
            stream.close()

    async def _open(self, connection: socket.socket, stream: SocketStream) -> None:
        """TLS included, if it is TLS from the first octet. Raises OSError."""
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            await self._loop.connect_accepted_socket(lambda: stream, connection)
            return
        await self._loop.connect_accepted_socket(
            lambda: stream,
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_TIME,
            ssl_shutdown_timeout=CLOSING_TIME,
        )

    async def _named(self, connection: socket.socket) -> tuple[Peer | None, Peer | None]:
        """Take the PROXY header off, and not one octet more. Raises ConnectionError or TimeoutError."""
        async with asyncio.timeout(PROXY_TIME):
            data = b""
            while True:
                await self._readable(connection)
                try:
                    seen = connection.recv(4096, socket.MSG_PEEK)
                except (BlockingIOError, InterruptedError):
                    continue
                if not seen:
                    raise ConnectionAbortedError("ended before its PROXY header")
                answer = read_header(data + seen)
                if isinstance(answer, NotProxy):
                    raise ConnectionAbortedError(answer.reason)
                if isinstance(answer, ProxyHeader):
                    connection.recv(answer.length - len(data))
                    source, destination = answer.source, answer.destination
                    return Peer(*source) if source else None, Peer(*destination) if destination else None
                data += connection.recv(len(seen))

    async def _readable(self, connection: socket.socket) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        number = connection.fileno()
        self._loop.add_reader(number, _wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(number)

    def _ended(self, task: asyncio.Task[None]) -> None:
        stream = self._sessions.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            if stream is not None:
                stream.abort()
            log.error("session-failed", listener=self._name, error=f"{type(error).__name__}: {error}", at=_place(error))

    # --- the end

    def stop_accepting(self) -> None:
        self.accepting.stop()

    async def drain(self, seconds: float = 10.0) -> int:
        """Take no more, ask every session to end after its current command, and end those that have not in `seconds`.

        Returns how many had to be ended.
        """
        self.stop_accepting()
        self._draining = True
        for task, stream in list(self._sessions.items()):
            if stream is None:
                task.cancel()
            else:
                stream.interrupt()
        waiting = set(self._sessions)
        if waiting and seconds > 0:
            _, waiting = await asyncio.wait(waiting, timeout=seconds)
        return await self._end(waiting)

    async def close(self) -> None:
        """End everything now."""
        self.stop_accepting()
        self._draining = True
        await self._end(set(self._sessions))

    async def _end(self, tasks: set[asyncio.Task[None]]) -> int:
        for task in tasks:
            stream = self._sessions.get(task)
            task.cancel()
            if stream is not None:
                stream.abort()
        if tasks:
            await asyncio.wait(tasks)
        return len(tasks)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _place(error: BaseException) -> list[str]:
    """Where it was raised, innermost last: file and line, nothing of the data."""
    places, step = [], error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('rookery/')[2]}:{step.tb_lineno}")
        step = step.tb_next
    return places[-5:]


async def listen(
    addresses: Sequence[str],
    port: int,
    serve: Serve,
    *,
    name: str,
    limits: ConnectionLimits,
    total: Total | None = None,
    tls: ssl.SSLContext | None = None,
    proxy_from: Networks = (),
    refusal: bytes = b"",
    give_way: Callable[[], None] = nothing,
    elsewhere: Callable[[Key, int], int] = nowhere,
    wheel: Wheel | None = None,
) -> Listener:
    """Serve `port` (0: any free one, the same for all) of every address. `tls`: from the first octet.

    `refusal` is the one line for a peer that gets no connection. Raises OSError, naming address and port, and then
    nothing is open.
    """
    return Listener(
        bound(addresses, port),
        serve,
        name=name,
        admissions=Admissions(limits, total or Total(), elsewhere),
        wheel=shared_wheel() if wheel is None else wheel,
        tls=tls,
        proxy_from=proxy_from,
        refusal=refusal,
        give_way=give_way,
    )
