"""Each recipient to the backend that hosts it, and every job is answered once, in order."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId, new_account_id
from rookery.distribution.delivery.hosted import HostedDelivery
from rookery.distribution.delivery.outcome import Job, Outcome, Verdict, own
from rookery.distribution.directory.values import Resolution, Resolved, Target, Unknown
from rookery.distribution.placement.values import Elsewhere
from tests.access.hosts import Hosts

T = TypeVar("T")

B2, B3 = Elsewhere("b2", "127.0.0.12:143", 2), Elsewhere("b3", "127.0.0.13:143", 3)


class Taken:
    """A delivery that keeps its jobs until they are answered."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.closed = False

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    async def close(self) -> None:
        self.closed = True

    def answer(self) -> None:
        for job in self.jobs:
            job.done([Outcome(Verdict.DONE, 250, "2.0.0", address) for address in job.recipients])


class Site:
    def __init__(self) -> None:
        self.hosts, self.here = Hosts(), Taken()
        self.there: dict[Elsewhere, Taken] = {}
        self.accounts: dict[str, AccountId] = {}
        self.delivery = HostedDelivery(self.hosts, self, self.here, self._other)
        self.outcomes: list[Outcome] = []

    def resolve(self, address: str) -> Resolution:
        account = self.accounts.get(address)
        return Unknown() if account is None else Resolved((Target(account, address),))

    async def find(self, look: Callable[["Site"], T]) -> T:
        return look(self)

    def _other(self, host: Elsewhere) -> Taken:
        assert host not in self.there
        made = self.there[host] = Taken()
        return made

    def account(self, address: str, where: Elsewhere | RookeryError | None = None) -> str:
        account = self.accounts[address] = new_account_id()
        if where is not None:
            self.hosts.away[account] = where
        return address

    async def send(self, *recipients: str) -> None:
        async def nothing():  # type: ignore[no-untyped-def]
            yield b""

        def done(outcomes: Sequence[Outcome]) -> None:
            assert not self.outcomes
            self.outcomes = list(outcomes)

        self.delivery.submit(Job("", recipients, 0, False, False, "m", "s", None, nothing, done))
        await self.delivery.close()


@pytest.fixture
async def site() -> Site:
    return Site()


async def test_one_part_for_each_backend(site: Site) -> None:
    names = [site.account("a"), site.account("b", B2), site.account("c", B3), site.account("d", B2), site.account("e")]
    await site.send(*names)
    assert [job.recipients for job in site.here.jobs] == [("a", "e")]
    assert [job.recipients for job in site.there[B2].jobs] == [("b", "d")]
    assert [job.recipients for job in site.there[B3].jobs] == [("c",)]
    for taken in (site.there[B3], site.here, site.there[B2]):
        assert not site.outcomes
        taken.answer()
    assert [one.text for one in site.outcomes] == names
    assert site.here.closed
    assert site.there[B2].closed


async def test_what_cannot_be_located_waits(site: Site) -> None:
    away = RookeryError(Cause.UNAVAILABLE, "the database is away")
    await site.send(site.account("a", away), site.account("b"), "gone")
    site.here.answer()
    assert site.outcomes == [
        own("4.3.2", "the mailbox cannot be opened now"),
        Outcome(Verdict.DONE, 250, "2.0.0", "b"),
        own("4.3.0", "the address leads elsewhere by now"),
    ]


async def test_nothing_to_deliver_is_answered_too(site: Site) -> None:
    await site.send(site.account("a", RookeryError(Cause.BUSY, "")))
    assert [one.verdict for one in site.outcomes] == [Verdict.LATER]


async def test_an_account_that_no_pool_has_is_refused_by_the_mailboxes(site: Site) -> None:
    await site.send(site.account("a", RookeryError(Cause.NOT_FOUND, "")))
    assert [job.recipients for job in site.here.jobs] == [("a",)]
