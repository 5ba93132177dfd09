"""What an administrator asks of the queue: see, hold, release, retry, remove, trace, count.

Each act takes message ids; unknown ids are passed over, and the answer says how many recipients changed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.queue.progress import Act
from rookery.distribution.queue.queue import Queue
from rookery.distribution.spool import admin
from rookery.distribution.spool.ids import message_number, message_text
from rookery.distribution.spool.values import Claimed, Counts, Fate, MessageReport, QueueFilter, State

TRACE_SLICE = 20_000  # finished messages looked at by one read

Reports: TypeAlias = list[MessageReport]


class QueueControl:
    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._spool = queue.spool

    # --- looking

    async def list(self, wanted: QueueFilter | None = None, limit: int = 100) -> Sequence[MessageReport]:
        """One page, oldest first; go on with `after` the last id. Raises RookeryError(INVALID) for a bad id."""
        wanted = wanted or QueueFilter()
        return await asyncio.to_thread(self._spool.read, lambda reader: admin.listing(reader, wanted, limit))

    async def show(self, message: str) -> MessageReport:
        """A message in the queue or finished. Raises RookeryError(NOT_FOUND, INVALID)."""
        number = message_number(message)
        found = await asyncio.to_thread(self._spool.read, lambda reader: admin.show(reader, number))
        if found is None:
            raise RookeryError(Cause.NOT_FOUND, f"there is no message {message}")
        return found

    async def trace(self, wanted: str) -> Sequence[MessageReport]:
        """What became of a message: by its id, by the session it came in, or by its Message-ID."""
        try:
            return [await self.show(wanted)]
        except RookeryError as error:
            if error.cause not in (Cause.NOT_FOUND, Cause.INVALID):
                raise
        found = await asyncio.to_thread(self._spool.read, lambda reader: admin.trace_queue(reader, wanted))
        after = 0
        while len(found) < admin.TRACE_LIMIT:
            slice_, after = await asyncio.to_thread(self._history, wanted, after)
            found += slice_
            if not after:
                break
        return sorted(found, key=lambda report: report.message)[: admin.TRACE_LIMIT]

    def _history(self, wanted: str, after: int) -> tuple[Reports, int]:
        return self._spool.read(lambda reader: admin.trace_history(reader, wanted, after, TRACE_SLICE))

    async def counts(self) -> Counts:
        return await asyncio.to_thread(self._spool.read, admin.counts)

    async def waiting(self) -> Sequence[str]:
        """Ids of all messages that wait for another attempt or are held, at most admin.BULK_LIMIT."""
        states = (State.DUE, State.DEFERRED, State.HELD)
        numbers = await asyncio.to_thread(self._spool.read, lambda reader: admin.numbers_in_state(reader, states))
        return [message_text(number) for number in numbers]

    # --- doing

    @staticmethod
    async def _slices(numbers: Sequence[int], act: Callable[[Sequence[int]], Awaitable[int]]) -> int:
        """Few at a time, so that nobody waits long for the writer."""
        return sum([await act(numbers[at : at + admin.SLICE]) for at in range(0, len(numbers), admin.SLICE)])

    async def hold(self, messages: Sequence[str]) -> int:
        numbers = [message_number(message) for message in messages]
        return await self._slices(numbers, lambda part: self._spool.writer.exclusive(lambda tx: admin.hold(tx, part)))

    async def release(self, messages: Sequence[str]) -> int:
        numbers, now = [message_number(message) for message in messages], self._spool.now()
        changed = await self._slices(
            numbers, lambda part: self._spool.writer.exclusive(lambda tx: admin.release(tx, part, now))
        )
        self._queue.wake()
        return changed

    async def retry(self, messages: Sequence[str]) -> int:
        """Try at once; a destination that rests because it could not be reached is tried again too."""
        numbers, now = [message_number(message) for message in messages], self._spool.now()
        self._queue.forgive()
        changed = await self._slices(
            numbers, lambda part: self._spool.writer.exclusive(lambda tx: admin.retry(tx, part, now))
        )
        self._queue.wake()
        return changed

    async def remove(self, messages: Sequence[str], *, notify: bool = False) -> int:
        """Give up what waits; with `notify` the sender is told. What is being delivered right now may still arrive."""
        removed = 0
        for message in messages:
            claimed = await self._claim(message_number(message))
            if claimed is None or not claimed.recipients:
                continue
            removed += len(claimed.recipients)
            state = State.FAILED if notify else State.REMOVED
            text = "removed from the queue by the administrator"
            pairs = [(r, Fate(r.n, state, 550, "5.7.0", text)) for r in claimed.recipients]
            await self._queue.settled(Act(claimed.envelope, [] if notify else pairs, pairs if notify else []))
        return removed

    async def _claim(self, number: int) -> Claimed | None:
        incarnation = self._spool.incarnation
        return await self._spool.writer.exclusive(lambda tx: admin.claim_to_remove(tx, number, incarnation))
