"""This backend among those of its pool: registered, beating, watching the others; and how far its word can be trusted.

A beat starts on the event loop, so that a backend whose loop hangs does not look alive; nor does one whose writer
has been at one batch for STUCK seconds. A confirmed beat says that this incarnation lived when the beat was *sent*, and
with it that nobody else has claimed what it hosts: reads from memory are good for READ seconds from then.

An incarnation that has ended, or whose database is another by now, loses everything and registers anew. One that has
ended because another process came with the name of this backend does so only when that one has fallen silent: two that
took the name from each other again and again would both serve nobody.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import RandomBytes
from rookery.base.log import Level, logger
from rookery.base.outage import Outage
from rookery.distribution.placement.values import INTERVAL, Peer, Pool
from rookery.distribution.placement.watch import QUIET, Watch

READ = 0.8  # seconds from the sending of a confirmed beat; less than a host is silent before it is dead
PATIENCE = 1.0  # seconds a read waits for the next beat
STUCK = 2.0  # seconds of one batch, beyond which the writer is taken to hang
ALONE = 15.0  # seconds without a beat until sessions end, so that clients go where their mail arrives
PROBING = 0.35  # seconds: to connect and be greeted takes two round trips; known before a silence of SILENT
PURGE = 3600.0  # seconds between two looks at who has ended long ago

log = logger("placement")


async def _unknown(address: str) -> bool:
    """Nobody can be probed: only a silence of DEAD seconds counts."""
    return True


async def _never(incarnation: int) -> bool:
    return False


def boottime() -> float:
    """Seconds; goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the heartbeat is handed from outside.

    stuck: seconds that the store's writer has been at the same batch, 0 when it has nothing to do. probe: whether a
    backend answers at that address; cancelled after PROBING seconds. offline: whether every other backend says, asked
    now, that it is without the database too, and knows of no end of this incarnation.
    """

    now: Callable[[], float] = boottime
    stuck: Callable[[], float] = float
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    probe: Callable[[str], Awaitable[bool]] = _unknown
    offline: Callable[[int], Awaitable[bool]] = _never


class Me(msgspec.Struct, frozen=True):
    incarnation: int
    timeline: str


class Heartbeat:
    """`lost`: everything that was hosted. `registered`: this incarnation lives; sessions take its name."""

    def __init__(
        self,
        pool: Pool,
        around: Surroundings,
        *,
        backend: str,
        address: str,
        random: RandomBytes,
        lost: Callable[[], None],
        registered: Callable[[Me], None],
    ) -> None:
        self.backend = backend
        self.me: Me | None = None
        self.others: tuple[Peer, ...] = ()
        self.draining = False
        self.watch = Watch()
        self._pool = pool
        self._around = around
        self.address = address
        self._random = random
        self._lost = lost
        self._registered = registered
        self._beat = 0
        self._confirmed = around.now()  # when the last confirmed beat was sent
        self._alone = False
        self._replaced: int | None = None  # the own incarnation whose name another process has taken
        self._waiting: dict[asyncio.Future[None], None] = {}  # reads, for a beat; thousands, perhaps
        self._tasks: set[asyncio.Task[None]] = set()
        self._beating = Outage(log, "beat-failed", around.now, Level.INFO)
        self._registering = Outage(log, "not-registered", around.now, Level.INFO)
        self._hanging = Outage(log, "writer-hangs", around.now, Level.WARNING)
        self._purged = around.now()
        self._ended: list[int] = []

    # --- reads -----------------------------------------------------------------------------------------------------

    def may_read(self) -> bool:
        return self.me is not None and self._around.now() - self._confirmed < READ

    async def fresh(self) -> None:
        """Before a reply from memory. Raises UNAVAILABLE: the session should end."""
        if self.may_read():
            return
        if self.me is not None and await self._around.offline(self.me.incarnation):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        try:
            async with asyncio.timeout(PATIENCE):
                await future
        except TimeoutError:
            raise _not_now() from None
        finally:
            self._waiting.pop(future, None)

    def _confirm(self, sent: float) -> None:
        self._confirmed = sent
        if self.may_read():  # an answer that came late says nothing of now
            self._alone = False
            self._wake(None)

    def _wake(self, error: RookeryError | None) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    # --- life ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            started = self._around.now()
            beating = asyncio.ensure_future(self.once())
            try:
                while not beating.done():
                    await asyncio.wait({beating}, timeout=INTERVAL)
                    await self.look_around()
            finally:
                beating.cancel()
            if (error := beating.exception()) is not None:
                log.error("heart-failed", error=type(error).__name__)
                self.void("an error of ours")
            await self._around.pause(max(0.0, INTERVAL - (self._around.now() - started)))

    async def once(self) -> None:
        """One beat, and what follows from its answer."""
        me = self.me
        if me is None:
            if self._replaced is None or await self._namesake_is_silent(self._replaced):
                await self._register()
            return
        stuck = self._around.stuck()
        if stuck >= STUCK:
            self._hanging.failed("stuck", seconds=round(stuck, 1))
            self.watch.clear()
            return
        self._hanging.over()
        sent = self._around.now()
        try:
            answer = await self._pool.beat(me.incarnation, self.draining)
        except RookeryError as error:
            self._beating.failed(error.cause.value, what=error.what)
            self.watch.clear()
            return
        self._beating.over()
        if self.me is not me:
            return
        if answer.mine is None or answer.mine <= self._beat:  # the latter: the database is an earlier one
            named = any(peer.backend == self.backend for peer in answer.others)
            self.void("another process has registered under its name" if named else "it has ended")
            if named:
                self._replaced = me.incarnation
            else:
                await self._register()
            return
        self._beat, self.others = answer.mine, answer.others
        self._confirm(sent)
        await self._judge(sent)

    async def _register(self) -> None:
        incarnation = int.from_bytes(self._random(8), "big") >> 1
        sent = self._around.now()
        try:
            timeline = await self._pool.register(self.backend, self.address, incarnation, self.draining)
        except RookeryError as error:
            self._registering.failed(error.cause.value, what=error.what)
            return
        self._registering.over()
        self.me, self._beat, self._replaced = Me(incarnation, timeline), 0, None
        self.watch.clear()
        self._confirm(sent)
        log.info("registered", backend=self.backend, incarnation=incarnation, timeline=timeline)
        self._registered(self.me)

    async def _namesake_is_silent(self, mine: int) -> bool:
        """Watched as any other, by beats of an incarnation that has ended."""
        sent = self._around.now()
        try:
            answer = await self._pool.beat(mine, self.draining)
        except RookeryError as error:
            self._beating.failed(error.cause.value, what=error.what)
            self.watch.clear()
            return False
        self._beating.over()
        self.others = answer.others
        namesakes = [(peer.incarnation, peer.beat) for peer in answer.others if peer.backend == self.backend]
        return not namesakes or bool(self.watch.beaten(sent, self._around.now(), namesakes).dead)

    def void(self, why: str) -> None:
        """Nothing is hosted any more; the next beat registers anew."""
        if self.me is None:
            return
        log.warning("incarnation-over", incarnation=self.me.incarnation, why=why)
        self.me = None
        self.watch.clear()
        self._wake(_not_now())
        self._lost()

    async def look_around(self) -> None:
        """While beats fail: a host that nobody hears of for long ends its sessions."""
        me = self.me
        if me is None or self._alone or self._around.now() - self._confirmed < ALONE:
            return
        if not await self._around.offline(me.incarnation) and self.me is me:
            self._alone = True
            log.warning("alone", seconds=ALONE)
            self._lost()

    async def leave(self) -> None:
        """At the end of the process: everybody may claim what it hosted, without waiting for its silence."""
        me, self.me = self.me, None
        self._lost()
        if me is not None:
            await self._pool.end({me.incarnation: None})

    # --- the others ------------------------------------------------------------------------------------------------

    async def _judge(self, sent: float) -> None:
        pairs = [(peer.incarnation, peer.beat) for peer in self.others]
        verdict = self.watch.beaten(sent, self._around.now(), pairs)
        for peer in self.others if verdict.probe else ():
            if peer.incarnation in verdict.probe:
                self._aside(self._probe(peer))
        if verdict.dead:
            names = {peer.incarnation: peer.backend for peer in self.others}
            try:
                for incarnation in await self._pool.end(dict(verdict.dead)):
                    log.warning("found-dead", backend=names[incarnation], incarnation=incarnation)
            except RookeryError as error:  # of unknown outcome: the next beat says
                log.info("death-not-recorded", cause=error.cause.value, what=error.what)
        if sent - self._purged >= PURGE:
            self._purged = sent
            self._aside(self._purge())

    def _aside(self, work: Coroutine[None, None, None]) -> None:
        """The next beat does not wait for it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _probe(self, peer: Peer) -> None:
        answered = False
        try:
            async with asyncio.timeout(PROBING):
                answered = await self._around.probe(peer.address)
        except (TimeoutError, OSError, RookeryError):
            pass
        self.watch.probed(peer.incarnation, peer.beat, answered)

    def silent(self, incarnation: int) -> bool:
        """It may be found dead in a moment."""
        silence = self.watch.silence(incarnation, self._around.now())
        return silence is not None and silence >= QUIET

    def silence(self, incarnation: int) -> float | None:
        """Seconds without a beat of it, as seen from here."""
        now = self._around.now()
        if self.me is not None and incarnation == self.me.incarnation:
            return now - self._confirmed
        return self.watch.silence(incarnation, now)

    async def _purge(self) -> None:
        """Incarnations that had ended at the last look, if no account names them any more."""
        try:
            self._ended = await self._pool.purge(self._ended)
        except RookeryError as error:
            log.info("not-purged", cause=error.cause.value, what=error.what)


def _not_now() -> RookeryError:
    return RookeryError(Cause.UNAVAILABLE, "it is not certain that the account is still hosted here")
