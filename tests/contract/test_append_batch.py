"""What append_batch promises, on every engine."""

import pytest

from rookery.base.errors import Cause, Refusal
from rookery.storage.accounts import RemoveAccount, SetLimits
from rookery.storage.counters import read_counters
from rookery.storage.operations import APPEND, REMOVE_ACCOUNT, SET_LIMITS
from rookery.storage.schema import MIGRATIONS
from rookery.storage.values import Appended, Flag
from tests.contract.conftest import Engine
from tests.storage.world import World, account_id


@pytest.fixture
def world(engine: Engine) -> World:
    return World(engine(MIGRATIONS))


def test_messages_of_many_accounts_in_one_batch(world: World) -> None:
    accounts = [world.account(n) for n in range(1, 6)]
    items = [world.item(account) for account in accounts for _ in range(3)]
    results = world.append(APPEND, items)
    assert [r.uid for r in results] == [1, 2, 3] * 5
    assert [r.modseq for r in results] == [2, 3, 4] * 5
    world.check()


def test_a_refusal_does_not_touch_the_others(world: World) -> None:
    world.account(1, messages=1)
    full, other = account_id(1), world.account(2)
    missing = account_id(9)
    items = [world.item(a) for a in (full, full, other, missing)] + [world.item(other, mailbox=99)]
    first, second, third, fourth, fifth = world.append(APPEND, items)
    assert isinstance(first, Appended)
    assert isinstance(third, Appended)
    assert [r.cause for r in (second, fourth, fifth)] == [Cause.OVER_QUOTA, Cause.NOT_FOUND, Cause.NOT_FOUND]
    world.check()


def test_quota_of_octets_counts_what_the_batch_adds(world: World) -> None:
    account = world.account(1, size=250)
    results = world.append(APPEND, [world.item(account, 100) for _ in range(3)] + [world.item(account, 50)])
    assert [isinstance(r, Appended) for r in results] == [True, True, False, True]
    world.one(SET_LIMITS, SetLimits(account, 0, 0))
    assert isinstance(world.append(APPEND, [world.item(account, 10_000)])[0], Appended)
    world.check()


def test_a_delivery_id_is_stored_once(world: World) -> None:
    account, other = world.account(1), world.account(2)
    [first] = world.append(APPEND, [world.item(account, delivery="m/alice")])
    again, within, twin, elsewhere = world.append(
        APPEND,
        [
            world.item(account, delivery="m/alice"),
            world.item(account, delivery="n/alice"),
            world.item(account, delivery="n/alice"),
            world.item(other, delivery="m/alice"),
        ],
    )
    assert again.duplicate
    assert (again.uid, again.modseq, again.uidvalidity) == (first.uid, first.modseq, first.uidvalidity)
    assert (within.duplicate, twin.duplicate, elsewhere.duplicate) == (False, True, False)
    assert twin.uid == within.uid
    world.check()


def test_a_blob_without_references_cannot_gain_one(world: World) -> None:
    account = world.account()
    item = world.item(account)
    world.append(APPEND, [item])
    [again] = world.perform(APPEND, item)
    assert isinstance(again, Appended)
    assert world.rows("SELECT refs FROM blob") == [(2,)]
    with world.database.write() as tx:
        tx.run("UPDATE blob SET refs = 0, ended = 1")
    assert world.perform(APPEND, item) == [Refusal(Cause.NOT_FOUND, "the message's body is not in this store")]
    assert world.perform(APPEND, world.item(account))[0].cause is Cause.NOT_FOUND


def test_one_body_for_several_accounts_of_a_batch(world: World) -> None:
    first = world.item(world.account(1))
    second = world.item(world.account(2))
    shared = [first, type(second)(second.account, first.blob, first.size, first.received)]
    world.append(APPEND, shared)
    assert world.rows("SELECT refs FROM blob") == [(2,)]
    world.check()


def test_flags_keywords_and_their_counters(world: World) -> None:
    account = world.account()
    flags = int(Flag.SEEN | Flag.DELETED)
    world.append(APPEND, [world.item(account, flags=flags, keywords=("$Junk", "work")), world.item(account)])
    assert world.rows("SELECT uid, flags FROM presence ORDER BY uid") == [(1, flags | 32 | 64), (2, 0)]
    with world.database.read() as reader:
        counted = read_counters(reader, 1)[1]
    assert (counted.messages, counted.unseen, counted.deleted) == (2, 1, 1)
    [refused] = world.append(APPEND, [world.item(account, keywords=("two words",))])
    assert refused.cause is Cause.INVALID
    world.check()


def test_another_epoch_is_fenced(world: World) -> None:
    account = world.account()
    same, other = world.append(APPEND, [world.item(account, epoch=0), world.item(account, epoch=7)])
    assert isinstance(same, Appended)
    assert other.cause is Cause.MOVED


def test_a_removed_account_takes_nothing(world: World) -> None:
    account = world.account()
    world.one(REMOVE_ACCOUNT, RemoveAccount(account))
    assert world.append(APPEND, [world.item(account)])[0].cause is Cause.NOT_FOUND


def test_uids_end_with_their_32_bits(world: World) -> None:
    account = world.account()
    with world.database.write() as tx:
        tx.run("UPDATE counter SET uidnext = 4294967295 WHERE mailbox = 1")
    last, over = world.append(APPEND, [world.item(account), world.item(account)])
    assert last.uid == 4294967295
    assert over.cause is Cause.TOO_MANY
