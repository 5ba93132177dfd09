"""Account by account: claimed, held, lost, released, drained."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.placement import placement as module
from rookery.distribution.placement.beats import EPOCHS
from rookery.distribution.placement.heartbeat import ALONE, Surroundings
from rookery.distribution.placement.placement import GROUP, Placement
from rookery.distribution.placement.static import StaticPlacement
from rookery.distribution.placement.values import Answer, Elsewhere, Here, MovedTo
from rookery.storage.schema import MOVED, MOVING_IN, REMOVED
from tests.placement.backend import Backend, Sessions
from tests.placement.conftest import MemoryPlace, Moments, Place, account_id, numbered
from tests.placement.virtual import run

FIRST = EPOCHS + 1  # epoch of a new pool, on the first timeline


@pytest.fixture
def moments() -> Moments:
    return Moments()


@pytest.fixture
async def two(place: Place, moments: Moments) -> list[Backend]:
    """Backends of one pool, each with a way of its own to it."""
    backends = [Backend(place.open(), "a", 10, moments), Backend(place.open(), "b", 20, moments)]
    for backend in backends:
        await backend.beat()
    return backends


class TestTwoBackends:
    async def test_exactly_one_gets_what_both_ask_for(self, place: Place, two: list[Backend]) -> None:
        accounts = place.add(20)
        first, second = await asyncio.gather(*(backend.locate(*accounts) for backend in two))
        for one, other in zip(first, second, strict=True):
            assert {type(one), type(other)} == {Here, Elsewhere}

    async def test_the_other_is_told_where_to_go(self, place: Place, two: list[Backend]) -> None:
        (account,) = place.add(1)
        await two[0].epoch(account)
        assert await two[1].locate(account) == [Elsewhere("a", "a:993", 10)]
        assert two[1].placement.epoch(account) is None

    async def test_what_is_released_the_other_gets_under_a_higher_epoch(self, place: Place, two: list[Backend]) -> None:
        (account,) = place.add(1)
        first = await two[0].epoch(account)
        await two[0].placement.release(account)
        assert two[0].sessions.dropped == [account]
        second = await two[1].epoch(account)
        await two[1].placement.release(account)
        assert first < second < await two[0].epoch(account)

    async def test_of_a_silent_host_it_is_claimed_after_its_death(self, place: Place, two: list[Backend]) -> None:
        (account,) = place.add(1)
        first = await two[0].epoch(account)
        await two[1].beat(8)
        assert first < await two[1].epoch(account)
        await two[0].beat()  # it wakes
        assert two[0].sessions.all == 1
        assert two[0].placement.epoch(account) is None
        assert two[0].names == ["rookery 10", "rookery 11"]
        assert await two[0].locate(account) == [Elsewhere("b", "b:993", 20)]

    async def test_nobody_is_sent_to_a_host_that_is_perhaps_dead(self, place: Place, two: list[Backend]) -> None:
        (account,) = place.add(1)
        await two[0].epoch(account)
        await two[1].beat(4)
        asked = asyncio.ensure_future(two[1].placement.locate(account))
        await asyncio.sleep(0)
        assert not await two[1].placement.claim_some()
        await asyncio.sleep(0)
        assert not asked.done()
        await two[1].beat(4)
        await two[1].placement.claim_some()
        assert isinstance(await asked, Here)

    async def test_under_another_timeline_everything_is_claimed_anew(self, place: Place, two: list[Backend]) -> None:
        accounts = place.add(2)
        before = [await two[0].epoch(account) for account in accounts]
        place.promote("other/2")
        await two[1].beat()
        after = [await two[1].epoch(account) for account in accounts]
        assert max(before) < min(after)
        await two[0].beat()
        assert two[0].placement.hosted() == {}
        assert two[0].placement.timeline == "other/2"

    async def test_a_claim_that_finds_another_timeline_loses_everything(self, place: Place, two: list[Backend]) -> None:
        first, second = place.add(2)
        await two[0].epoch(first)
        place.promote("other/2")
        asked = asyncio.ensure_future(two[0].placement.locate(second))
        await asyncio.sleep(0)
        assert not await two[0].placement.claim_some()
        assert two[0].sessions.all == 1
        assert two[0].placement.hosted() == {}
        await two[0].beat()
        await two[0].placement.claim_some()
        assert isinstance(await asked, Here)

    async def test_a_drained_backend_gives_everything_away_and_sends_on(self, place: Place, two: list[Backend]) -> None:
        accounts = place.add(5)
        await two[0].locate(*accounts[:4])
        await two[0].placement.drain()
        assert sorted(two[0].sessions.dropped) == sorted(accounts[:4])
        for backend in two:
            await backend.beat()
        assert await two[0].locate(*accounts) == [Elsewhere("b", "b:993", 20)] * 5
        assert all(isinstance(found, Here) for found in await two[1].locate(*accounts))
        states = [(one.backend, one.draining, one.accounts) for one in await two[1].placement.backends()]
        assert states == [("a", True, 0), ("b", False, 5)]
        two[0].placement.undrain()
        await two[1].placement.release(accounts[0])
        assert await two[0].epoch(accounts[0]) > 0

    async def test_one_that_is_about_to_end_gives_away_what_others_take(self, place: Place, two: list[Backend]) -> None:
        accounts = place.add(3)
        await two[0].locate(*accounts)
        await two[0].beat()
        await two[0].placement.leave()
        assert not two[0].placement.hosted()
        assert all(isinstance(found, Here) for found in await two[1].locate(*accounts))
        for backend in two:
            await backend.beat()
        await two[1].placement.leave()  # there is nobody left
        assert len(two[1].placement.hosted()) == 3

    async def test_the_list_says_for_how_long_each_was_silent(self, two: list[Backend], moments: Moments) -> None:
        await two[1].beat(3)
        assert two[1].placement.living() == {"a", "b"}
        silences = {one.backend: one.silence for one in await two[1].placement.backends()}
        assert silences == {"a": pytest.approx(0.4), "b": 0.0}

    async def test_after_its_end_everybody_may_claim_at_once(self, place: Place, two: list[Backend]) -> None:
        (account,) = place.add(1)
        first = await two[0].epoch(account)
        await two[0].placement.close()
        assert first < await two[1].epoch(account)


@pytest.fixture
def here() -> MemoryPlace:
    return MemoryPlace()


@pytest.fixture
async def one(here: MemoryPlace, moments: Moments) -> AsyncIterator[Backend]:
    backend = Backend(here.open(), "a", 10, moments)
    await backend.beat()
    yield backend
    await backend.placement.close()


class TestClaims:
    async def test_all_that_ask_for_an_account_wait_for_one_claim(self, here: MemoryPlace, one: Backend) -> None:
        (account,) = here.add(1)
        found = await one.locate(*[account] * 5)
        assert len(set(found)) == 1
        assert here.pool.claims == [[account]]

    async def test_so_many_are_claimed_at_once_and_no_more(self, here: MemoryPlace, one: Backend) -> None:
        accounts = here.add(GROUP * 2 + 5)
        await one.locate(*accounts)
        assert [len(group) for group in here.pool.claims] == [GROUP, GROUP, 5]

    async def test_so_many_wait_and_no_more(
        self, here: MemoryPlace, one: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "WAITING", 2)
        waiting = [asyncio.ensure_future(one.placement.locate(account)) for account in here.add(2)]
        await asyncio.sleep(0)
        with pytest.raises(RookeryError) as caught:
            await one.placement.locate(here.add(1)[0])
        assert caught.value.cause is Cause.BUSY
        await one.placement.claim_some()
        await asyncio.gather(*waiting)

    async def test_a_claim_whose_answer_is_lost_is_made_again(self, here: MemoryPlace, one: Backend) -> None:
        (account,) = here.add(1)
        here.pool.unheard = {"claim"}
        assert await one.epoch(account) == FIRST + 1

    async def test_an_answer_of_before_everything_was_lost_opens_nothing(self, here: MemoryPlace, one: Backend) -> None:
        (account,) = here.add(1)
        here.pool.meanwhile = lambda: one.placement.heart.void("found dead in between")
        asked = asyncio.ensure_future(one.placement.locate(account))
        await asyncio.sleep(0)
        await one.placement.claim_some()
        assert one.placement.epoch(account) is None
        assert not asked.done()
        await one.beat()
        await one.placement.claim_some()
        assert await asked == Here(FIRST + 1)

    async def test_what_cannot_be_found_out_in_time_is_refused(
        self, here: MemoryPlace, one: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PATIENCE", 0.001)
        (account,) = here.add(1)
        with pytest.raises(RookeryError) as caught:
            await one.placement.locate(account)
        assert caught.value.cause is Cause.UNAVAILABLE
        assert not await one.placement.claim_some()
        assert here.pool.claims == []

    async def test_a_row_that_is_locked_is_asked_for_again(self, here: MemoryPlace, one: Backend) -> None:
        locked, free = here.add(2)
        here.pool.locked = {locked}
        asked = [asyncio.ensure_future(one.placement.locate(account)) for account in (locked, free)]
        await asyncio.sleep(0)
        assert await one.placement.claim_some()
        assert await asked[1] == Here(FIRST)
        assert not await one.placement.claim_some()
        assert not asked[0].done()
        here.pool.locked.clear()
        assert await one.placement.claim_some()
        assert await asked[0] == Here(FIRST + 1)

    async def test_who_waits_when_the_server_stops_is_told(self, here: MemoryPlace, one: Backend) -> None:
        asked = asyncio.ensure_future(one.placement.locate(here.add(1)[0]))
        await asyncio.sleep(0)
        await one.placement.close()
        with pytest.raises(RookeryError) as caught:
            await asked
        assert caught.value.cause is Cause.UNAVAILABLE

    async def test_tombstones_refuse(self, here: MemoryPlace, one: Backend) -> None:
        (removed,), (moved,) = here.add(1, REMOVED), here.add(1, MOVING_IN)
        for account, cause in ((removed, Cause.NOT_FOUND), (moved, Cause.MOVED), (account_id(77), Cause.NOT_FOUND)):
            with pytest.raises(RookeryError) as caught:
                await one.locate(account)
            assert caught.value.cause is cause

    async def test_a_tombstone_of_what_has_moved_says_where(self, here: MemoryPlace, one: Backend) -> None:
        (account,) = here.add(1)
        await one.locate(account)
        here.pool.accounts[account].state, here.pool.accounts[account].pool = MOVED, 7
        one.placement.fenced([account])  # as a batch finds it
        with pytest.raises(MovedTo) as caught:
            await one.locate(account)
        assert (caught.value.pool, caught.value.cause) == (7, Cause.MOVED)


class TestLosing:
    async def test_what_the_fence_finds_is_dropped(self, here: MemoryPlace, one: Backend) -> None:
        first, second = here.add(2)
        await one.locate(first, second)
        one.placement.fenced([first])
        one.placement.doubtful([second])
        one.placement.doubtful([second])
        assert one.sessions.dropped == [first, second]
        assert one.placement.hosted() == {}
        assert await one.epoch(second) == FIRST + 2

    async def test_news_of_the_present_timeline_are_none(self, here: MemoryPlace, one: Backend) -> None:
        (account,) = here.add(1)
        await one.epoch(account)
        one.placement.moved_on("one/1")
        assert one.sessions.all == 0
        one.placement.moved_on("one/2")
        assert one.sessions.all == 1
        assert one.placement.epoch(account) is None
        assert one.placement.timeline == ""

    async def test_a_release_waits_for_what_is_under_way(self, here: MemoryPlace, one: Backend) -> None:
        (account,) = here.add(1)
        await one.epoch(account)
        done = asyncio.Event()

        async def settle(_: AccountId) -> None:
            assert one.placement.epoch(account) == FIRST  # what is under way is still written
            await done.wait()

        one.placement.attach(one.sessions, settle)
        leaving = [asyncio.ensure_future(one.placement.release(account)) for _ in range(2)]
        asked = asyncio.ensure_future(one.placement.locate(account))
        await asyncio.sleep(0)
        assert one.sessions.dropped == []
        done.set()
        await asyncio.gather(*leaving)
        assert one.sessions.dropped == [account]
        assert here.pool.accounts[account].incarnation is None
        while not asked.done():
            await one.placement.claim_some()
            await asyncio.sleep(0)
        assert await asked == Here(FIRST + 1)

    async def test_what_nobody_asks_for_is_released(self, here: MemoryPlace, one: Backend, moments: Moments) -> None:
        idle, opened, asked = accounts = here.add(3)
        await one.locate(*accounts)
        one.sessions.open = {opened}
        moments.at += module.IDLE - 1
        await one.locate(asked)
        await one.placement.release_idle()
        assert len(one.placement.hosted()) == 3
        moments.at += 1
        await one.placement.release_idle()
        assert one.sessions.dropped == [idle]
        one.sessions.open.clear()
        moments.at += module.IDLE - 2
        await one.placement.release_idle()
        assert set(one.placement.hosted()) == {opened, asked}
        moments.at += 2
        await one.placement.release_idle()
        assert one.placement.hosted() == {}

    async def test_a_release_that_nobody_hears_of_leaves_it_to_this_host(self, here: MemoryPlace, one: Backend) -> None:
        (account,) = here.add(1)
        await one.epoch(account)
        here.pool.down = True
        await one.placement.release(account)
        assert one.placement.epoch(account) is None
        here.pool.down = False
        assert await one.epoch(account) == FIRST + 1


async def test_in_a_static_pool_everything_is_here() -> None:
    placement = StaticPlacement()
    await placement.fresh()
    assert placement.may_read()
    assert await placement.locate(account_id(1)) == Here(0)
    assert placement.living() == {""}


class TestByThemselves:
    """Everything runs, in virtual time; answers of the database take none."""

    def _backend(self, here: MemoryPlace, name: str, first: int, probe: bool = True) -> Placement:
        async def answers(address: str) -> bool:
            return probe

        around = Surroundings(now=asyncio.get_running_loop().time, probe=answers)
        made = Placement(
            here.open(), backend=name, address=f"{name}:993", around=around, random=numbered(first)
        )  # fmt: skip
        made.start()
        return made

    @pytest.mark.parametrize(("probe", "seconds"), [(True, 1.2), (False, 0.8)])
    def test_how_long_an_account_of_a_killed_host_waits(self, here: MemoryPlace, probe: bool, seconds: float) -> None:
        async def life() -> float:
            (account,) = here.add(1)
            host, other = (self._backend(here, name, first, probe) for name, first in (("a", 10), ("b", 20)))
            assert await host.locate(account) == Here(FIRST)
            await asyncio.sleep(1.05)
            for task in host._tasks:
                task.cancel()
            killed = asyncio.get_running_loop().time()
            for _ in range(200):
                if await other.locate(account) == Here(FIRST + 1):
                    break
                await asyncio.sleep(0.01)
            took = asyncio.get_running_loop().time() - killed
            await other.close()
            return took

        assert run(life()) <= seconds + 0.06

    def test_a_database_that_hangs_keeps_nobody(self, here: MemoryPlace) -> None:
        async def life() -> None:
            (account,) = here.add(1)
            placement, sessions = self._backend(here, "a", 10), Sessions()
            placement.attach(sessions)
            await placement.locate(account)
            goes_on = asyncio.Event()
            beat = here.pool.beat

            async def hangs(incarnation: int, draining: bool) -> Answer:
                await goes_on.wait()
                return await beat(incarnation, draining)

            here.pool.beat = hangs  # type: ignore[method-assign]
            await asyncio.sleep(ALONE - 2.0)
            assert not placement.may_read()
            with pytest.raises(RookeryError):
                await placement.fresh()
            assert sessions.all == 0
            await asyncio.sleep(2.0)
            assert sessions.all == 1
            goes_on.set()
            assert await placement.locate(account) == Here(FIRST + 1)
            await placement.fresh()
            assert placement.timeline == "one/1"
            await placement.close()

        run(life())
