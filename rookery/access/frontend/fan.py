"""One message on its way from a client to the hosts of its recipients, while it arrives.

What is small is gathered, and goes to each host in one piece. Of what is larger every host is sent what has come, no
faster than the slowest one takes it; so it never stands here as a whole. A host that does not take a recipient before
it was sent anything is not the last word: it is asked for once more.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.delivery.local import RECIPIENTS
from rookery.distribution.delivery.outcome import Job, Outcome, own
from rookery.distribution.delivery.pool import NOT_THERE
from rookery.distribution.service.calls import Host

GATHERED = 64 * 1024  # octets up to which a message goes out in one piece
AHEAD = 128 * 1024  # octets that may wait for one host


class Deliveries(Protocol):
    """What takes jobs for a host; None: for a node with a queue."""

    def submit(self, host: Host | None, job: Job) -> None: ...


class Envelope(msgspec.Struct, frozen=True):
    """`size`: as declared, 0 when it was not."""

    sender: str
    size: int
    eight_bit: bool
    smtputf8: bool
    session: str


Again = Callable[[str, Host], Awaitable[Host | None]]  # the host of an address that this one has refused


class _Feed:
    """What one host is to be sent yet."""

    __slots__ = ("_chunks", "_ended", "_moved", "_waiting", "broken", "over", "started")

    def __init__(self, first: bytes) -> None:
        self._chunks: deque[bytes] = deque([first])
        self._waiting = len(first)
        self._ended = False
        self._moved = asyncio.Event()
        self.started = asyncio.Event()  # or over: nothing will be asked of it
        self.broken = False
        self.over = False

    async def add(self, chunk: bytes) -> None:
        """Wait until the host may have it."""
        while self._waiting >= AHEAD and not self.over:
            self._moved.clear()
            await self._moved.wait()
        if not self.over:
            self._chunks.append(chunk)
            self._waiting += len(chunk)
            self._moved.set()

    def end(self, *, broken: bool = False) -> None:
        self._ended, self.broken = True, broken
        self._moved.set()

    def close(self) -> None:
        """The host has answered."""
        self.over = True
        self._chunks.clear()
        self.started.set()
        self._moved.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises RookeryError when the client has not sent it whole: then the host must not take it either."""
        self.started.set()
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._waiting -= len(chunk)
                self._moved.set()
                yield chunk
            if self.broken:
                raise RookeryError(Cause.INVALID, "the client has not sent the whole message")
            if self._ended:
                return
            self._moved.clear()
            await self._moved.wait()


class Fan:
    """`recipients`: addresses, each with its host. Either `write` as chunks come and `finish`, or `discard`."""

    def __init__(
        self, envelope: Envelope, recipients: Sequence[tuple[str, Host | None]], deliveries: Deliveries, again: Again
    ) -> None:
        self._envelope = envelope
        self._recipients = recipients
        self._deliveries = deliveries
        self._again = again
        self._gathered: list[bytes] = []
        self._size = 0
        self._feeds: list[_Feed] = []
        self._outcomes: list[Outcome | None] = [None] * len(recipients)
        self._jobs = 0
        self._answered = asyncio.Event()

    def write(self, chunk: bytes) -> Awaitable[None] | None:
        """None: go on at once."""
        if self._feeds:
            return self._pass_on(chunk)
        self._gathered.append(chunk)
        self._size += len(chunk)
        return self._begin() if self._size > GATHERED else None

    async def finish(self) -> list[Outcome]:
        """The message is whole: what became of it, by recipient."""
        if self._feeds:
            for feed in self._feeds:
                feed.end()
        else:
            whole = b"".join(self._gathered)
            self._send(self._everybody(), whole, None)
            await self._answers()
            moved = await self._found_again()
            if moved:
                self._send(moved, whole, None)
        await self._answers()
        return [own("4.3.0", "no answer") if one is None else one for one in self._outcomes]

    def discard(self) -> None:
        self._gathered.clear()
        for feed in self._feeds:
            feed.end(broken=True)

    # --- large ones

    async def _begin(self) -> None:
        first = b"".join(self._gathered)
        self._gathered.clear()
        self._send(self._everybody(), None, first)
        await self._started()
        moved = await self._found_again()
        if moved:
            self._send(moved, None, first)
            await self._started()

    async def _started(self) -> None:
        for feed in self._feeds:
            await feed.started.wait()

    async def _pass_on(self, chunk: bytes) -> None:
        for feed in self._feeds:
            await feed.add(chunk)

    # --- hosts

    def _everybody(self) -> dict[Host | None, list[int]]:
        parts: dict[Host | None, list[int]] = {}
        for place, (_, host) in enumerate(self._recipients):
            parts.setdefault(host, []).append(place)
        return parts

    async def _found_again(self) -> dict[Host | None, list[int]]:
        """Who was refused because the mailbox is elsewhere, or nobody was there, by the host that they have then."""
        parts: dict[Host | None, list[int]] = {}
        for place, outcome in enumerate(self._outcomes):
            address, tried = self._recipients[place]
            if outcome is None or outcome.enhanced != NOT_THERE or tried is None:
                continue
            try:
                host = await self._again(address, tried)
            except RookeryError:
                continue
            if host is not None and host != tried:
                parts.setdefault(host, []).append(place)
        return parts

    def _send(self, parts: dict[Host | None, list[int]], whole: bytes | None, first: bytes | None) -> None:
        for host, all_places in parts.items():
            for start in range(0, len(all_places), RECIPIENTS):
                self._send_part(host, all_places[start : start + RECIPIENTS], whole, first)

    def _send_part(self, host: Host | None, places: list[int], whole: bytes | None, first: bytes | None) -> None:
        envelope, feed = self._envelope, None
        if first is not None:
            feed = _Feed(first)
            self._feeds.append(feed)

        def done(results: Sequence[Outcome]) -> None:
            for place, result in zip(places, results, strict=True):
                self._outcomes[place] = result
            if feed is not None:
                feed.close()
            self._jobs -= 1
            self._answered.set()

        async def pieces() -> AsyncIterator[bytes]:
            yield whole or b""

        self._jobs += 1
        self._deliveries.submit(
            host,
            Job(
                sender=envelope.sender,
                recipients=tuple(self._recipients[place][0] for place in places),
                size=envelope.size if whole is None else len(whole),
                eight_bit=envelope.eight_bit,
                smtputf8=envelope.smtputf8,
                delivery=envelope.session,
                session=envelope.session,
                whole=None if whole is None else lambda: whole,
                chunks=pieces if feed is None else feed.chunks,
                done=done,
            ),
        )

    async def _answers(self) -> None:
        while self._jobs:
            self._answered.clear()
            await self._answered.wait()
