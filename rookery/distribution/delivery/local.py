"""Our own mailboxes: LMTP over in-memory streams, on this node as to any other.

A bounded number of streams, each with one worker; a message goes down one of them once, for all its recipients here,
with a delivery id for each. The stream's other end commits before it answers, so as many messages share one flush as
there are streams.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rookery.base.errors import RookeryError
from rookery.base.log import logger
from rookery.distribution.delivery.outcome import Job, Outcome, Verdict, outcome, own
from rookery.distribution.delivery.session import PATIENCE, ClientSession, Patience, SessionRefused
from rookery.net.stream import Stream
from rookery.wire.smtp_client.commands import Unsendable
from rookery.wire.smtp_client.events import Mail, MailRecipient

log = logger("delivery")

RECIPIENTS = 100  # of one transaction (RFC 5321 section 4.5.3.1.8: what every server takes)
TRANSACTIONS = 10_000  # of one stream, then a new one


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """`streams`: messages that are delivered at the same time. `linger`: seconds that a stream is kept without any;
    None: for ever. `lmtp` False: the other end is a queue, and speaks SMTP.
    """

    hostname: str
    streams: int = 64
    patience: Patience = PATIENCE
    linger: float | None = None
    lmtp: bool = True


class LocalDelivery:
    """Hand in jobs by `submit`; `close` when none will come any more."""

    def __init__(self, dial: Callable[[], Awaitable[Stream]], settings: LocalSettings) -> None:
        self._dial = dial
        self._settings = settings
        self._jobs: deque[Job] = deque()
        self._idle: list[asyncio.Future[Job | None]] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._closing = False

    def submit(self, job: Job) -> None:
        while self._idle:
            waiting = self._idle.pop()
            if not waiting.done():
                waiting.set_result(job)
                return
        self._jobs.append(job)
        if len(self._workers) < self._settings.streams:
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    async def close(self) -> None:
        """End all workers once they have finished what they do; what still waits gets no outcome."""
        self._closing = True
        self._jobs.clear()
        for waiting in self._idle:
            if not waiting.done():
                waiting.set_result(None)
        self._idle.clear()
        if self._workers:
            await asyncio.wait(self._workers)

    async def _next(self) -> Job | None:
        if self._jobs:
            return self._jobs.popleft()
        if self._closing:
            return None
        waiting: asyncio.Future[Job | None] = asyncio.get_running_loop().create_future()
        self._idle.append(waiting)
        try:
            async with asyncio.timeout(self._settings.linger):
                return await waiting
        except TimeoutError:  # at the same moment a job may have come
            return waiting.result() if waiting.done() and not waiting.cancelled() else None

    async def _work(self) -> None:
        session: ClientSession | None = None
        while True:
            job = await self._next()
            if job is None:
                if session is not None:
                    await session.quit()
                    session = None
                if not self._jobs:  # else one came while it said goodbye
                    return
                continue
            if session is None or not session.usable or session.gone or session.delivered >= TRANSACTIONS:
                if session is not None:
                    await session.quit()
                session = await self._connect(job)
                if session is None:
                    continue
            await self._deliver(session, job)

    async def _connect(self, job: Job) -> ClientSession | None:
        """None when the job has had its outcome already."""
        try:
            settings = self._settings
            session = ClientSession(await self._dial(), settings.hostname, settings.patience, lmtp=settings.lmtp)
            await session.open()
        except SessionRefused as refused:
            job.all(_temporary(outcome(refused.reply, "")))
        except (OSError, RookeryError) as error:
            log.warning("no-local-stream", session=job.session, error=str(error))
            job.all(own("4.3.2", "the mailboxes cannot be reached now"))
        else:
            return session
        return None

    async def _deliver(self, session: ClientSession, job: Job) -> None:
        outcomes: list[Outcome] = []
        for start in range(0, len(job.recipients), RECIPIENTS):
            part = job.recipients[start : start + RECIPIENTS]
            outcomes.extend(await self._transaction(session, job, part))
        job.done(outcomes)

    async def _transaction(self, session: ClientSession, job: Job, part: tuple[str, ...]) -> list[Outcome]:
        if not session.usable:
            return [own("4.4.2", "the connection to the mailboxes was lost")] * len(part)
        prefix = job.delivery
        try:
            mail = Mail(
                sender=job.sender,
                recipients=tuple(MailRecipient(address, f"{prefix}/{address}") for address in part),
                size=job.size,
                eight_bit=job.eight_bit,
                smtputf8=job.smtputf8 and session.extensions.smtputf8,
                whole=None if job.whole is None else job.whole(),
            )
            replies = await session.deliver(mail, job.chunks)
        except Unsendable as error:
            return [own("5.1.3", str(error))] * len(part)
        except RookeryError as error:
            log.error("body-unreadable", session=job.session, message=job.delivery, what=error.what)
            return [own("4.3.0", "the message cannot be read from the spool")] * len(part)
        return [outcome(reply, "") for reply in replies]


def _temporary(result: Outcome) -> Outcome:
    """A refusal of the whole connection says nothing about a recipient."""
    if result.verdict is Verdict.LATER:
        return result
    return Outcome(Verdict.LATER, 451, "4.3.0", result.text)
