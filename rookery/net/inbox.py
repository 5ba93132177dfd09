"""The waiting half of a stream: what has arrived, who waits, and until when. Shared by sockets and memory."""

import asyncio

from rookery.net.stream import Interrupted
from rookery.net.wheel import NOT_LISTED, Wheel

READ_LIMIT = 64 * 1024  # unread octets at which the sender is held back


class Inbox:
    """One reader and one drainer at a time. What feeds it calls `_arrived` and `_end`."""

    __slots__ = (
        "_data",
        "_drainer",
        "_ended",
        "_held",
        "_interrupted",
        "_loop",
        "_waiter",
        "_wheel",
        "deadline",
        "due",
        "idle",
        "listed",
    )

    def __init__(self, wheel: Wheel, loop: asyncio.AbstractEventLoop) -> None:
        self._wheel = wheel
        self._loop = loop
        self._data = b""
        self._ended = False  # nothing more will come
        self._held = False  # the sender is held back
        self._interrupted = False
        self._waiter: asyncio.Future[None] | None = None
        self._drainer: asyncio.Future[None] | None = None
        self.idle = 0.0
        self.deadline = 0.0
        self.due = 0.0
        self.listed = NOT_LISTED

    def now(self) -> float:
        return self._wheel.now()

    async def read(self) -> bytes:
        if not self._data and not self._ended:
            if self._interrupted:
                self._interrupted = False
                raise Interrupted
            waiter = self._waiter = self._loop.create_future()
            self._limit()
            try:
                await waiter
            finally:
                self._waiter = None
                self.due = 0.0
        data = self._data
        self._data = b""
        if self._held:
            self._held = False
            self._let_in()
        return data

    @property
    def unsent(self) -> bool:
        return self._clogged()

    async def drain(self) -> None:
        if not self._clogged():
            return
        drainer = self._drainer = self._loop.create_future()
        self._limit()
        try:
            await drainer
        finally:
            self._drainer = None
            self.due = 0.0

    def interrupt(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(Interrupted())
        else:
            self._interrupted = True

    def expire(self) -> None:
        """The wheel says that the time is up."""
        for waiter in (self._waiter, self._drainer):
            if waiter is not None and not waiter.done():
                waiter.set_exception(TimeoutError())

    # --- for what feeds it

    def _limit(self) -> None:
        """Set `due` for a wait that begins now."""
        due = self._wheel.now() + self.idle if self.idle else 0.0
        deadline = self.deadline
        if deadline and (not due or deadline < due):
            due = deadline
        self.due = due
        if due and due < self.listed:
            self._wheel.watch(self)

    def _arrived(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data
        if len(self._data) > READ_LIMIT and not self._held:
            self._held = True
            self._hold_back()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _drained(self) -> None:
        drainer = self._drainer
        if drainer is not None and not drainer.done():
            drainer.set_result(None)

    def _clogged(self) -> bool:
        """Whether much waits for the peer."""
        return False

    def _hold_back(self) -> None:
        """Much is unread: the sender shall wait."""

    def _let_in(self) -> None:
        """It was read: the sender may go on."""
