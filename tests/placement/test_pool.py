"""What each statement to the pool's database does, one after another."""

import pytest

from rookery.base.errors import Cause, Refusal
from rookery.distribution.placement.beats import EPOCHS
from rookery.distribution.placement.values import Elsewhere, Here, Moved, Nobody, Peer, Pool
from rookery.storage.jump import UIDS
from rookery.storage.schema import MOVED, MOVING_IN, MOVING_OUT, REMOVED
from tests.placement.conftest import Place, account_id

MOVING = 2


async def _registered(place: Place, *incarnations: int) -> Pool:
    pool = place.open()
    for incarnation in incarnations:
        await pool.register(f"b{incarnation // 10}", f"b{incarnation // 10}:993", incarnation, False)
    return pool


class TestIncarnations:
    async def test_a_beat_counts_up_and_shows_the_others(self, place: Place) -> None:
        pool = await _registered(place, 10, 20)
        assert (await pool.beat(10, False)).mine == 1
        answer = await pool.beat(20, False)
        assert answer.mine == 1
        assert answer.others == (Peer(10, "b1", "b1:993", 1),)
        assert (await pool.beat(20, False)).mine == 2

    async def test_registering_ends_the_former_incarnation_of_the_backend(self, place: Place) -> None:
        pool = await _registered(place, 10, 20, 11)
        assert (await pool.beat(10, False)).mine is None
        assert (await pool.beat(11, False)).mine == 1
        assert {peer.incarnation for peer in (await pool.beat(20, False)).others} == {11}

    async def test_who_was_never_registered_has_no_beat(self, place: Place) -> None:
        assert (await (await _registered(place)).beat(5, False)).mine is None

    async def test_a_death_names_the_counter_that_was_seen(self, place: Place) -> None:
        pool = await _registered(place, 10)
        await pool.beat(10, False)
        assert not await pool.end({10: 0})
        assert (await pool.beat(10, False)).mine == 2
        assert await pool.end({10: 2})
        assert not await pool.end({10: 2})
        assert (await pool.beat(10, False)).mine is None

    async def test_who_leaves_ends_itself(self, place: Place) -> None:
        pool = await _registered(place, 10)
        await pool.beat(10, False)
        assert await pool.end({10: None})

    async def test_draining_is_seen_by_all(self, place: Place) -> None:
        pool = await _registered(place, 10, 20)
        await pool.beat(10, True)
        assert [peer.draining for peer in (await pool.beat(20, False)).others] == [True]
        await pool.beat(10, False)
        assert [peer.draining for peer in (await pool.beat(20, False)).others] == [False]

    async def test_an_incarnation_is_of_one_timeline(self, place: Place) -> None:
        pool = await _registered(place, 10)
        place.promote("other/2")
        assert (await pool.beat(10, False)).mine is None
        assert await pool.register("b1", "b1:993", 11, False) == "other/2"
        assert (await pool.beat(11, False)).mine == 1


