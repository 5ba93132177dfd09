"""This backend's incarnation: registered, confirmed, found dead; and what reads may believe."""

import asyncio
from collections.abc import Mapping

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.placement import heartbeat
from rookery.distribution.placement.heartbeat import ALONE, READ, STUCK, Heartbeat, Me, Surroundings
from rookery.distribution.placement.values import INTERVAL
from tests.placement.conftest import Moments, numbered
from tests.placement.memory import MemoryPool


class Body:
    """A heartbeat on a manual clock, with everything that happens around it."""

    def __init__(self, pool: MemoryPool, moments: Moments, name: str, first: int) -> None:
        self.moments = moments
        self.batch = 0.0  # seconds of the writer's present one
        self.answers = True  # to probes
        self.peers_without = False  # the database, all of them
        self.probed: list[str] = []
        self.lost = 0
        self.lives: list[int] = []
        around = Surroundings(moments.now, lambda: self.batch, moments.pause, self._probe, self._offline)
        self.heart = Heartbeat(
            pool, around, backend=name, address=f"{name}:993", random=numbered(first), lost=self._lost,
            registered=self._registered,
        )  # fmt: skip

    async def _probe(self, address: str) -> bool:
        self.probed.append(address)
        return self.answers

    async def _offline(self, incarnation: int) -> bool:
        return self.peers_without

    def _lost(self) -> None:
        self.lost += 1

    def _registered(self, me: Me) -> None:
        self.lives.append(me.incarnation)

    async def beats(self, count: int = 1) -> None:
        for _ in range(count):
            self.moments.at += INTERVAL
            await self.heart.once()
            await asyncio.sleep(0)  # probes


@pytest.fixture
def pool() -> MemoryPool:
    return MemoryPool()


@pytest.fixture
def moments() -> Moments:
    return Moments()


@pytest.fixture
async def body(pool: MemoryPool, moments: Moments) -> Body:
    body = Body(pool, moments, "a", 10)
    await body.heart.once()
    return body


class TestLife:
    async def test_the_first_beat_registers(self, body: Body, pool: MemoryPool) -> None:
        assert body.lives == [10]
        assert body.heart.me == Me(10, "one/1")
        await body.beats(2)
        assert pool.incarnations[10].beat == 2
        assert body.lost == 0

    async def test_without_the_database_it_registers_later(self, pool: MemoryPool, moments: Moments) -> None:
        body = Body(pool, moments, "a", 10)
        pool.down = True
        await body.beats(3)
        assert body.heart.me is None
        pool.down = False
        await body.beats()
        assert body.heart.me is not None

    async def test_a_registration_whose_answer_is_lost_is_made_again(self, pool: MemoryPool, moments: Moments) -> None:
        body = Body(pool, moments, "a", 10)
        pool.unheard = {"register"}
        await body.beats(2)
        assert body.lives == [11]
        assert pool.incarnations[10].ended

    async def test_who_was_found_dead_loses_everything_and_registers_anew(self, body: Body, pool: MemoryPool) -> None:
        await body.beats(2)
        assert await pool.end({10: 2})
        await body.beats()
        assert (body.lost, body.lives) == (1, [10, 11])
        assert body.heart.me == Me(11, "one/1")

    async def test_who_was_replaced_waits_until_the_other_falls_silent(
        self, body: Body, pool: MemoryPool, moments: Moments
    ) -> None:
        """Two that took the name from each other again and again would both serve nobody."""
        await body.beats(2)
        other = Body(pool, moments, "a", 20)
        await other.heart.once()
        for _ in range(20):
            await body.beats()
            await other.heart.once()
        assert (body.lost, body.lives, other.lost) == (1, [10], 0)
        pool.down = True
        await body.beats(20)
        pool.down = False
        await body.beats(5)  # a pause of the database is no silence of the other
        assert body.heart.me is None
        await body.beats(2)
        assert body.heart.me == Me(11, "one/1")
        assert pool.incarnations[20].ended

    async def test_who_was_replaced_comes_back_at_once_when_the_other_leaves(
        self, body: Body, pool: MemoryPool, moments: Moments
    ) -> None:
        other = Body(pool, moments, "a", 20)
        await other.heart.once()
        await body.beats(2)
        assert body.heart.me is None
        await other.heart.leave()
        await body.beats()
        assert body.heart.me == Me(11, "one/1")

    async def test_a_database_on_another_timeline_is_another(self, body: Body, pool: MemoryPool) -> None:
        await body.beats(2)
        pool.timeline = "one/2"
        await body.beats()
        assert (body.lost, body.heart.me) == (1, Me(11, "one/2"))

    async def test_a_counter_that_goes_back_is_an_earlier_database(self, body: Body, pool: MemoryPool) -> None:
        await body.beats(5)
        pool.incarnations[10].beat = 3
        await body.beats()
        assert (body.lost, body.lives) == (1, [10, 11])

    async def test_who_hangs_does_not_beat(self, body: Body, pool: MemoryPool) -> None:
        body.batch = STUCK
        await body.beats(3)
        assert pool.incarnations[10].beat == 0
        body.batch = STUCK - 0.1
        await body.beats()
        assert pool.incarnations[10].beat == 1

    async def test_who_leaves_is_waited_for_by_nobody(self, body: Body, pool: MemoryPool) -> None:
        await body.heart.leave()
        assert pool.incarnations[10].ended
        assert body.lost == 1

    async def test_it_runs_by_itself(self, pool: MemoryPool, moments: Moments) -> None:
        body = Body(pool, moments, "a", 10)
        running = asyncio.ensure_future(body.heart.run())
        for _ in range(100):
            await asyncio.sleep(0)
        running.cancel()
        beats = pool.incarnations[10].beat
        assert beats > 5
        assert moments.at - 1000.0 == pytest.approx(beats * INTERVAL, abs=1.5 * INTERVAL)


