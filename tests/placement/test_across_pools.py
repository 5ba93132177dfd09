"""Accounts of every pool: those of others are elsewhere, those of this one are made when they are first asked for."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId, new_account_id
from rookery.distribution.directory.values import Pool, PoolBackend, PoolKind
from rookery.distribution.placement.pools import AcrossPools
from rookery.distribution.placement.values import Elsewhere, Here, MovedTo
from tests.access.hosts import THERE, Hosts

T = TypeVar("T")

OURS, THEIRS = new_account_id(), new_account_id()
B1, B2 = PoolBackend("b1", "127.0.5.2:143", "127.0.5.2:24"), PoolBackend("b2", "127.0.5.3:143", "127.0.5.3:24")
B = Pool(7, "b", PoolKind.DYNAMIC, "store-b", "", "", True, None, 0, (B1, B2))


class World:
    def __init__(self) -> None:
        self.own = Hosts()
        self.theirs: dict[AccountId, Pool] = {THEIRS: B}
        self.store = {OURS}
        self.made: list[AccountId] = []
        self.away: RookeryError | None = None
        self.hosts = AcrossPools(self.own, self, made=self.store.__contains__, make=self._make)

    @property
    def remembered(self) -> "World":
        return self

    async def find(self, look: Callable[["World"], T]) -> T:
        return look(self)

    def elsewhere(self, account: AccountId) -> Pool | None:
        if self.away is not None:
            raise self.away
        return self.theirs.get(account)

    def pools(self) -> list[Pool]:
        return [B]

    async def _make(self, account: AccountId) -> None:
        self.store.add(account)
        self.made.append(account)
        self.own.away.pop(account, None)


@pytest.fixture
async def world() -> World:
    return World()


async def test_an_account_of_another_pool_is_at_one_of_its_backends_after_the_other(world: World) -> None:
    found = [await world.hosts.locate(THEIRS) for _ in range(3)]
    lmtp = (B1.lmtp, B2.lmtp)
    assert found == [Elsewhere("", address, 0, "b", lmtp) for address in (B1.address, B2.address, B1.address)]
    assert not world.hosts.here(THEIRS)
    assert not world.made


async def test_a_pool_without_an_address_cannot_be_reached(world: World) -> None:
    world.theirs[THEIRS] = Pool(7, "b", PoolKind.STATIC, "", "", "", True, None, 0)
    with pytest.raises(RookeryError, match="pool change b --address") as caught:
        await world.hosts.locate(THEIRS)
    assert caught.value.cause is Cause.UNAVAILABLE


async def test_our_own_are_where_our_placement_says(world: World) -> None:
    assert not world.hosts.here(OURS)  # nobody has looked yet
    assert await world.hosts.locate(OURS) == Here(1)
    assert world.hosts.here(OURS)
    world.own.held = False
    assert not world.hosts.here(OURS)
    world.own.away[OURS] = THERE
    assert await world.hosts.locate(OURS) == THERE
    assert not world.made


async def test_what_another_node_put_here_is_made_once(world: World) -> None:
    new = new_account_id()
    assert not world.hosts.here(new)
    assert await world.hosts.locate(new) == await world.hosts.locate(new) == Here(1)
    assert world.made == [new]


async def test_what_our_placement_does_not_find_is_made(world: World) -> None:
    """As in a dynamic pool, whose database is asked by placement alone."""
    new = new_account_id()
    world.store.add(new)
    world.own.away[new] = RookeryError(Cause.NOT_FOUND, "no such account in this pool")
    assert await world.hosts.locate(new) == Here(1)
    assert world.made == [new]
    world.own.away[new] = RookeryError(Cause.BUSY, "later")
    with pytest.raises(RookeryError, match="later"):
        await world.hosts.locate(new)


async def test_the_pools_own_row_decides_where_the_directory_is_old(world: World) -> None:
    world.own.away[OURS] = MovedTo(7)
    assert await world.hosts.locate(OURS) == Elsewhere("", B1.address, 0, "b", (B1.lmtp, B2.lmtp))
    assert not world.hosts.here(OURS)
    world.own.away[OURS] = MovedTo(8)
    with pytest.raises(RookeryError) as caught:  # of which the directory has not heard here
        await world.hosts.locate(OURS)
    assert caught.value.cause is Cause.MOVED
    assert not world.made


async def test_while_the_directory_is_away_nothing_is_here(world: World) -> None:
    await world.hosts.locate(OURS)
    world.away = RookeryError(Cause.UNAVAILABLE, "the directory is away")
    assert not world.hosts.here(OURS)
    with pytest.raises(RookeryError, match="is away"):
        await world.hosts.locate(OURS)