class TestClaims:
    async def test_what_nobody_hosts_is_claimed_and_what_others_host_is_not(self, place: Place) -> None:
        first, second = place.add(2)
        pool = await _registered(place, 10, 20)
        claimed = (await pool.claim(10, [first], take=True)).found
        both = await pool.claim(20, [first, second], take=True)
        assert both.living
        assert both.found[first] == Elsewhere("b1", "b1:993", 10)
        mine, other = claimed[first], both.found[second]
        assert isinstance(mine, Here)
        assert isinstance(other, Here)
        assert 0 < mine.epoch < other.epoch

    async def test_a_host_may_claim_again_what_is_its_own(self, place: Place) -> None:
        (account,) = place.add(1)
        pool = await _registered(place, 10)
        one, two = [(await pool.claim(10, [account], take=True)).found[account] for _ in range(2)]
        assert isinstance(one, Here)
        assert isinstance(two, Here)
        assert one.epoch < two.epoch

    async def test_of_a_host_that_has_ended_it_is_claimed(self, place: Place) -> None:
        (account,) = place.add(1)
        pool = await _registered(place, 10, 20)
        await pool.claim(10, [account], take=True)
        await pool.end({10: 0})
        assert isinstance((await pool.claim(20, [account], take=True)).found[account], Here)

    async def test_nothing_is_inherited_from_an_earlier_incarnation(self, place: Place) -> None:
        (account,) = place.add(1)
        pool = await _registered(place, 10)
        before = (await pool.claim(10, [account], take=True)).found[account]
        await _registered(place, 11)
        after = (await pool.claim(11, [account], take=True)).found[account]
        assert isinstance(before, Here)
        assert isinstance(after, Here)
        assert before.epoch < after.epoch

    async def test_who_has_ended_claims_nothing(self, place: Place) -> None:
        (account,) = place.add(1)
        pool = await _registered(place, 10, 20)
        await pool.end({10: 0})
        assert not (await pool.claim(10, [account], take=True)).living
        assert (await pool.claim(20, [account], take=False)).found[account] == Nobody()

    @pytest.mark.parametrize(
        ("state", "cause"), [(REMOVED, Cause.NOT_FOUND), (MOVING_IN, Cause.MOVED), (MOVING_OUT, Cause.MOVED)]
    )
    async def test_only_active_accounts_are_claimed(self, place: Place, state: int, cause: Cause) -> None:
        (account,) = place.add(1, state)
        pool = await _registered(place, 10)
        found = (await pool.claim(10, [account], take=True)).found[account]
        assert isinstance(found, Refusal)
        assert found.cause is cause

    async def test_of_what_has_moved_the_pools_own_row_says_where_it_is(self, place: Place) -> None:
        (stays,), (moved,) = place.add(1), place.add(1, MOVED)
        pool = await _registered(place, 10)
        claimed = await pool.claim(10, [stays, moved], take=True)
        assert claimed.found[moved] == Moved(7)
        assert isinstance(claimed.found[stays], Here)

    async def test_a_claim_makes_no_account(self, place: Place) -> None:
        pool = await _registered(place, 10)
        found = (await pool.claim(10, [account_id(99)], take=True)).found[account_id(99)]
        assert isinstance(found, Refusal)
        assert found.cause is Cause.NOT_FOUND

    async def test_who_only_asks_takes_nothing(self, place: Place) -> None:
        (account,) = place.add(1)
        pool = await _registered(place, 10, 20)
        assert (await pool.claim(10, [account], take=False)).found[account] == Nobody()
        assert isinstance((await pool.claim(20, [account], take=True)).found[account], Here)

    async def test_what_was_hosted_under_another_timeline_is_nobodys(self, place: Place) -> None:
        (account,) = place.add(1)
        pool = await _registered(place, 10, 20)
        await pool.claim(10, [account], take=True)
        place.promote("other/2")
        late = await pool.claim(20, [account], take=True)
        assert (late.living, late.timeline) == (False, "other/2")
        await _registered(place, 21)
        assert isinstance((await pool.claim(21, [account], take=True)).found[account], Here)

    async def test_under_each_timeline_epochs_and_uids_leap_to_a_place_of_their_own(self, place: Place) -> None:
        """Also when a fail-over has lost what was done after the one before it."""
        (account,) = place.add(1)
        pool = await _registered(place, 10)
        before = (await pool.claim(10, [account], take=True)).found[account]
        place.promote("other/0000000A")
        await _registered(place, 11)
        await pool.claim(11, [account], take=True)
        uidnext = place.numbers(account)[1][1]
        place.promote("other/0000000D")
        await _registered(place, 12)
        after = (await pool.claim(12, [account], take=True)).found[account]
        assert isinstance(before, Here)
        assert isinstance(after, Here)
        assert after.epoch - before.epoch > (10 + 13) * EPOCHS
        assert place.numbers(account)[1][1] - uidnext == 3 * UIDS

    async def test_a_release_names_the_epoch(self, place: Place) -> None:
        (account,) = place.add(1)
        pool = await _registered(place, 10, 20)
        old = (await pool.claim(10, [account], take=True)).found[account]
        new = (await pool.claim(10, [account], take=True)).found[account]
        assert isinstance(old, Here)
        assert isinstance(new, Here)
        await pool.release(10, account, old.epoch)
        assert isinstance((await pool.claim(20, [account], take=True)).found[account], Elsewhere)
        await pool.release(10, account, new.epoch)
        assert isinstance((await pool.claim(20, [account], take=True)).found[account], Here)


class TestListings:
    async def test_the_living_with_what_they_host(self, place: Place) -> None:
        accounts = place.add(3)
        pool = await _registered(place, 20, 10, 30)
        await pool.claim(10, accounts[:2], take=True)
        await pool.claim(20, accounts[2:], take=True)
        await pool.end({30: 0})
        assert [(peer.backend, count) for peer, count in await pool.living()] == [("b1", 2), ("b2", 1)]

    async def test_who_has_ended_is_kept_while_an_account_names_it(self, place: Place) -> None:
        (account,) = place.add(1)
        pool = await _registered(place, 10, 20, 30)
        await pool.claim(10, [account], take=True)
        await pool.end({10: 0})
        await pool.end({20: 0})
        ended = await pool.purge([])
        assert sorted(ended) == [10, 20]
        assert await pool.purge([10, 20, 30]) == [10]
        assert place.incarnations() == {10, 30}