class TestReads:
    async def test_a_read_is_good_for_a_while_from_the_sending(self, body: Body, moments: Moments) -> None:
        await body.beats()
        moments.at += READ - 0.01
        assert body.heart.may_read()
        await body.heart.fresh()
        moments.at += 0.02
        assert not body.heart.may_read()

    async def test_beyond_it_a_read_waits_for_the_next_beat(self, body: Body, moments: Moments) -> None:
        moments.at += 5.0
        read = asyncio.ensure_future(body.heart.fresh())
        await asyncio.sleep(0)
        assert not read.done()
        await body.beats()
        await read

    async def test_an_answer_that_came_late_is_not_waited_for(
        self, body: Body, pool: MemoryPool, moments: Moments
    ) -> None:
        moments.at += 5.0
        read = asyncio.ensure_future(body.heart.fresh())
        beat = pool.beat

        async def late(incarnation: int, draining: bool) -> object:
            moments.at += READ + 0.1
            return await beat(incarnation, draining)

        pool.beat = late  # type: ignore[method-assign, assignment]
        await body.beats()
        await asyncio.sleep(0)
        assert not read.done()
        pool.beat = beat  # type: ignore[method-assign]
        await body.beats()
        await read

    async def test_then_it_is_refused(self, body: Body, moments: Moments, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(heartbeat, "PATIENCE", 0.001)
        moments.at += 5.0
        with pytest.raises(RookeryError) as caught:
            await body.heart.fresh()
        assert caught.value.cause is Cause.UNAVAILABLE

    async def test_the_read_of_an_ended_incarnation_is_refused(
        self, body: Body, pool: MemoryPool, moments: Moments
    ) -> None:
        """Frozen for a while; whose first act on waking is a read, and the second a beat."""
        moments.at += 1.2
        await pool.end({10: 0})
        read = asyncio.ensure_future(body.heart.fresh())
        await asyncio.sleep(0)
        await body.beats()
        with pytest.raises(RookeryError):
            await read
        assert body.lost == 1

    async def test_without_the_database_reads_go_on_if_all_others_are_without_it(
        self, body: Body, pool: MemoryPool, moments: Moments
    ) -> None:
        pool.down = body.peers_without = True
        await body.beats(10)
        assert not body.heart.may_read()
        await body.heart.fresh()

    async def test_who_is_alone_for_long_ends_its_sessions_once(
        self, body: Body, pool: MemoryPool, moments: Moments
    ) -> None:
        pool.down = True
        await body.beats()
        await body.heart.look_around()
        assert body.lost == 0
        moments.at += ALONE
        body.peers_without = True
        await body.heart.look_around()
        assert body.lost == 0
        body.peers_without = False
        for _ in range(3):
            await body.heart.look_around()
        assert body.lost == 1
        assert body.heart.me == Me(10, "one/1")  # and if nobody found it dead, it goes on


class TestOthers:
    async def test_who_stops_is_found_dead_after_a_second(self, body: Body, pool: MemoryPool, moments: Moments) -> None:
        other = Body(pool, moments, "b", 20)
        await other.heart.once()
        await body.beats(5)
        assert not pool.incarnations[20].ended
        await body.beats(2)
        assert pool.incarnations[20].ended
        assert set(body.probed) == {"b:993"}

    async def test_sooner_when_a_probe_fails_too(self, body: Body, pool: MemoryPool, moments: Moments) -> None:
        await Body(pool, moments, "b", 20).heart.once()
        body.answers = False
        await body.beats(5)
        assert pool.incarnations[20].ended

    async def test_after_a_pause_of_the_database_the_first_back_kills_nobody(
        self, body: Body, pool: MemoryPool, moments: Moments
    ) -> None:
        other = Body(pool, moments, "b", 20)
        await other.heart.once()
        for one in (body, other):
            one.answers = False
            await one.beats()
        pool.down = True
        await body.beats(20)
        pool.down = False
        await body.beats(3)
        assert not pool.incarnations[20].ended
        await other.beats()
        assert other.heart.me == Me(20, "one/1")

    async def test_a_gap_of_its_own_beats_restarts_its_watches(
        self, body: Body, pool: MemoryPool, moments: Moments
    ) -> None:
        await Body(pool, moments, "b", 20).heart.once()
        await body.beats(5)
        moments.at += 60.0
        await body.beats(5)
        assert not pool.incarnations[20].ended
        await body.beats(3)
        assert pool.incarnations[20].ended

    async def test_a_death_that_meets_a_beat_is_none(self, body: Body, pool: MemoryPool, moments: Moments) -> None:
        other = Body(pool, moments, "b", 20)
        await other.heart.once()
        end = pool.end

        async def beaten_to_it(seen: Mapping[int, int | None]) -> set[int]:
            await pool.beat(20, False)
            return await end(seen)

        pool.end = beaten_to_it  # type: ignore[method-assign]
        await body.beats(7)
        assert not pool.incarnations[20].ended
        assert pool.incarnations[20].beat == 1

    async def test_many_deaths_take_one_statement(self, body: Body, pool: MemoryPool, moments: Moments) -> None:
        """At a far database one by one they would take so long that the others find this one dead, too."""
        for n in range(20, 40):
            await Body(pool, moments, f"b{n}", n).heart.once()
        asked: list[int] = []
        end = pool.end

        async def counted(seen: Mapping[int, int | None]) -> set[int]:
            asked.append(len(seen))
            return await end(seen)

        pool.end = counted  # type: ignore[method-assign]
        await body.beats(8)
        assert asked == [20]

    async def test_long_after_its_end_an_incarnation_is_forgotten(
        self, body: Body, pool: MemoryPool, moments: Moments
    ) -> None:
        await pool.register("b", "b:993", 20, False)
        await pool.end({20: None})
        for _ in range(2):
            assert 20 in pool.incarnations
            moments.at += heartbeat.PURGE
            await body.beats()
        assert 20 not in pool.incarnations
        assert 10 in pool.incarnations
