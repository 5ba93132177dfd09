"""An account's row decides: only what is active is opened and written to, whoever comes, and a tombstone stays one."""

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.storage.accounts import CreateAccount, SetLimits
from rookery.storage.append import Append
from rookery.storage.open_account import OpenAccount
from rookery.storage.operations import CREATE_ACCOUNT, SET_LIMITS
from rookery.storage.schema import ACTIVE, MOVED, MOVING_IN, MOVING_OUT, REMOVED
from rookery.storage.store import Store
from tests.storage.conftest import BOTH, Opener, staged
from tests.storage.hosts import Host
from tests.storage.world import account_id

pytestmark = BOTH
ONE, TWO = account_id(1), account_id(2)


async def causes(store: Store, epoch: int | None) -> set[Cause | None]:
    """Of what is refused, to who still believes to host it under that epoch; None among them: something is done."""
    found: set[Cause | None] = set()
    for ask in (
        lambda: store.append(Append(ONE, staged(store, b"x"), epoch=epoch)),
        lambda: store.perform(SET_LIMITS, SetLimits(ONE, 1000, 1000, epoch)),
        lambda: store.away(lambda: OpenAccount(store, ONE, epoch)),
    ):
        if isinstance(store.hosting, Host) and epoch:
            store.hosting.epochs[ONE] = epoch  # who was told by the answer before has heard of it
        try:
            await ask()
        except RookeryError as error:
            found.add(error.cause)
        else:
            found.add(None)
    return found - {Cause.UNAVAILABLE}  # said to who has lost it by this very batch


async def made(store: Store) -> int | None:
    """The account with a message; returns under which epoch it is hosted."""
    await store.create_account(ONE)
    epoch = store.hosting.epoch(ONE) or None
    await store.append(Append(ONE, staged(store, b"x"), epoch=epoch))
    return epoch


def rows(store: Store) -> list[int]:
    with store.read() as reader:
        return [reader.rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("account", "moved", "mailbox")]


async def test_what_moves_out_stays_as_it_is_and_may_stay_after_all(open_store: Opener) -> None:
    store = await open_store()
    epoch = await made(store)
    opened = await store.open_account(ONE)
    await store.set_state(ONE, MOVING_OUT)
    assert opened.lost, "its sessions end"
    assert await causes(store, epoch) == {Cause.MOVED}
    await store.set_state(ONE, ACTIVE)
    assert await causes(store, epoch) == {None}
    assert OpenAccount(store, ONE).usage().messages == 2


async def test_of_what_has_moved_a_row_stays_that_says_where(open_store: Opener) -> None:
    store = await open_store()
    epoch = await made(store)
    await store.set_state(ONE, MOVING_OUT)
    await store.set_state(ONE, MOVED, pool=7)
    await store.upkeep.run()
    assert rows(store) == [1, 1, 0]
    await store.perform(CREATE_ACCOUNT, CreateAccount(ONE))  # of a node that knows nothing of it: no more than a word
    assert await causes(store, epoch) == {Cause.MOVED}
    if not store.database.shared:
        assert store.moved == {ONE: 7}
        await store.close()
        store = await open_store()
        assert store.moved == {ONE: 7}
    with pytest.raises(RookeryError) as refused:
        await store.set_state(ONE, ACTIVE)
    assert refused.value.cause is Cause.CONFLICT
    await store.remove_account(ONE)
    assert not store.moved
    assert await causes(store, epoch) == {Cause.NOT_FOUND}


async def test_what_moves_in_is_nobodys_until_all_of_it_is_there(open_store: Opener) -> None:
    store = await open_store()
    await store.create_account(ONE, state=MOVING_IN)
    assert await causes(store, store.hosting.epoch(ONE) or None) == {Cause.MOVED}
    await store.set_state(ONE, ACTIVE)
    assert await causes(store, store.hosting.epoch(ONE) or None) == {None}


async def test_a_tombstone_fences_a_late_writer_for_ever(open_store: Opener) -> None:
    store = await open_store()
    epoch = await made(store)
    opened = await store.open_account(ONE)
    await store.remove_account(ONE)
    assert opened.lost
    for _ in range(2):
        assert await causes(store, epoch) == {Cause.NOT_FOUND}
        for ask in (store.create_account(ONE), store.set_state(ONE, ACTIVE)):
            with pytest.raises(RookeryError) as refused:
                await ask
            assert refused.value.cause in (Cause.EXISTS, Cause.NOT_FOUND)
        await store.upkeep.run()
        assert rows(store) == [1, 0, 0]


async def test_a_state_follows_only_where_it_may(open_store: Opener) -> None:
    store = await open_store()
    await made(store)
    for state in (MOVING_IN, MOVED, REMOVED):
        with pytest.raises(RookeryError) as refused:
            await store.set_state(ONE, state)
        assert refused.value.cause is Cause.CONFLICT
    await store.set_state(ONE, ACTIVE)
    with pytest.raises(RookeryError) as refused:
        await store.set_state(TWO, MOVING_OUT)
    assert refused.value.cause is Cause.NOT_FOUND
