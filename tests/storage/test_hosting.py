"""Two backends on one store: who hosts an account writes to it, and nobody else does, whatever they believe."""

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import system_random
from rookery.base.numberset import NumberSet
from rookery.storage.append import Append
from rookery.storage.engine import Transaction
from rookery.storage.gate import Gate
from rookery.storage.open_account import OpenAccount
from rookery.storage.store import Store
from rookery.storage.values import Appended, Flag, FlagMode
from tests.postgres import Postgres, Wire
from tests.storage.conftest import SMALL, Mail, staged
from tests.storage.hosts import Host, reads_on_the_loop
from tests.storage.world import account_id

pytestmark = pytest.mark.postgres
N = NumberSet.parse
ONE, TWO = account_id(1), account_id(2)


class Pool:
    """`first` has made and claimed ONE and TWO."""

    def __init__(self, first: Store, second: Store, hosts: tuple[Host, Host]) -> None:
        self.first, self.second = first, second
        self.hosts = hosts

    async def deliver(self, store: Store, *accounts: Any) -> list[Appended | Refusal]:
        """All in one batch."""
        loop = asyncio.get_running_loop()
        answers = [loop.create_future() for _ in accounts]
        for account, answer in zip(accounts, answers, strict=True):
            store.append_soon(Append(account, staged(store, b"x")), answer.set_result)
        return list(await asyncio.gather(*answers))


@pytest.fixture
async def pool(fresh_postgres: Postgres, tmp_path: Path, clock: ManualClock) -> Any:
    hosts = Host(fresh_postgres, "first"), Host(fresh_postgres, "second")
    facts: dict[str, Any] = {"clock": clock, "random": system_random, "gate": Gate(), "settings": SMALL}
    first, second = [await host.open(tmp_path / name, **facts) for host, name in zip(hosts, "ab", strict=True)]
    for account in (ONE, TWO):
        await first.create_account(account)
    yield Pool(first, second, hosts)
    await first.close()
    await second.close()


class TestTheFence:
    async def test_an_account_that_another_claimed_drops_out_and_the_others_go_on(self, pool: Pool) -> None:
        opened = await pool.first.open_account(ONE)
        pool.hosts[1].claim(ONE)
        lost: list[bool] = []
        opened.when_lost(lambda: lost.append(opened.lost))
        one, two = await pool.deliver(pool.first, ONE, TWO)
        assert isinstance(one, Refusal)
        assert one.cause is Cause.UNAVAILABLE
        assert isinstance(two, Appended)
        assert pool.hosts[0].told == [("fenced", {ONE})]
        assert lost == [True]
        [there] = await pool.deliver(pool.second, ONE)
        assert isinstance(there, Appended)
        assert there.uid == 1

    async def test_what_is_asked_of_a_lost_account_is_refused(self, pool: Pool) -> None:
        opened = await pool.first.open_account(ONE)
        pool.hosts[1].claim(ONE)
        with pytest.raises(RookeryError) as caught:
            await opened.create_mailbox("late")
        assert caught.value.cause is Cause.UNAVAILABLE
        with pytest.raises(RookeryError):
            await pool.first.open_account(ONE)
        opened.release()
        there = await pool.second.open_account(ONE)
        assert there.mailbox("late") is None

    async def test_nobody_counts_from_what_was_before_another_had_the_account(self, pool: Pool) -> None:
        """The writer remembers rows for an epoch only."""
        uids = []
        for turn in range(6):
            store, host = (pool.first, pool.hosts[0]) if turn % 2 == 0 else (pool.second, pool.hosts[1])
            host.claim(ONE)
            answers = await pool.deliver(store, ONE, ONE)
            answers += await pool.deliver(store, ONE)
            uids += [answer.uid for answer in answers if isinstance(answer, Appended)]
        assert uids == list(range(1, 19))
        assert (await pool.first.verify()).findings == []

    async def test_an_item_that_waited_while_the_account_was_lost_and_had_again_is_refused(self, pool: Pool) -> None:
        old = await pool.first.open_account(ONE)
        pool.hosts[0].claim(ONE)
        pool.first.drop_account(ONE)
        new = await pool.first.open_account(ONE)
        late = Append(ONE, staged(pool.first, b"x"), epoch=old.epoch)
        with pytest.raises(RookeryError):
            await pool.first.append(late)
        assert pool.hosts[0].told == []  # it is hosted here, under another epoch
        assert not new.lost
        assert (await pool.deliver(pool.first, ONE))[0].uid == 1  # type: ignore[union-attr]

    async def test_another_timeline_refuses_the_whole_batch(self, pool: Pool, fresh_postgres: Postgres) -> None:
        opened = await pool.first.open_account(TWO)
        fresh_postgres.run(f"UPDATE {fresh_postgres.schema}.account SET opened_under = 'x/1' WHERE id = %s", ONE)
        answers = await pool.deliver(pool.first, TWO, ONE)
        assert [isinstance(answer, Refusal) for answer in answers] == [True, True]
        assert [word for word, _ in pool.hosts[0].told] == ["moved-on"]
        assert opened.lost
        pool.hosts[0].claim(TWO)
        assert (await pool.deliver(pool.first, TWO))[0].uid == 1  # type: ignore[union-attr]

    async def test_who_does_not_host_may_change_limits_and_remove(self, pool: Pool) -> None:
        opened = await pool.first.open_account(ONE)
        await pool.deliver(pool.first, ONE)
        await pool.second.set_limits(ONE, 0, 1)
        assert isinstance((await pool.deliver(pool.first, ONE))[0], Refusal)
        assert opened.usage().message_limit == 1
        await pool.second.remove_account(ONE)
        assert isinstance((await pool.deliver(pool.first, ONE))[0], Refusal)
        assert opened.removed

    async def test_accounts_are_made_by_both_at_once(self, pool: Pool) -> None:
        both = [account_id(n) for n in range(10, 20)]
        await asyncio.gather(*(store.create_account(one) for one in both for store in (pool.first, pool.second)))
        numbers = pool.hosts[0]._database.run(f"SELECT account FROM {pool.hosts[0]._database.schema}.account")
        assert sorted(numbers) == [(n,) for n in range(1, 13)]


