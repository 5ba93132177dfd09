"""Several nodes work on one spool: each message is delivered by one of them, whoever dies meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.spool import admin, shared, tidy
from rookery.distribution.spool.ids import message_number
from rookery.distribution.spool.spool import LATE, Spool
from rookery.distribution.spool.values import Claimed, Expansion, Fate, Incoming, MessageReport, Settlement, State
from rookery.storage.engine import EngineFailed
from rookery.storage.gate import Gate
from rookery.storage.postgres import PostgresDatabase
from tests.postgres import Postgres, Wire

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.parametrize("open_spool", ["postgres"], indirect=True),
]

Make = Callable[..., Incoming]
Open = Callable[..., Awaitable[Spool]]
LARGE = b"l" * (1 << 20)


def _done(claimed: Claimed, state: State = State.DELIVERED) -> Settlement:
    return Settlement(claimed.envelope, tuple(Fate(r.n, state) for r in claimed.recipients))


def _report(spool: Spool, message: str) -> MessageReport | None:
    return spool.read(lambda reader: admin.show(reader, message_number(message)))


def _bodies(fresh_postgres: Postgres) -> int:
    return int(str(fresh_postgres.run(f"SELECT count(DISTINCT blob) FROM {fresh_postgres.schema}.body")[0][0]))


async def test_each_recipient_is_claimed_once(open_spool: Open, make: Make) -> None:
    nodes = [await open_spool(holder=f"n{n}") for n in range(3)]
    assert [(i.incarnation, i.holder) for i in nodes[0].incarnations()] == [(1, "n0"), (2, "n1"), (3, "n2")]
    await asyncio.gather(*(spool.accept(make(spool, "a@x.test", "b@x.test")) for spool in nodes for _ in range(20)))
    seen: list[tuple[str, int]] = []

    async def work(spool: Spool) -> None:
        while found := await spool.claim_due(7):
            seen.extend((claimed.envelope.message, r.n) for claimed in found for r in claimed.recipients)
            for claimed in found:
                await spool.settle(_done(claimed))

    await asyncio.gather(*map(work, nodes))
    assert len(seen) == len(set(seen)) == 120
    assert nodes[0].read(admin.lowest) is None
    assert len({message for message, _ in seen}) == 60


async def test_two_nodes_settle_one_message_at_once_and_it_finishes(
    open_spool: Open, make: Make, fresh_postgres: Postgres
) -> None:
    first, second = await open_spool(), await open_spool()
    for _ in range(10):
        await first.accept(make(first, "a@x.test", "b@x.test"))
        (one,) = await first.claim_due(1)
        (other,) = await second.claim_due(1)
        results = await asyncio.gather(first.settle(_done(one)), second.settle(_done(other)))
        assert [result.finished for result in results].count(True) == 1
    assert first.read(admin.lowest) is None
    assert _bodies(fresh_postgres) == 0


async def test_two_nodes_expand_one_message_at_once(open_spool: Open, make: Make) -> None:
    first, second = await open_spool(), await open_spool()
    await first.accept(make(first, "l1@x.test", "l2@x.test"))
    (one,), (other,) = await first.claim_due(1), await second.claim_due(1)
    results = await asyncio.gather(
        *(
            spool.settle(
                Settlement(
                    claimed.envelope,
                    (Fate(claimed.recipients[0].n, State.EXPANDED),),
                    tuple(Expansion(claimed.recipients[0].n, f"u{n}@x.test") for n in (first_user, 2)),
                )
            )
            for spool, claimed, first_user in ((first, one, 1), (second, other, 3))
        )
    )
    added = [recipient for result in results for recipient in result.added]
    assert sorted(recipient.address for recipient in added) == ["u1@x.test", "u2@x.test", "u3@x.test"]
    assert sorted(recipient.n for recipient in added) == [3, 4, 5]


async def test_a_dead_nodes_claims_are_taken_over_and_it_can_settle_nothing(open_spool: Open, make: Make) -> None:
    dead, alive = await open_spool(), await open_spool()
    old = dead.incarnation
    await dead.accept(make(dead, "a@x.test"))
    (held,) = await dead.claim_due(1)
    assert await alive.claim_due(1) == ()
    assert await alive.take_over([old]) == 1
    assert await alive.take_over([old, alive.incarnation, 99]) == 0
    (claimed,) = await alive.claim_due(1)
    assert alive.body(claimed.envelope) == alive.body(held.envelope)
    with pytest.raises(RookeryError) as caught:
        await dead.settle(_done(held, State.FAILED))
    assert caught.value.cause is Cause.MOVED
    await _begun_anew(dead, old)
    assert (await dead.settle(_done(held, State.FAILED))).lost == 1
    assert (await alive.settle(_done(claimed))).finished
    await dead.accept(make(dead))  # it is one of them again
    assert len(await dead.claim_due(1)) == 1


async def _begun_anew(spool: Spool, old: int) -> None:
    async with asyncio.timeout(20):
        while spool.incarnation == old:  # noqa: ASYNC110  nobody is told
            await asyncio.sleep(0)


async def test_taking_over_beside_the_settling_of_what_is_taken_over(open_spool: Open, make: Make) -> None:
    """Whichever comes first, each message is settled by the one or due for the other, and never both."""
    for _ in range(5):
        dead, alive = await open_spool(), await open_spool()
        old = dead.incarnation
        for _ in range(10):
            await dead.accept(make(dead))
        held = await dead.claim_due(10)
        settling = asyncio.gather(*(dead.settle(_done(claimed)) for claimed in held), return_exceptions=True)
        taken, results = await asyncio.gather(alive.take_over([old]), settling)
        settled = [result for result in results if not isinstance(result, BaseException) and not result.lost]
        assert taken == 10 - len(settled)
        again = await alive.claim_due(100)
        assert len(again) == taken
        await asyncio.gather(*(alive.settle(_done(claimed)) for claimed in again))


async def test_a_node_that_stops_gives_up_its_claims_at_once(open_spool: Open, make: Make) -> None:
    first, second = await open_spool(), await open_spool()
    await first.accept(make(first))
    assert len(await first.claim_due(1)) == 1
    number = first.incarnation
    await first.close()
    assert len(await second.claim_due(1)) == 1
    assert number not in [living.incarnation for living in second.incarnations()]
    third = await open_spool()
    assert third.incarnation > second.incarnation


async def test_ids_are_not_forgotten_while_another_node_may_use_them(
    open_spool: Open, clock: ManualClock, make: Make
) -> None:
    first, second = await open_spool(), await open_spool()
    early = second.new_id()
    clock.advance(LATE / 2)
    assert await first.lowest_unsettled() < early
    await second.accept(make(second, message_id=early))
    clock.advance(LATE)
    assert await first.lowest_unsettled() == early


async def test_a_large_body_whose_message_was_never_committed_goes(
    open_spool: Open, clock: ManualClock, make: Make, fresh_postgres: Postgres
) -> None:
    spool = await open_spool()
    await spool.accept(make(spool, body=LARGE))
    twice = spool.new_id()
    await spool.accept(make(spool, message_id=twice))
    with pytest.raises(RookeryError):
        await spool.accept(make(spool, message_id=twice, body=LARGE))
    assert _bodies(fresh_postgres) == 3
    await tidy.tidy(spool)
    assert _bodies(fresh_postgres) == 3  # it may be on its way
    clock.advance(2 * tidy.STRAY)
    await tidy.tidy(spool)
    assert _bodies(fresh_postgres) == 2


@pytest.mark.parametrize("delivered", [False, True])
async def test_the_connection_is_lost_at_every_message(
    open_spool: Open, make: Make, wire: Wire, clock: ManualClock, fresh_postgres: Postgres, delivered: bool
) -> None:
    """What was acknowledged is there once; what was refused is not there; what was settled is settled once."""
    spool, direct = await open_spool(uri=wire.uri), await open_spool()
    acknowledged: set[str] = set()
    for step in range(1, 60):
        clock.advance(10)
        wire.cut(step, delivered=delivered)
        message = spool.new_id()
        body = LARGE if step % 2 else b"small"
        settled = False
        with suppress(RookeryError):
            acknowledged.add(await spool.accept(make(spool, message_id=message, body=body)))
            (claimed,) = await spool.claim_due(10)
            settled = (await spool.settle(_done(claimed))).finished
        done = wire.seen < step
        wire.cut(0, delivered=False)
        report = _report(direct, message)
        assert (report is not None) == (message in acknowledged)
        assert (report is not None and report.finished > 0) == settled
        await direct.take_over([spool.incarnation])  # as if the node had died here
        old = spool.incarnation
        for claimed in await direct.claim_due(10):
            assert claimed.envelope.message == message
            assert b"".join([chunk async for chunk in direct.chunks(claimed.envelope)]) == body
            assert (await direct.settle(_done(claimed))).finished
        clock.advance(10)
        with pytest.raises(RookeryError):
            await spool.claim_due(1)
        await _begun_anew(spool, old)
        if done:
            break
    assert done
    assert direct.read(admin.lowest) is None


async def test_a_node_that_was_stopped_in_mid_batch_keeps_nothing_locked(open_spool: Open, make: Make) -> None:
    frozen, alive = await open_spool(holder="frozen"), await open_spool(holder="alive")
    await frozen.accept(make(frozen))
    (held,) = await frozen.claim_due(1)
    with pytest.raises(EngineFailed), frozen.database.write() as tx:  # noqa: PT012
        tx.share("SELECT incarnation FROM incarnation WHERE incarnation = ?", frozen.incarnation)
        tx.lock_many("message", ("message",), [(held.envelope.number,)])
        async with asyncio.timeout(8):  # less than any lock or idle transaction lasts by itself
            assert await alive.take_over([frozen.incarnation]) == 1
        tx.run("DELETE FROM message")
    assert len(await alive.claim_due(1)) == 1


async def test_when_nobody_knows_what_became_of_a_commit_the_node_begins_anew(
    open_spool: Open, make: Make, wire: Wire, fresh_postgres: Postgres, tmp_path: Path
) -> None:
    clock, direct = ManualClock(), await open_spool(holder="direct")
    database = PostgresDatabase(
        wire.uri, shared.SHARED_MIGRATIONS, fresh_postgres.schema, clock=clock, pause=clock.advance
    )
    spool = shared.spool_on(database, tmp_path / "own", holder="doubtful", clock=clock, gate=Gate())
    await spool.accept(make(spool))
    (claimed,) = await spool.claim_due(1)
    old = spool.incarnation
    wire.cut_at_commit()
    with pytest.raises(RookeryError) as caught:
        await spool.settle(Settlement(claimed.envelope, (Fate(1, State.DEFERRED, next=1),)))
    assert caught.value.cause is Cause.UNAVAILABLE
    assert database.doubts == 1
    assert len(await direct.claim_due(1)) == 1  # it had been committed
    clock.advance(10)
    wire.go_on()
    await _begun_anew(spool, old)
    await spool.accept(make(spool))
    assert len(await spool.claim_due(1)) == 1
    assert (await spool.settle(Settlement(claimed.envelope, (Fate(1, State.FAILED),)))).lost == 1
    await spool.close()
