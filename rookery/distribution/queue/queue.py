"""The scheduler: takes what the spool hands over or has due, gives it to delivery, and settles what became of it.

It sleeps until something arrives or the next recipient is due; it never polls. What is under way is bounded in
recipients; beyond it mail waits in the spool. A claim that is lost with the process is due again at the next start, and
the delivery ids keep our own mailboxes from storing it twice.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.log import Level, logger
from rookery.base.outage import Outage
from rookery.distribution.delivery.hosted import Delivery, Resolver
from rookery.distribution.delivery.outcome import Job, Outcome, Verdict
from rookery.distribution.delivery.remote import RemoteDelivery
from rookery.distribution.directory.asked import Asked
from rookery.distribution.queue.notices import NoticeSettings, Told, notice
from rookery.distribution.queue.progress import Act, Progress
from rookery.distribution.queue.schedule import SCHEDULE, Schedule
from rookery.distribution.queue.sorting import HOPS, Sorted, sort
from rookery.distribution.spool.ids import message_number
from rookery.distribution.spool.spool import WHOLE, Spool
from rookery.distribution.spool.tidy import tidy
from rookery.distribution.spool.values import (
    Claimed,
    ClaimedRecipient,
    Envelope,
    Fate,
    Incoming,
    Settled,
    Settlement,
    State,
)
from rookery.formats.dsn import HEADER_LIMIT, Action

log = logger("queue")

CLAIM = 500  # recipients of one claim
LONGEST_SLEEP = 60.0  # seconds: the wall clock may be stepped meanwhile
TROUBLE_SLEEP = 2.0  # seconds before the spool is asked again after it failed
NEVER_FORGET = 1 << 62  # above every message number

T = TypeVar("T")

Forget = Callable[[str], Awaitable[None]]


def nothing() -> None:
    """The default of what is called afterwards."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """`in_flight`: recipients under way at the same time. `upkeep`: seconds between sweeps. `grace`: seconds that
    deliveries to other hosts get to end when the queue stops.
    """

    notices: NoticeSettings
    schedule: Schedule = SCHEDULE
    hops: int = HOPS
    in_flight: int = 20_000
    upkeep: float = 60.0
    grace: float = 10.0


class Queue:
    """`start` it once the spool and the LMTP side are open; `stop` it before they close.

    `forget` tells the mailboxes which delivery ids will not come again: all that sort below the id it is given.
    """

    def __init__(
        self,
        spool: Spool,
        local: Delivery,
        remote: RemoteDelivery,
        directory: Asked[Resolver],
        *,
        clock: Clock,
        dice: random.Random,
        settings: QueueSettings,
        forget: Forget | None = None,
    ) -> None:
        self.spool = spool
        self.settings = settings
        self.counters: Counter[str] = Counter()  # fates since the start, by name; notices too
        self._local = local
        self._remote = remote
        self._directory = directory
        self._clock = clock
        self._dice = dice
        self._forget = forget
        self._in_flight = 0
        self._backlog = False  # something is due for which there was no room
        self._stopping = False
        self._claims = Outage(log, "claim-failed", clock.monotonic, Level.WARNING)
        self._awake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._looking: set[asyncio.Future[Any]] = set()
        self._forgetting = 0  # messages with lower numbers wait until the mailboxes have forgotten older ids
        self._held_back: list[Claimed] = []

    # --- life

    def start(self) -> None:
        self.spool.attach(self)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run()), loop.create_task(self._keep_up())]

    async def stop(self) -> None:
        """What is under way here is finished; what goes elsewhere gets `grace`, then is left for the next start."""
        self._stopping = True
        self.spool.detach()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(self._local.close(), self._remote.close(self.settings.grace))
        while self._looking:
            await asyncio.wait(self._looking)

    async def _run(self) -> None:
        while True:
            self._awake.clear()
            timer = asyncio.get_running_loop().call_later(await self.pass_once(), self._awake.set)
            try:
                await self._awake.wait()
            finally:
                timer.cancel()

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(self.settings.upkeep)
            try:
                await self.keep_up()
            except (RookeryError, OSError) as error:
                log.warning("upkeep-failed", error=str(error))

    async def keep_up(self) -> None:
        """Everything that is done from time to time."""
        await tidy(self.spool)
        await self._forget_deliveries()

    async def _forget_deliveries(self) -> None:
        """A message that got its id long ago and arrives only now must not be delivered while the mailboxes forget ids
        above its own: its delivery id would be lost, and with it the promise to store it once.
        """
        if self._forget is None:
            return
        self._forgetting = NEVER_FORGET
        try:
            below = await self.spool.lowest_unsettled()
            self._forgetting = message_number(below)
            await self._forget(below)
        finally:
            self._forgetting = 0
            waiting, self._held_back = self._held_back, []
            for claimed in waiting:
                self.take(claimed)

    # --- what the spool calls

    def room(self, recipients: int) -> bool:
        if self._in_flight + recipients <= self.settings.in_flight and not self._stopping:
            return True
        self._backlog = True
        return False

    def wake(self) -> None:
        """Look again at what is due."""
        self._awake.set()

    def take(self, claimed: Claimed) -> None:
        """Begin the deliveries of a claimed message; while the queue stops, leave it for the next start."""
        if self._stopping:
            return
        if claimed.envelope.number < self._forgetting:
            self._held_back.append(claimed)
            return
        self._in_flight += len(claimed.recipients)
        found = self._directory.ask(lambda directory: sort(claimed, directory.resolve, self.settings.hops))
        if isinstance(found, Sorted):
            self._deliver(claimed, found)
            return
        self._aside(found, partial(self._deliver, claimed))

    def _aside(self, looking: Awaitable[T], then: Callable[[T], None]) -> None:
        """Go on with what a look elsewhere finds."""
        task = asyncio.ensure_future(looking)

        def done(task: asyncio.Future[T]) -> None:
            self._looking.discard(task)
            then(task.result())

        self._looking.add(task)
        task.add_done_callback(done)

    def _deliver(self, claimed: Claimed, found: Sorted) -> None:
        if self._stopping:
            return
        progress = Progress(claimed.envelope, bool(found.local) + len(found.remote))
        for recipient, result in found.judged:
            progress.add(recipient, self._fate(claimed.envelope, recipient, result, State.DELIVERED))
        for recipient, through in found.expanded:
            progress.add(recipient, Fate(recipient.n, State.EXPANDED, 250, "2.1.5", through))
        progress.expansions = tuple(found.expansions)
        if found.local:
            recipients = [recipient for recipient, _ in found.local]
            addresses = tuple(address for _, address in found.local)
            self._local.submit(self._job(progress, recipients, addresses, State.DELIVERED))
        for destination, others in found.remote.items():
            addresses = tuple(recipient.address for recipient in others)
            self._remote.submit(destination, self._job(progress, others, addresses, State.RELAYED))
        self._settle_due(progress)

    # --- claiming

    async def pass_once(self) -> float:
        """Claim what is due and fits; returns the seconds until something else is due."""
        try:
            while (room := self.settings.in_flight - self._in_flight) > 0:
                limit = min(room, CLAIM)
                claimed = await self.spool.claim_due(limit)
                for one in claimed:
                    self.take(one)
                if sum(len(one.recipients) for one in claimed) < limit:
                    self._backlog = False
                    break
            else:
                self._backlog = True
                return LONGEST_SLEEP
            due = await self.spool.next_due()
        except RookeryError as error:
            self._claims.failed(error.cause.value, what=error.what)
            return TROUBLE_SLEEP
        self._claims.over()
        if due is None:
            return LONGEST_SLEEP
        return min(max(due - self._clock.wall(), 0.01), LONGEST_SLEEP)

    def _job(
        self, progress: Progress, recipients: list[ClaimedRecipient], addresses: tuple[str, ...], good: State
    ) -> Job:
        envelope, spool = progress.envelope, self.spool
        return Job(
            sender=envelope.sender,
            recipients=addresses,
            size=envelope.size,
            eight_bit=envelope.eight_bit,
            smtputf8=envelope.smtputf8,
            delivery=envelope.message,
            session=envelope.session,
            whole=partial(spool.at_hand, envelope) if envelope.size <= WHOLE else None,
            chunks=partial(spool.chunks, envelope),
            done=partial(self._part_done, progress, recipients, good),
        )

    # --- outcomes

    def _part_done(
        self, progress: Progress, recipients: list[ClaimedRecipient], good: State, outcomes: Sequence[Outcome]
    ) -> None:
        progress.parts -= 1
        for recipient, result in zip(recipients, outcomes, strict=True):
            progress.add(recipient, self._fate(progress.envelope, recipient, result, good))
        self._settle_due(progress)

    def _fate(self, envelope: Envelope, recipient: ClaimedRecipient, result: Outcome, good: State) -> Fate:
        state, enhanced, next_ = good, result.enhanced, None
        if result.verdict is Verdict.NEVER:
            state = State.FAILED
        elif result.verdict is Verdict.LATER:
            attempts = recipient.attempts + 1
            next_ = self.settings.schedule.next(attempts, envelope.received, int(self._clock.wall()), self._dice)
            state = State.FAILED if next_ is None else State.DEFERRED
            if next_ is None:
                enhanced = "5.4.7"  # RFC 3463 section 3.5: delivery time expired
        log.info(
            state.name.lower(), session=envelope.session, message=envelope.message, address=recipient.address,
            code=result.code, status=enhanced, text=result.text, remote=result.remote, attempt=recipient.attempts + 1,
        )  # fmt: skip
        return Fate(recipient.n, state, result.code, enhanced, result.text, result.remote, next_)

    def _settle_due(self, progress: Progress) -> None:
        act = progress.due()
        if act is not None:
            self.settle(act)

    def forgive(self) -> None:
        """Try again destinations that rest because they could not be reached."""
        self._remote.forgive()

    async def settled(self, act: Act) -> None:
        """Settle an act on recipients that somebody else than `take` has claimed, and wait until it is durable."""
        self._in_flight += len(act.fates)
        finished = asyncio.Event()
        self.settle(act, finished.set)
        await finished.wait()

    def settle(self, act: Act, after: Callable[[], None] = nothing) -> None:
        """Make an act durable, however often that has to be tried; then call `after`."""
        now = int(self._clock.wall())
        told, lifetime = self._told(act, now)
        if told and act.head is None and not self._has_head(act):
            self._aside(self._read_head(act), lambda _: self.settle(act, after))
            return
        notices = self._notices(act, told, now, lifetime) if told else ()
        warned = bool(notices) and not act.failed
        settlement = Settlement(act.envelope, act.fates, act.expansions, notices, warned)

        def done(result: Settled | Refusal) -> None:
            if isinstance(result, Refusal):
                self._not_settled(act, result, after)
            else:
                self._settled(act, settlement, result)
                after()

        self.spool.settle_soon(settlement, done)

    def _settled(self, act: Act, settlement: Settlement, result: Settled) -> None:
        for fate in settlement.fates:
            self.counters[fate.state.name.lower()] += 1
        self.counters["notices"] += len(result.notices)
        if result.lost:
            log.warning("settled-too-late", message=act.envelope.message, recipients=result.lost)
        self._in_flight -= len(settlement.fates)
        if result.added:
            self.take(Claimed(act.envelope, result.added))
        if self._backlog and self._in_flight <= self.settings.in_flight // 2:
            self._backlog = False
            self._awake.set()
        elif not result.finished and any(fate.next is not None for fate in settlement.fates):
            self._awake.set()  # the next due time may be an earlier one now

    def _not_settled(self, act: Act, refusal: Refusal, after: Callable[[], None]) -> None:
        log.warning("not-settled", message=act.envelope.message, cause=refusal.cause.value, what=refusal.what)
        if refusal.cause is Cause.TOO_MANY and act.expansions:
            expanded = [pair for pair in act.ready if pair[1].state is State.EXPANDED]
            act.ready = [pair for pair in act.ready if pair[1].state is not State.EXPANDED]
            act.failed += [(r, Fate(r.n, State.FAILED, 550, "5.3.4", refusal.what)) for r, _ in expanded]
            act.expansions = ()
            self.settle(act, after)
        elif not self._stopping:
            asyncio.get_running_loop().call_later(TROUBLE_SLEEP, self.settle, act, after)

    # --- notices

    def _told(self, act: Act, now: int) -> tuple[list[Told], int]:
        """Of whom the sender of an act's message is to be told, and the time that is over or, of a delay, 0."""
        schedule, envelope = self.settings.schedule, act.envelope
        if act.failed:
            expired = any(fate.enhanced == "5.4.7" for _, fate in act.failed)
            told = [Told(recipient, fate, Action.FAILED) for recipient, fate in act.failed]
            return told, int(schedule.lifetime) if expired else 0
        late = schedule.delay_notice and now - envelope.received >= schedule.delay_notice
        if not late or envelope.warned or envelope.submitted_by is None or not envelope.sender:
            return [], 0
        until = envelope.received + int(schedule.lifetime)
        return [Told(r, fate, Action.DELAYED, until) for r, fate in act.ready if fate.state is State.DEFERRED], 0

    def _notices(self, act: Act, told: list[Told], now: int, lifetime: int) -> tuple[Incoming, ...]:
        made = notice(
            act.envelope, told, (act.head or b"")[:HEADER_LIMIT], self.settings.notices,
            now=now, message_id=self.spool.new_id(), stage=self.spool.staged_copy, lifetime=lifetime,
        )  # fmt: skip
        return () if made is None else (made,)

    def _has_head(self, act: Act) -> bool:
        """False: it is to be read first."""
        if act.envelope.size <= WHOLE:
            try:
                act.head = self.spool.at_hand(act.envelope)
            except RookeryError as error:
                _unreadable(act, error)
        return act.head is not None

    async def _read_head(self, act: Act) -> None:
        try:
            act.head = await self.spool.head(act.envelope, HEADER_LIMIT)
        except RookeryError as error:
            _unreadable(act, error)


def _unreadable(act: Act, error: RookeryError) -> None:
    log.error("body-unreadable", message=act.envelope.message, what=error.what)
    act.head = b""