class TestOpening:
    async def test_what_is_committed_while_an_account_is_read_is_not_missed(self, pool: Pool) -> None:
        opening = asyncio.ensure_future(pool.first.open_account(ONE))
        for _ in range(5):
            await pool.deliver(pool.first, ONE)
        opened = await opening
        assert opened.usage().messages == 5
        anew = OpenAccount(pool.first, ONE)
        assert opened.mailboxes() == anew.mailboxes()

    async def test_a_batch_that_had_begun_is_waited_for(self, pool: Pool) -> None:
        """It did not know that anybody would want to know."""
        begun, go_on = threading.Event(), threading.Event()

        def hold(tx: Transaction) -> None:
            begun.set()
            assert go_on.wait(30)

        reads = reads_on_the_loop(pool.first)
        delivery = asyncio.ensure_future(pool.deliver(pool.first, ONE))
        held = asyncio.ensure_future(pool.first.exclusive(hold))
        assert await asyncio.to_thread(begun.wait, 30)
        opening = asyncio.ensure_future(pool.first.open_account(ONE))
        await asyncio.to_thread(lambda: OpenAccount(pool.first, ONE))  # long enough to read it
        assert not opening.done()
        go_on.set()
        await asyncio.gather(delivery, held)
        assert (await opening).usage().messages == 1
        assert not reads

    async def test_an_account_that_is_lost_while_it_is_read_is_not_opened(self, pool: Pool) -> None:
        opening = asyncio.ensure_future(pool.first.open_account(ONE))
        await asyncio.sleep(0)
        pool.first.drop_account(ONE)
        with pytest.raises(RookeryError):
            await opening
        again = await pool.first.open_account(ONE)
        assert not again.lost

    async def test_all_who_ask_share_one(self, pool: Pool) -> None:
        first, second = await asyncio.gather(pool.first.open_account(ONE), pool.first.open_account(ONE))
        assert first is second
        assert first.holders == 2


class TestUpkeep:
    async def test_one_backend_at_a_time(self, pool: Pool, clock: ManualClock) -> None:
        opened = await pool.first.open_account(ONE)
        mail = Mail(pool.first, ONE, opened)
        await mail.fill(3)
        await mail.append(b"x" * (1 << 20))
        await opened.expunge(1, force=True)
        clock.advance(86_401)
        with pool.second.database.write() as tx:
            assert tx.take("SELECT name FROM meta WHERE name = 'upkeep'")
            await pool.first.upkeep.step()
            assert self._bodies(pool) == 3 + 4
        clock.advance(11)
        await pool.first.upkeep.step()
        assert self._bodies(pool) == 0

    async def test_bodies_that_a_crash_left_go(self, pool: Pool, clock: ManualClock) -> None:
        old = b"\0" * 16
        with pool.first.database.write() as tx:
            tx.insert_many("body", ("blob", "part", "checksum", "data"), [(old, 0, 0, b"left over")])
        await pool.deliver(pool.first, ONE)
        [finding] = (await pool.first.verify()).findings
        assert old.hex() in finding.where
        await pool.first.upkeep.run()
        assert self._bodies(pool) == 1
        assert (await pool.first.verify()).findings == []

    @staticmethod
    def _bodies(pool: Pool) -> int:
        with pool.first.read() as reader:
            row = reader.row("SELECT count(*) FROM body")
        assert row is not None
        return int(row[0])


