"""Mail for our own accounts, each to the backend that hosts it: by LMTP over a stream in memory when that is this one,
over a socket when it is another, over the network when it is in another pool. A body goes once to each backend or pool,
whatever the number of its recipients there.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from msgspec.structs import replace

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.base.log import logger
from rookery.distribution.delivery.outcome import Job, Outcome, own
from rookery.distribution.directory.values import Resolution, Resolved
from rookery.distribution.placement.values import Elsewhere, Location

log = logger("delivery")

T = TypeVar("T")


class Delivery(Protocol):
    """What takes jobs; see `local.LocalDelivery`."""

    def submit(self, job: Job) -> None: ...

    async def close(self) -> None: ...


class Resolver(Protocol):
    """What delivery asks of the directory."""

    def resolve(self, address: str) -> Resolution: ...


class Hosts(Protocol):
    """What delivery asks of placement."""

    async def locate(self, account: AccountId) -> Location: ...


class Directory(Protocol):
    async def find(self, look: Callable[[Resolver], T]) -> T:
        """What `look` finds, without keeping the event loop waiting."""
        ...


class HostedDelivery:
    """`here` delivers to this backend, `there(host)` makes what delivers to another; one is kept for each."""

    def __init__(
        self,
        hosts: Hosts,
        directory: Directory,
        here: Delivery,
        there: Callable[[Elsewhere], Delivery],
    ) -> None:
        self._hosts = hosts
        self._directory = directory
        self._here = here
        self._there = there
        self._others: dict[Elsewhere, Delivery] = {}
        self._asking: set[asyncio.Task[None]] = set()

    def submit(self, job: Job) -> None:
        task = asyncio.get_running_loop().create_task(self._send(job))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def close(self) -> None:
        if self._asking:
            await asyncio.wait(self._asking)
        await asyncio.gather(self._here.close(), *(other.close() for other in self._others.values()))

    async def _send(self, job: Job) -> None:
        found = await asyncio.gather(*(self._locate(address) for address in job.recipients))
        parts: dict[Elsewhere | None, list[int]] = {}
        outcomes: list[Outcome | None] = [None] * len(found)
        for index, host in enumerate(found):
            if isinstance(host, Outcome):
                outcomes[index] = host
            else:
                parts.setdefault(host, []).append(index)
        missing = len(parts)
        if not missing:
            job.done([one for one in outcomes if one is not None])

        def taker(places: list[int]) -> Callable[[Sequence[Outcome]], None]:
            def done(results: Sequence[Outcome]) -> None:
                nonlocal missing
                for place, result in zip(places, results, strict=True):
                    outcomes[place] = result
                missing -= 1
                if not missing:
                    job.done([one for one in outcomes if one is not None])

            return done

        for host, places in parts.items():
            recipients = tuple(job.recipients[place] for place in places)
            self._to(host).submit(replace(job, recipients=recipients, done=taker(places)))

    def _to(self, host: Elsewhere | None) -> Delivery:
        if host is None:
            return self._here
        other = self._others.get(host)
        if other is None:
            other = self._others[host] = self._there(host)
        return other

    async def _locate(self, address: str) -> Elsewhere | Outcome | None:
        """None: here."""
        try:
            found = await self._directory.find(lambda directory: directory.resolve(address))
            if not isinstance(found, Resolved) or len(found.targets) != 1:
                return own("4.3.0", "the address leads elsewhere by now")  # sorted anew at the next attempt
            host = await self._hosts.locate(found.targets[0].account)
        except RookeryError as error:
            log.info("not-located", address=address, cause=error.cause.value, what=error.what)
            if error.cause is Cause.NOT_FOUND:
                return None  # this backend says so in its own words
            return own("4.3.2", "the mailbox cannot be opened now")
        if not isinstance(host, Elsewhere):
            return None
        return replace(host, address="") if host.pool else host  # which differs from login to login
