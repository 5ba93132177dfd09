"""Listening sockets that are read by us and not by the loop's servers, so that who may not connect costs one `accept`:
nothing is allocated for it, and no TLS begins.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence

from rookery.base.log import logger

BACKLOG = 1024  # connections the kernel keeps for us
ACCEPTS = 64  # taken in one turn of the loop
PAUSE = 0.5  # seconds without accepting when descriptors have run out
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logger("net")


def bound(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """Listening at `port` (0: any free one, the same for all) of every address.

    Raises OSError, naming address and port, and then nothing is open.
    """
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets.append(_bound(address, port))
            port = port or sockets[0].getsockname()[1]
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise OSError(error.errno, f"cannot listen on {address} port {port}: {error.strerror}") from error
    return sockets


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


class Accepting:
    """`take` is handed each connection, not blocking, and the address that it comes from."""

    def __init__(self, sockets: Sequence[socket.socket], name: str, take: Callable[[socket.socket, str], None]) -> None:
        self._sockets = list(sockets)
        self._name = name
        self._take = take
        self._loop = asyncio.get_running_loop()
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self.accept, listening)

    @property
    def ports(self) -> list[int]:
        return [listening.getsockname()[1] for listening in self._sockets]

    def accept(self, listening: socket.socket) -> None:
        """Called by the loop when connections wait."""
        for _ in range(ACCEPTS):
            try:
                connection, name = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    log.error("cannot-accept", listener=self._name, error=str(error))
                    self._loop.remove_reader(listening.fileno())
                    self._loop.call_later(PAUSE, self._resume, listening)
                    return
                continue  # that one was gone before we took it
            connection.setblocking(False)
            self._take(connection, str(name[0]).removeprefix("::ffff:"))

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self.accept, listening)

    def stop(self) -> None:
        """What waits in the kernel's hands is refused."""
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        self._sockets.clear()