async def test_a_snapshot_is_refused_in_words_that_help(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(RookeryError, match="pg_dump") as caught:
        await pool.first.snapshot(tmp_path / "copy")
    assert caught.value.cause is Cause.UNSUPPORTED


class TestCuts:
    """The connection is cut at each message in turn, before the server has it or after: what was answered is there
    once, and what was refused is not there at all.
    """

    @pytest.fixture
    async def host(self, fresh_postgres: Postgres, wire: Wire, tmp_path: Path, clock: ManualClock) -> Any:
        made = Host(fresh_postgres, "cut", wire.uri)
        store = await made.open(tmp_path / "cut", clock=clock, random=system_random, gate=Gate(), settings=SMALL)
        await store.create_account(ONE)
        yield made
        await store.close()

    @pytest.mark.parametrize("delivered", [False, True])
    async def test_each_message(
        self, host: Host, fresh_postgres: Postgres, wire: Wire, clock: ManualClock, delivered: bool
    ) -> None:
        assert host.store is not None
        opened = await host.store.open_account(ONE)
        held: dict[int, int] = {}  # flags by UID, as they were answered
        whole = 0
        for at in range(1, 40):
            for act in (_append, _append, _flag, _expunge):
                wire.cut(at, delivered=delivered)
                try:
                    await act(opened, held)
                except RookeryError:
                    clock.advance(5)
                else:
                    whole += wire.seen < at
                wire.cut(0, delivered=False)
                rows = fresh_postgres.run(f"SELECT uid, flags FROM {fresh_postgres.schema}.presence WHERE mailbox = 1")
                assert dict(rows) == held, (at, act.__name__)
            if whole >= 8:
                break
        assert at > 4
        assert not opened.lost
        state = opened.select(1)
        assert dict(zip(state.uids, state.flags, strict=True)) == held
        assert (await host.store.verify()).findings == []

    async def test_what_was_copied_is_shown_or_the_account_is_lost(
        self, host: Host, fresh_postgres: Postgres, wire: Wire, clock: ManualClock
    ) -> None:
        """Copies are read after the commit: when that fails they are read again, or memory is given up."""
        store = host.store
        assert store is not None
        opened = await store.open_account(ONE)
        await _append(opened, {})
        target = (await opened.create_mailbox("there")).number
        stored = f"SELECT uid FROM {fresh_postgres.schema}.presence WHERE mailbox = {target} ORDER BY uid"
        for at in range(1, 40):
            shown = opened.select(target)
            wire.cut(at, delivered=False)
            with contextlib.suppress(RookeryError):
                made = await opened.copy(1, N("1"), target)
                assert set(made.target) <= set(shown.uids)
            done = wire.seen < at
            wire.cut(0, delivered=False)
            clock.advance(5)
            if opened.lost:
                host.claim(ONE)
                opened = await store.open_account(ONE)
            assert [(uid,) for uid in opened.select(target).uids] == fresh_postgres.run(stored), at
            if done:
                break
        assert done

    async def test_nobody_knows_what_became_of_a_commit(self, host: Host, wire: Wire, clock: ManualClock) -> None:
        store = host.store
        assert store is not None
        opened = await store.open_account(ONE)
        await _append(opened, {})
        wire.cut_at_commit()
        with pytest.raises(RookeryError) as caught:
            await _append(opened, {})
        assert caught.value.cause is Cause.UNAVAILABLE
        assert host.told == [("doubtful", {ONE})]
        assert opened.lost
        wire.go_on()
        clock.advance(60)
        with pytest.raises(RookeryError):
            await store.append(Append(ONE, staged(store, b"x"), epoch=opened.epoch))  # was on its way
        host.claim(ONE)
        again = await store.open_account(ONE)
        there = again.usage().messages
        assert there in (1, 2)  # COMMIT may have been cut off from the Sync behind it: either is right, and stays so
        await _append(again, {})
        assert again.usage().messages == there + 1
        assert (await store.verify()).findings == []


async def _append(opened: OpenAccount, held: dict[int, int]) -> None:
    store = opened._home
    assert isinstance(store, Store)
    body = staged(store, b"Subject: x\r\n\r\n")
    try:
        made = await opened.append(1, body)
    finally:
        body.release()
    assert made.uid not in held
    held[made.uid] = 0


async def _flag(opened: OpenAccount, held: dict[int, int]) -> None:
    made = await opened.set_flags(1, N("1:999"), FlagMode.ADD, int(Flag.FLAGGED))
    for uid in made.changed:
        held[uid] = int(Flag.FLAGGED)


async def _expunge(opened: OpenAccount, held: dict[int, int]) -> None:
    made = await opened.expunge(1, NumberSet(((1, max(held, default=1) - 1 or 1),)), force=True)
    for uid in made.uids:
        del held[uid]
