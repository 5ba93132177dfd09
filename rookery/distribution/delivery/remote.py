"""Mail to other hosts: one line of jobs for each destination, few connections to each, few in all.

A connection is used for all that waits for its destination. A destination that cannot be reached is left alone for a
while, and what comes for it meanwhile is deferred at once with the same words: a dead host costs nothing but its own
mail's time. Bodies are sent by DATA, never BDAT: a peer refuses recipients before the body, and DATA is what every one
of them has had tested. 8-bit mail goes as it is to a peer without 8BITMIME: practically all are clean, the alternative
of RFC 6152 section 3 is to return it, and conversion would break signatures.
"""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from rookery.base.clock import Clock
from rookery.base.errors import RookeryError
from rookery.base.log import logger
from rookery.distribution.delivery.hosts import Connection, Hosts
from rookery.distribution.delivery.outcome import Job, Outcome, Verdict, outcome, own
from rookery.distribution.directory.addresses import canonical_domain
from rookery.formats.headers import body_start
from rookery.wire.smtp_client.commands import Unsendable
from rookery.wire.smtp_client.events import Mail, MailRecipient

log = logger("delivery")

RECIPIENTS = 100  # of one transaction (RFC 5321 section 4.5.3.1.8)
TRANSACTIONS = 100  # of one connection
DESTINATIONS = 10_000  # remembered as unreachable
HEADER_LIMIT = 64 * 1024  # octets looked at for characters beyond ASCII


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """`connections` in all and `each` to one destination; `backoff`: the first and the longest rest of one that cannot
    be reached, in seconds.
    """

    connections: int = 100
    each: int = 10
    backoff: tuple[float, float] = (60.0, 1800.0)


class _Destination:
    __slots__ = ("failures", "jobs", "name", "reached", "refused", "said", "until", "waiting", "workers")

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: deque[Job] = deque()
        self.workers = 0
        self.waiting = False  # stands in line for a connection
        self.reached = False  # a connection has been made since it last failed
        self.failures = 0
        self.until = 0.0  # monotonic; before it, everything is answered by `said`
        self.said: Outcome | None = None
        self.refused: Outcome | None = None  # why the last connection could not be made


