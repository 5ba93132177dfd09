"""A host is found by who knows only the backends: the first claims, others are asked when it does not answer."""

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.placement.rendezvous import ranked
from rookery.distribution.service.away import AWAY
from rookery.distribution.service.calls import Expect, Expected, Host, Moved
from rookery.distribution.service.finding import REFERRALS, Finder

BACKENDS = [Host(f"b{number}", f"192.0.2.{number}:7143") for number in range(1, 6)]
ACCOUNT = b"account-of-alice"
EXPECT = Expect(ACCOUNT, "imap", "f1", "session")
ORDER = ranked(ACCOUNT, BACKENDS, lambda host: host.backend)


class World:
    """Backends as `hosts` says: who hosts each account."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hosts: dict[bytes, Host] = {}
        self.away: dict[Host, Cause] = {}
        self.wrong: dict[Host, Host] = {}  # what it believes
        self.asked: list[Host] = []
        self.finder = Finder(self.ask, self.clock)

    async def ask(self, host: Host, expect: Expect) -> Expected | Moved:
        self.asked.append(host)
        if host in self.away:
            raise RookeryError(self.away[host], "no answer")
        if host in self.wrong:
            return Moved(self.wrong[host])
        found = self.hosts.setdefault(expect.account, host)
        return Expected(host.backend.encode().ljust(16)) if found == host else Moved(found)

    async def find(self) -> Host:
        self.asked.clear()
        host, handle = await self.finder.find(EXPECT, BACKENDS)
        assert handle == host.backend.encode().ljust(16)
        return host


@pytest.fixture
def world() -> World:
    return World()


async def test_an_account_that_nobody_hosts_is_claimed_by_its_first_backend(world: World) -> None:
    assert await world.find() == ORDER[0]
    assert world.hosts == {ACCOUNT: ORDER[0]}
    assert world.asked == ORDER[:1]


async def test_the_host_that_is_named_is_asked(world: World) -> None:
    world.hosts[ACCOUNT] = ORDER[3]
    assert await world.find() == ORDER[3]
    assert world.asked == [ORDER[0], ORDER[3]]


async def test_who_does_not_answer_is_asked_last_for_a_while(world: World) -> None:
    world.away[ORDER[0]] = Cause.UNAVAILABLE
    assert await world.find() == ORDER[1]
    assert world.asked == ORDER[:2]
    await world.find()
    assert world.asked == ORDER[1:2]
    del world.away[ORDER[0]]
    world.clock.advance(AWAY)
    assert await world.find() == ORDER[1]
    assert world.asked == ORDER[:2]
    world.hosts.clear()
    assert await world.find() == ORDER[0]


async def test_the_host_that_lives_and_cannot_be_reached_keeps_the_account(world: World) -> None:
    """Nobody else claims it, and no other backend is taken for it."""
    world.hosts[ACCOUNT] = ORDER[0]
    world.away[ORDER[0]] = Cause.UNAVAILABLE
    with pytest.raises(RookeryError) as told:
        await world.find()
    assert told.value.cause is Cause.UNAVAILABLE
    assert world.hosts == {ACCOUNT: ORDER[0]}
    assert world.asked == [ORDER[0], ORDER[1], ORDER[0]]


async def test_referrals_end(world: World) -> None:
    world.wrong = {ORDER[0]: ORDER[1], ORDER[1]: ORDER[0]}
    with pytest.raises(RookeryError) as told:
        await world.find()
    assert told.value.cause is Cause.UNAVAILABLE
    assert len(world.asked) == 1 + REFERRALS


@pytest.mark.parametrize("cause", [Cause.NOT_FOUND, Cause.BUSY, Cause.TOO_MANY])
async def test_what_a_backend_knows_of_the_account_is_not_asked_of_another(world: World, cause: Cause) -> None:
    world.away[ORDER[0]] = cause
    with pytest.raises(RookeryError) as told:
        await world.find()
    assert told.value.cause is cause
    assert world.asked == ORDER[:1]


async def test_when_nobody_answers_all_were_asked(world: World) -> None:
    world.away = dict.fromkeys(BACKENDS, Cause.UNAVAILABLE)
    with pytest.raises(RookeryError):
        await world.find()
    assert world.asked == ORDER
    with pytest.raises(RookeryError, match="no backend"):
        await world.finder.find(EXPECT, [])
