"""Two streams that are each other's peer, without a socket: LMTP from the queue to the store of the same process."""

import asyncio
import ssl

from rookery.net.inbox import READ_LIMIT, Inbox
from rookery.net.stream import Peer, TlsFacts
from rookery.net.wheel import Wheel, shared_wheel

_NOBODY = Peer("")


class MemoryStream(Inbox):
    """One end. What is written is at once in the other end's hands; `drain` waits until that has read."""

    __slots__ = ("_other", "local", "peer", "tls")

    def __init__(self, wheel: Wheel, peer: Peer, local: Peer) -> None:
        super().__init__(wheel, asyncio.get_running_loop())
        self._other: MemoryStream | None = None
        self.peer = peer
        self.local = local
        self.tls: TlsFacts | None = None

    def join(self, other: "MemoryStream") -> None:
        self._other = other

    def write(self, data: bytes) -> None:
        other = self._other
        if other is not None and data:
            other._arrived(data)

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        """There is nobody in between. Always raises ConnectionError."""
        raise ConnectionError("no TLS in memory")

    def authenticated(self) -> None:
        self.deadline = 0.0

    def urge(self) -> bool:
        other = self._other
        if other is not None:
            other.interrupt()
        return other is not None

    def close(self) -> None:
        other, self._other = self._other, None
        self._wheel.forget(self)
        self._end()
        self._drained()
        if other is not None:
            other._left_alone()

    def abort(self) -> None:
        self.close()

    def _left_alone(self) -> None:
        self._other = None
        self._wheel.forget(self)
        self._end()
        self._drained()

    @property
    def gone(self) -> bool:
        return self._other is None

    def _clogged(self) -> bool:
        other = self._other
        return other is not None and len(other._data) > READ_LIMIT

    def _let_in(self) -> None:
        other = self._other
        if other is not None:
            other._drained()


def memory_pipe(
    *, wheel: Wheel | None = None, client: Peer = _NOBODY, server: Peer = _NOBODY
) -> tuple[MemoryStream, MemoryStream]:
    """(client's end, server's end); `client` and `server` are what the other end takes each for."""
    wheel = shared_wheel() if wheel is None else wheel
    near = MemoryStream(wheel, peer=server, local=client)
    far = MemoryStream(wheel, peer=client, local=server)
    near.join(far)
    far.join(near)
    return near, far
