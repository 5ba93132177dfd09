"""This node among those that work on a spool: fenced while it is one of them, begun anew when it no longer is."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.distribution.spool import incarnations
from rookery.distribution.spool.ids import MessageIds
from rookery.storage.engine import Database, EngineFailed, Transaction
from rookery.storage.group_commit import Places, Plain

AGAIN = 1.0  # seconds until it is tried again to begin anew
log = logger("spool")


def application(holder: str) -> str:
    """What a node calls itself to the database server."""
    return f"rookery spool {holder}"


class Fence(Plain):
    """For a spool that several nodes work on: no batch in the name of an incarnation that has ended.

    `on_failure` is called on the loop after every batch that failed; `stopped`: because of the fence.
    """

    __slots__ = ("incarnation", "on_failure", "stopped")

    def __init__(self, incarnation: int) -> None:
        super().__init__()
        self.incarnation = incarnation
        self.stopped = False
        self.on_failure: Callable[[], None] | None = None

    def begin(self, tx: Transaction, places: Places, items: Sequence[object]) -> None:
        super().begin(tx, places, items)
        named = {self.incarnation}
        for item in items:
            claimant = getattr(item, "claimant", None) or getattr(item, "incarnation", None)
            if claimant is not None:
                named.add(claimant)
        for incarnation in sorted(named):
            if not tx.share("SELECT incarnation FROM incarnation WHERE incarnation = ? AND ended IS NULL", incarnation):
                self.stopped = True
                raise EngineFailed(Cause.MOVED, "other nodes have taken the work of this one over")

    def failed(self, items: Sequence[object]) -> None:
        if self.on_failure is not None:
            self.on_failure()


class Membership:
    """The incarnation of an open spool. On a spool of its own folder a node is alone, and this does next to nothing."""

    def __init__(
        self,
        database: Database,
        batching: Plain,
        ids: MessageIds,
        *,
        clock: Clock,
        incarnation: int,
        holder: str,
        wake: Callable[[], None],
    ) -> None:
        self.incarnation = incarnation
        self._database = database
        self._fence = batching if isinstance(batching, Fence) else None
        self._ids = ids
        self._clock = clock
        self._holder = holder
        self._wake = wake
        self._doubts = database.doubts
        self._renewing: asyncio.Task[None] | None = None
        if self._fence is not None:
            self._fence.on_failure = self._failed
            ids.mark = incarnation % incarnations.MARKS

    def _now(self) -> int:
        return int(self._clock.wall())

    async def take_over(self, ended: Sequence[int]) -> int:
        others = [incarnation for incarnation in ended if incarnation != self.incarnation]
        return await asyncio.to_thread(self._take_over, others)

    def _take_over(self, ended: Sequence[int]) -> int:
        """A node that was stopped in mid-batch holds locks: its sessions end first."""
        if ended:
            with self._database.read() as reader:
                known = incarnations.living(reader)
            others = {one.holder for one in known if one.incarnation not in ended}
            for holder in {one.holder for one in known if one.incarnation in ended} - others:
                self._database.end_sessions(application(holder))
        return self._end(ended)

    def _end(self, ended: Sequence[int]) -> int:
        now, total = self._now(), 0
        with self._database.write() as tx:
            incarnations.end(tx, ended, now)
        while True:
            with self._database.write() as tx:
                released = incarnations.release(tx, now)
            total += released
            if released < incarnations.SLICE:
                return total

    def _failed(self) -> None:
        """A batch failed. If others have ended this incarnation, or nobody knows whether the batch was committed, then
        nobody may hold its claims: this node begins anew.
        """
        fence = self._fence
        if fence is not None and self._renewing is None and (fence.stopped or self._database.doubts != self._doubts):
            self._renewing = asyncio.get_running_loop().create_task(self._renew(fence))

    async def _renew(self, fence: Fence) -> None:
        while True:
            doubts = self._database.doubts
            try:
                incarnation = await asyncio.to_thread(self._begin)
                break
            except RookeryError as error:
                log.warning("not-begun-anew", cause=error.cause.value, what=error.what)
                await asyncio.sleep(AGAIN)
        log.warning("begun-anew", before=self.incarnation, incarnation=incarnation)
        self.incarnation = fence.incarnation = incarnation
        self._ids.mark = incarnation % incarnations.MARKS
        self._doubts, fence.stopped, self._renewing = doubts, False, None
        self._wake()

    def _begin(self) -> int:
        made = incarnations.begin_incarnation(self._database, self._holder, self._now())
        self._end([self.incarnation])
        return made

    async def close(self) -> None:
        """Give up what is claimed, so that the others need not notice first. The writer has ended."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        if self._fence is not None:
            with suppress(RookeryError):
                await asyncio.to_thread(self._end, [self.incarnation])
