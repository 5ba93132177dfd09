"""The waiting half of a stream: what has arrived, who waits, and until when. Shared by sockets and memory."""

import asyncio
from collections.abc import Callable

from rookery.net.stream import Interrupted, Stream
from rookery.net.wheel import NOT_LISTED, Wheel

READ_LIMIT = 64 * 1024  # unread octets at which the sender is held back


class Inbox:
    """One reader and one drainer at a time, or a sink instead of both. What feeds it calls `_arrived` and `_end`."""

    __slots__ = (
        "_data",
        "_diverted",
        "_drainer",
        "_ended",
        "_held",
        "_interrupted",
        "_loop",
        "_relief",
        "_sink",
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
        self._sink: Stream | None = None  # takes what arrives
        self._diverted: Callable[[], None] | None = None  # called once, when nothing more goes to the sink
        self._relief: Callable[[], None] | None = None  # called when there is room for more to send
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
        if data:
            self._took(len(data))
        return data

    def divert(self, sink: Stream, over: Callable[[], None]) -> None:
        self._sink, self._diverted = sink, over
        sink.when_room(self._go_on)
        self._go_on()
        if self._interrupted:
            self._interrupted = False
            self.interrupt()

    def when_room(self, relief: Callable[[], None]) -> None:
        self._relief = relief

    def undivert(self) -> None:
        self._sink = self._diverted = self._relief = None

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
        if self._sink is not None:
            if not self._sink.urge():
                self._part()
            return
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
        sink = self._sink
        if sink is not None and not self._data and not sink.unsent:
            sink.write(data)
            self._took(len(data))
            return
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
        if self._sink is not None:
            self._go_on()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _drained(self) -> None:
        drainer = self._drainer
        if drainer is not None and not drainer.done():
            drainer.set_result(None)
        if self._relief is not None:
            self._relief()

    def _go_on(self) -> None:
        """The sink has room, or nothing more comes."""
        sink, data = self._sink, self._data
        if sink is None:
            return
        if data and not sink.unsent:
            self._data = b""
            sink.write(data)
            self._took(len(data))
        if self._ended and not self._data:
            self._part()

    def _part(self) -> None:
        over = self._diverted
        self._sink = self._diverted = None
        if over is not None:
            over()

    def _took(self, octets: int) -> None:
        """So many have been read, or passed on."""
        if self._held:
            self._held = False
            self._let_in()

    def _clogged(self) -> bool:
        """Whether much waits for the peer."""
        return False

    def _hold_back(self) -> None:
        """Much is unread: the sender shall wait."""

    def _let_in(self) -> None:
        """It was read: the sender may go on."""
