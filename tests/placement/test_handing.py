"""A drain goes no faster than others take over what is in use."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rookery.base.ids import AccountId
from rookery.base.log import captured
from rookery.distribution.placement.handing import AT_FIRST, BRISK, LOOK, MOMENT, MOST, Handing
from rookery.distribution.placement.values import Elsewhere
from tests.placement.backend import Backend
from tests.placement.conftest import MemoryPlace, Moments, account_id


@pytest.fixture
def moments() -> Moments:
    return Moments()


class Others:
    """They take each account `after` seconds."""

    def __init__(self, moments: Moments, after: float) -> None:
        self._moments, self._after = moments, after
        self.given: dict[AccountId, float] = {}
        self.most = 0

    async def taken(self, accounts: list[AccountId]) -> list[AccountId]:
        self.most = max(self.most, len(accounts))
        return [account for account in accounts if self._moments.at - self.given[account] >= self._after]

    async def take(self, count: int) -> float:
        """Seconds until the last was given."""
        began = self._moments.at
        handing = Handing(self.taken, self._moments.now, self._moments.pause)  # type: ignore[arg-type]
        for number in range(count):
            account = account_id(number)
            self.given[account] = self._moments.at
            await handing.given(account)
        return self._moments.at - began


async def test_one_at_a_time_to_those_that_take_their_time(moments: Moments) -> None:
    others = Others(moments, 2 * BRISK)
    took = await others.take(100)
    assert others.most == AT_FIRST
    assert took == pytest.approx(100 * 2 * BRISK, rel=0.2)


async def test_many_at_a_time_to_those_that_take_them_at_once(moments: Moments) -> None:
    others = Others(moments, BRISK / 2)
    took = await others.take(1000)
    assert AT_FIRST < others.most <= MOST
    assert took < 1000 / AT_FIRST * BRISK / 2 / 4


async def test_who_is_in_no_hurry_is_not_waited_for(moments: Moments) -> None:
    took = await Others(moments, 1e9).take(10)
    assert took <= 10 / AT_FIRST * (MOMENT + LOOK)


class Drained:
    """Three backends; the first has ten accounts open, each with sessions."""

    def __init__(self, moments: Moments) -> None:
        self.place = MemoryPlace()
        self.backends = [Backend(self.place.open(), name, 10 * n, moments) for n, name in enumerate("abc", 1)]
        self.accounts = self.place.add(10)

    async def begin(self) -> None:
        await self.beat()
        await self.first.locate(*self.accounts)
        self.first.sessions.open.update(self.accounts)

    async def beat(self) -> None:
        for backend in self.backends * 2:
            await backend.placement.heart.once()

    @property
    def first(self) -> Backend:
        return self.backends[0]


async def test_accounts_of_a_drained_one_go_to_all_others(moments: Moments) -> None:
    scene = Drained(moments)
    await scene.begin()
    await scene.first.placement.drain()
    await scene.beat()
    found = await scene.first.locate(*scene.accounts)
    assert {one.backend for one in found if isinstance(one, Elsewhere)} == {"b", "c"}


async def test_undrain_ends_a_drain(moments: Moments) -> None:
    scene = Drained(moments)
    await scene.begin()
    draining = asyncio.ensure_future(scene.first.placement.drain())
    for _ in range(10):
        await asyncio.sleep(0)
    scene.first.placement.undrain()
    await draining
    assert 0 < len(scene.first.placement.hosted()) < len(scene.accounts)


async def _beats(backend: Backend) -> None:
    await backend.beat()


async def _claims(backend: Backend) -> None:
    backend.placement._ask(account_id(1))
    await backend.placement.claim_some()


@pytest.mark.parametrize(("act", "event"), [(_beats, "beat-failed"), (_claims, "claim-failed")])
async def test_a_database_that_is_away_is_told_once(
    moments: Moments, act: Callable[[Backend], Awaitable[None]], event: str
) -> None:
    scene = Drained(moments)
    await scene.begin()
    with captured() as lines:
        scene.place.pool.down = True
        for _ in range(20):
            await act(scene.first)
        scene.place.pool.down = False
        await act(scene.first)
    assert [line[1] for line in lines if line[1] in (event, "recovered")] == [event, "recovered"]
