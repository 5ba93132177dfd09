"""Messages on their way into the store's writer.

Those that bring the same staged body, as the recipients of one message do, share its blob: it is written once.
"""

import asyncio
from collections.abc import Callable

from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import BlobId, RandomBytes, new_blob_id
from rookery.storage.append import Append, AppendItem
from rookery.storage.fence import NOT_HERE, Hosting
from rookery.storage.group_commit import Rule
from rookery.storage.staging import Staged
from rookery.storage.upkeep import Upkeep
from rookery.storage.values import Appended
from rookery.storage.writer import Writer


class Deliveries:
    """One per store. All members belong to the event loop."""

    def __init__(
        self,
        writer: Writer,
        rule: Rule[AppendItem, Appended],
        hosting: Hosting,
        upkeep: Upkeep,
        clock: Clock,
        random: RandomBytes,
    ) -> None:
        self._writer = writer
        self._rule = rule
        self._hosting = hosting
        self._upkeep = upkeep
        self._clock = clock
        self._random = random
        self._shared: dict[int, tuple[BlobId, int]] = {}  # bodies in flight, by id() of what is staged: blob, uses

    async def append(self, item: Append) -> Appended:
        """Store one message; durable when this returns. The caller releases `item.staged` afterwards."""
        await self._writer.room()
        future: asyncio.Future[Appended | Refusal] = asyncio.get_running_loop().create_future()

        def done(result: Appended | Refusal) -> None:
            if not future.done():
                future.set_result(result)

        self.append_soon(item, done)
        result = await future
        if isinstance(result, Refusal):
            raise RookeryError(result.cause, result.what)
        return result

    def append_soon(self, item: Append, done: Callable[[Appended | Refusal], None]) -> None:
        """The same without a future: `done` is called on the loop, once. Ask `room` first when there is much."""
        if self._upkeep.full:
            done(Refusal(Cause.DISK_FULL, "the disk of the message store is full"))
            return
        hosted = self._hosting.epoch
        epoch = item.epoch if item.epoch is not None else hosted(item.account)
        if epoch is None:
            done(NOT_HERE)
            return
        staged = item.staged
        key = id(staged)
        blob, uses = self._shared.get(key, (None, 0))
        bodies: tuple[tuple[BlobId, Staged], ...] = ()
        if blob is None:
            blob = new_blob_id(self._clock, self._random)
            bodies = ((blob, staged),)
        self._shared[key] = (blob, uses + 1)

        def answered(result: Appended | Refusal) -> None:
            self._unshare(key)
            if epoch and hosted(item.account) != epoch:  # it was lost meanwhile: nothing is claimed
                done(NOT_HERE)
                return
            if not bodies and isinstance(result, Refusal) and result.cause is Cause.NOT_FOUND:
                # The message that brought the body was refused, so nobody has it: this one brings its own.
                self.append_soon(item, done)
                return
            done(result)

        argument = AppendItem(
            item.account,
            blob,
            staged.size,
            item.received or int(self._clock.wall()),
            item.mailbox,
            item.flags,
            item.keywords,
            item.delivery_id,
            epoch or None,
        )
        self._writer.submit(self._rule, argument, done=answered, bodies=bodies, weight=staged.size + 512)

    def _unshare(self, key: int) -> None:
        blob, uses = self._shared[key]
        if uses == 1:
            del self._shared[key]
        else:
            self._shared[key] = (blob, uses - 1)
