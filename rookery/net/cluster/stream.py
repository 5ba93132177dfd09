"""One stream of a link, as everything above sees streams: the client's address and TLS are those of its preface."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Protocol

from rookery.base.errors import Cause, Refusal
from rookery.net.inbox import Inbox
from rookery.net.stream import Peer, TlsFacts
from rookery.net.wheel import Wheel
from rookery.wire.cluster.values import Preface, Referral

WRITE_LIMIT = 64 * 1024  # octets without credit at which `drain` begins to wait
ABORTED = Refusal(Cause.UNAVAILABLE, "aborted")


class Carrier(Protocol):
    """The link, as its streams see it."""

    def send(self, stream: "LinkStream", data: bytes | memoryview) -> int:
        """How many octets were taken. `LinkStream.push` is called when there is credit or room again."""
        ...

    def consumed(self, stream: "LinkStream", octets: int) -> None: ...

    def urge(self, stream: "LinkStream") -> bool: ...

    def finish(self, stream: "LinkStream") -> None:
        """Everything was sent, and nothing more comes from here."""
        ...

    def refer(self, stream: "LinkStream", referral: Referral) -> None: ...

    def reset(self, stream: "LinkStream", refusal: Refusal) -> None: ...

    def leave(self, stream: "LinkStream") -> None:
        """It is closed here: what was written is still sent, for so long as a peer may take."""
        ...


class LinkStream(Inbox):
    """Made by a link. `refusal` says why it was reset or lost, `referral` where it goes on, if that is how it ended.

    After `close` what was written is sent as the peer grants, then END; a peer that does not end too, or takes too
    long, is reset.
    """

    __slots__ = (
        "_carrier",
        "_closed",
        "_finish",
        "_over",
        "_unsent",
        "_waiting",
        "local",
        "number",
        "peer",
        "preface",
        "referral",
        "refusal",
        "tls",
    )

    def __init__(
        self,
        carrier: Carrier,
        number: int,
        preface: Preface,
        *,
        wheel: Wheel,
        loop: asyncio.AbstractEventLoop,
        peer: Peer,
        local: Peer,
        tls: TlsFacts | None,
    ) -> None:
        super().__init__(wheel, loop)
        self._carrier = carrier
        self._waiting: deque[bytes | memoryview] = deque()
        self._unsent = 0  # octets waiting
        self._closed = False  # nothing more is written
        self._over = False  # nothing comes any more either
        self._finish: Callable[[], None] | None = None  # when everything is sent
        self.number = number
        self.preface = preface
        self.peer = peer
        self.local = local
        self.tls = tls
        self.refusal: Refusal | None = None
        self.referral: Referral | None = None

    # --- the stream

    def write(self, data: bytes) -> None:
        if self._closed or not data:
            return
        taken = 0 if self._unsent else self._carrier.send(self, data)
        if taken < len(data):
            self._waiting.append(memoryview(data)[taken:] if taken else data)
            self._unsent += len(data) - taken

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        """TLS with the client ended where the stream began. Always raises ConnectionError."""
        raise ConnectionError("no TLS within a link")

    def authenticated(self) -> None:
        self.deadline = 0.0

    def urge(self) -> bool:
        return self._carrier.urge(self)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._data = b""
        self._end()
        self._carrier.leave(self)
        self._last(lambda: self._carrier.finish(self))

    def refer(self, referral: Referral) -> None:
        """End it here after what was written; the peer goes on elsewhere. Raises RookeryError(TOO_BIG)."""
        if self._closed:
            return
        self._closed = True
        self._carrier.leave(self)
        self._last(lambda: self._carrier.refer(self, referral))

    def abort(self) -> None:
        self.reset(ABORTED)

    def reset(self, refusal: Refusal) -> None:
        """End it now, both ways, and say why."""
        if not self._over:
            self._carrier.reset(self, refusal)

    @property
    def gone(self) -> bool:
        return self._closed

    def _clogged(self) -> bool:
        return self._unsent > WRITE_LIMIT

    def _took(self, octets: int) -> None:
        super()._took(octets)
        self._carrier.consumed(self, octets)

    # --- for the link

    def arrived(self, data: bytes) -> None:
        if not self._closed:
            self._arrived(data)

    def ended(self) -> None:
        """The peer sends no more."""
        self._end()

    def push(self) -> None:
        """There may be credit and room: send what waits."""
        waiting, carrier = self._waiting, self._carrier
        while waiting:
            piece = waiting[0]
            taken = carrier.send(self, piece)
            self._unsent -= taken
            if taken < len(piece):
                if taken:
                    waiting[0] = memoryview(piece)[taken:]
                break
            waiting.popleft()
        if not waiting and self._finish is not None:
            finish, self._finish = self._finish, None
            finish()
        if self._unsent <= WRITE_LIMIT:
            self._drained()

    def over(self, refusal: Refusal | None, referral: Referral | None = None, *, unread: bool = True) -> None:
        """Nothing comes or goes any more. `unread`: what has come may still be read."""
        self.refusal, self.referral = refusal, referral
        self._closed = self._over = True
        self._finish = None
        self._waiting.clear()
        self._unsent = 0
        if not unread:
            self._data = b""
        self._end()
        self._drained()
        self.due = 0.0
        self._wheel.forget(self)

    def _last(self, finish: Callable[[], None]) -> None:
        if self._unsent:
            self._finish = finish
        else:
            finish()