class RemoteDelivery:
    """Hand in jobs by `submit`; `close` drops what is under way: it has had no outcome and will be tried again."""

    def __init__(self, hosts: Hosts, clock: Clock, dice: random.Random, settings: RemoteSettings) -> None:
        self._hosts = hosts
        self._clock = clock
        self._dice = dice
        self._settings = settings
        self._destinations: dict[str, _Destination] = {}
        self._line: deque[_Destination] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def submit(self, name: str, job: Job) -> None:
        """`name`: a domain in lower case, or an address literal."""
        destination = self._destinations.get(name)
        if destination is None:
            if len(self._destinations) >= DESTINATIONS:
                self._forget()
            destination = self._destinations[name] = _Destination(name)
        if destination.said is not None and self._clock.monotonic() < destination.until:
            asyncio.get_running_loop().call_soon(job.all, destination.said)
            return
        destination.jobs.append(job)
        self._serve(destination)

    def forgive(self) -> None:
        """Try again at once what rests."""
        for destination in self._destinations.values():
            destination.until, destination.failures = 0.0, 0

    async def close(self, grace: float) -> None:
        """What waits gets no outcome; what is under way gets `grace` seconds to have one."""
        self._closing = True
        for destination in self._destinations.values():
            destination.jobs.clear()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def connections(self) -> int:
        return len(self._tasks)

    # --- who may work

    def _serve(self, destination: _Destination) -> None:
        """One more worker, if there is work for it and room. The first one finds out whether anybody is there."""
        if self._closing or not destination.jobs or destination.waiting:
            return
        if destination.workers and (not destination.reached or destination.workers >= self._settings.each):
            return
        if len(self._tasks) >= self._settings.connections:
            destination.waiting = True
            self._line.append(destination)
            return
        destination.workers += 1
        task = asyncio.get_running_loop().create_task(self._work(destination))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._ended(destination))

    def _ended(self, destination: _Destination) -> None:
        destination.workers -= 1
        if self._line:
            other = self._line.popleft()
            other.waiting = False
            self._serve(other)
        self._serve(destination)
        if not destination.workers and not destination.jobs and destination.said is None:
            self._destinations.pop(destination.name, None)

    def _forget(self) -> None:
        """Make room: first those whose rest is over, then the one that failed longest ago."""
        now = self._clock.monotonic()
        idle = [d for d in self._destinations.values() if not d.workers and not d.jobs]
        over = [d for d in idle if d.until <= now] or sorted(idle, key=lambda d: d.until)[:1]
        for destination in over:
            del self._destinations[destination.name]

    # --- the work

    async def _work(self, destination: _Destination) -> None:
        connection: Connection | None = None
        job: Job | None = None
        try:
            while destination.jobs:
                job = destination.jobs.popleft()
                if connection is None or not connection.session.usable or connection.session.delivered >= TRANSACTIONS:
                    if connection is not None:
                        await connection.session.quit()
                    connection = await self._connect(destination)
                    if connection is None:
                        break
                connection, outcomes = await self._deliver(destination, connection, job)
                job.done(outcomes)
                job = None
                self._serve(destination)
            if connection is not None:
                await connection.session.quit()
        finally:
            if job is not None and not self._closing:
                self._tell(destination, job)

    def _tell(self, destination: _Destination, job: Job) -> None:
        """No connection: the job, and all that waited with it, fares the same."""
        said = destination.refused or own("4.3.0", "the attempt ended before its time")
        waiting, destination.jobs = destination.jobs, deque()
        for one in (job, *waiting):
            one.all(said)

    async def _connect(self, destination: _Destination) -> Connection | None:
        """None: `destination.refused` says why."""
        found = await self._hosts.connect(destination.name)
        if isinstance(found, Connection):
            destination.reached, destination.failures, destination.said, destination.refused = True, 0, None, None
            return found
        destination.reached, destination.refused = False, found
        if found.verdict is Verdict.LATER:
            self._leave_alone(destination, found)
        return None

    def _leave_alone(self, destination: _Destination, said: Outcome) -> None:
        first, longest = self._settings.backoff
        rest = min(first * 2 ** min(destination.failures, 20), longest) * self._dice.uniform(0.8, 1.0)
        destination.failures += 1
        destination.until = self._clock.monotonic() + rest
        destination.said = said
        log.info("unreachable", destination=destination.name, code=said.code, text=said.text, rest=round(rest))

    async def _deliver(
        self, destination: _Destination, connection: Connection, job: Job
    ) -> tuple[Connection, list[Outcome]]:
        """The outcomes, and the connection to go on with: another one if this one had been closed meanwhile."""
        outcomes: list[Outcome] = []
        for start in range(0, len(job.recipients), RECIPIENTS):
            part = job.recipients[start : start + RECIPIENTS]
            used = connection.session.delivered > 0
            found = await self._transaction(connection, job, part)
            if used and not connection.session.usable and all(o.code == 421 for o in found):
                # a connection that waited may have been closed meanwhile: that says nothing about this message
                again = await self._hosts.connect(destination.name)
                if isinstance(again, Connection):
                    connection = again
                    found = await self._transaction(connection, job, part)
            outcomes.extend(found)
        return connection, outcomes

    async def _transaction(self, connection: Connection, job: Job, part: Sequence[str]) -> Sequence[Outcome]:
        session, host = connection.session, connection.host
        extensions = session.extensions
        if extensions.size and job.size > extensions.size:
            return [own("5.3.4", f"the message is larger than {host} takes: {extensions.size} octets")] * len(part)
        recipients = part
        try:
            if not extensions.smtputf8:
                recipients = [_ascii_domain(address) for address in part]
                if await _needs_smtputf8(job, recipients):
                    return [own("5.6.7", f"{host} takes no addresses or headers beyond ASCII")] * len(part)
            mail = Mail(
                sender=job.sender,
                recipients=tuple(MailRecipient(address) for address in recipients),
                size=job.size,
                eight_bit=job.eight_bit,
                smtputf8=job.smtputf8 or not _ascii(job.sender, *recipients),
            )
            replies = await session.deliver(mail, job.chunks)
        except Unsendable as error:
            return [own("5.1.3", str(error))] * len(part)
        except RookeryError as error:
            log.error("body-unreadable", session=job.session, message=job.delivery, what=error.what)
            return [own("4.3.0", "the message cannot be read from the spool")] * len(part)
        return [outcome(reply, host) for reply in replies]


def _ascii(*texts: str) -> bool:
    return all(text.isascii() for text in texts)


def _ascii_domain(address: str) -> str:
    """A domain in A-labels says the same as in Unicode (RFC 6531 section 3.7.1); the local part has no such form."""
    local, at, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        return f"{local}{at}{canonical_domain(domain)}"
    except RookeryError:
        return address


async def _needs_smtputf8(job: Job, recipients: Sequence[str]) -> bool:
    """Senders declare it more often than they need it: what counts is what would be sent (RFC 6531 section 3.5)."""
    if not _ascii(job.sender, *recipients):
        return True
    if not job.smtputf8:
        return False
    head = b""
    async for chunk in job.chunks():
        head += chunk
        if len(head) >= HEADER_LIMIT or b"\r\n\r\n" in head:
            break
    return not head[: body_start(head)].isascii()
