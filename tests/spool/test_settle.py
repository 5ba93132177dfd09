"""Settling: a table of what fates do, and what is left behind."""

from collections.abc import Awaitable, Callable

import pytest

from rookery.base.clock import ManualClock
from rookery.distribution.spool import admin
from rookery.distribution.spool.spool import LATE, Spool
from rookery.distribution.spool.values import (
    Claimed,
    Expansion,
    Fate,
    Incoming,
    NoticeKind,
    Settlement,
    State,
)

Make = Callable[..., Incoming]
Open = Callable[..., Awaitable[Spool]]


async def claimed_one(spool: Spool, make: Make, *recipients: str) -> Claimed:
    await spool.accept(make(spool, *recipients))
    (claimed,) = await spool.claim_due(100)
    return claimed


def states(spool: Spool, claimed: Claimed) -> list[tuple[str, str, int]]:
    report = spool.read(lambda reader: admin.show(reader, claimed.envelope.number))
    assert report is not None
    return [(r.address, r.state, r.attempts) for r in report.recipients]


@pytest.mark.parametrize("state", [State.DELIVERED, State.RELAYED, State.FAILED, State.REMOVED])
async def test_last_fate_finishes(spool: Spool, make: Make, state: State) -> None:
    claimed = await claimed_one(spool, make)
    settled = await spool.settle(Settlement(claimed.envelope, (Fate(1, state, 250, "2.0.0", "so it is"),)))
    assert settled.finished
    assert spool.read(admin.lowest) is None
    report = spool.read(lambda reader: admin.show(reader, claimed.envelope.number))
    assert report is not None
    assert report.finished == spool.now()
    (recipient,) = report.recipients
    assert (recipient.state, recipient.code, recipient.text) == (state.name.lower(), 250, "so it is")
    assert not spool.live.needed(claimed.envelope.place.segment)


async def test_deferred_comes_back_at_its_time(spool: Spool, clock: ManualClock, make: Make) -> None:
    claimed = await claimed_one(spool, make)
    later = spool.now() + 60
    settled = await spool.settle(
        Settlement(claimed.envelope, (Fate(1, State.DEFERRED, 451, "4.3.0", "later", "mx.test", later),))
    )
    assert not settled.finished
    assert await spool.next_due() == later
    assert await spool.claim_due(10) == ()
    clock.advance(60)
    (again,) = await spool.claim_due(10)
    assert again.recipients[0].attempts == 1
    assert states(spool, again) == [("bob@example.test", "claimed", 1)]


async def test_a_claim_given_back_counts_no_attempt(spool: Spool, make: Make) -> None:
    claimed = await claimed_one(spool, make)
    await spool.settle(Settlement(claimed.envelope, (Fate(1, State.DUE),)))
    (again,) = await spool.claim_due(10)
    assert again.recipients[0].attempts == 0


async def test_recipients_have_fates_of_their_own(spool: Spool, make: Make) -> None:
    claimed = await claimed_one(spool, make, "a@x.test", "b@x.test", "c@x.test")
    first = await spool.settle(Settlement(claimed.envelope, (Fate(1, State.DELIVERED), Fate(3, State.FAILED))))
    assert not first.finished
    assert states(spool, claimed) == [
        ("a@x.test", "delivered", 1), ("b@x.test", "claimed", 0), ("c@x.test", "failed", 1),
    ]  # fmt: skip
    assert (await spool.settle(Settlement(claimed.envelope, (Fate(2, State.RELAYED),)))).finished


async def test_two_settlements_of_one_message_in_one_batch(spool: Spool, make: Make) -> None:
    claimed = await claimed_one(spool, make, "a@x.test", "b@x.test")
    results: list[object] = []
    for n in (1, 2):
        spool.settle_soon(Settlement(claimed.envelope, (Fate(n, State.DELIVERED),)), results.append)
    await spool.writer.exclusive(lambda tx: None)
    assert [getattr(result, "lost", None) for result in results] == [0, 0]
    assert getattr(results[-1], "finished", False)
    assert spool.read(admin.lowest) is None


async def test_expansion_happens_once_and_leaves_out_what_is_there(spool: Spool, make: Make) -> None:
    claimed = await claimed_one(spool, make, "list@x.test", "a@x.test")
    expansions = (Expansion(1, "a@x.test"), Expansion(1, "b@x.test"), Expansion(1, "b@x.test"))
    settlement = Settlement(claimed.envelope, (Fate(1, State.EXPANDED),), expansions)
    settled = await spool.settle(settlement)
    assert [(r.n, r.address, r.given, r.depth) for r in settled.added] == [(3, "b@x.test", "list@x.test", 1)]
    again = await spool.settle(settlement)
    assert (again.lost, again.added) == (1, ())
    assert states(spool, claimed) == [
        ("list@x.test", "expanded", 1), ("a@x.test", "claimed", 0), ("b@x.test", "claimed", 0),
    ]  # fmt: skip


async def test_an_expansion_of_only_known_addresses_may_finish(spool: Spool, make: Make) -> None:
    claimed = await claimed_one(spool, make, "list@x.test", "a@x.test")
    await spool.settle(Settlement(claimed.envelope, (Fate(2, State.DELIVERED),)))
    settled = await spool.settle(Settlement(claimed.envelope, (Fate(1, State.EXPANDED),), (Expansion(1, "a@x.test"),)))
    assert settled.finished


async def test_a_notice_enters_with_the_fate(spool: Spool, hand, make: Make) -> None:
    hand.has_room = False
    claimed = await claimed_one(spool, make)
    hand.has_room = True
    notice = make(spool, "ann@remote.test", sender="", notice=NoticeKind.TO_SENDER)
    settled = await spool.settle(Settlement(claimed.envelope, (Fate(1, State.FAILED),), (), (notice,)))
    assert settled.finished
    (taken,) = hand.taken
    assert taken.envelope.notice is NoticeKind.TO_SENDER
    assert taken.envelope.sender == ""
    assert taken.recipients[0].address == "ann@remote.test"
    assert spool.body(taken.envelope).startswith(b"Subject")


async def test_a_late_settlement_changes_nothing_and_tells_nobody(open_spool: Open, make: Make) -> None:
    spool = await open_spool()
    claimed = await claimed_one(spool, make)
    fate = (Fate(1, State.FAILED),)
    await spool.settle(Settlement(claimed.envelope, fate))
    notice = make(spool, "ann@remote.test", sender="")
    late = await spool.settle(Settlement(claimed.envelope, fate, (), (notice,)))
    assert (late.lost, late.notices, late.finished) == (1, (), False)
    assert spool.read(admin.lowest) is None


async def test_another_incarnations_claim_is_not_ours(open_spool: Open, make: Make) -> None:
    first = await open_spool()
    claimed = await claimed_one(first, make)
    await first.close()
    second = await open_spool()
    late = await second.settle(Settlement(claimed.envelope, (Fate(1, State.DELIVERED),)))
    assert late.lost == 1
    (again,) = await second.claim_due(10)
    assert (await second.settle(Settlement(again.envelope, (Fate(1, State.DELIVERED),)))).finished


async def test_texts_of_peers_are_bounded(spool: Spool, make: Make) -> None:
    claimed = await claimed_one(spool, make)
    await spool.settle(Settlement(claimed.envelope, (Fate(1, State.DEFERRED, 451, "4.0.0", "x" * 5000, next=1),)))
    report = spool.read(lambda reader: admin.show(reader, claimed.envelope.number))
    assert report is not None
    assert len(report.recipients[0].text) == 1000


async def test_lowest_unsettled_follows(spool: Spool, clock: ManualClock, make: Make) -> None:
    hand_over = []
    for _ in range(3):
        await spool.accept(make(spool))
        clock.advance(1)
    clock.advance(2 * LATE)
    hand_over = list(await spool.claim_due(10))
    first, second, third = sorted(claimed.envelope.message for claimed in hand_over)
    assert await spool.lowest_unsettled() == first
    by_id = {claimed.envelope.message: claimed for claimed in hand_over}
    done = (Fate(1, State.DELIVERED),)
    await spool.settle(Settlement(by_id[first].envelope, done))
    assert await spool.lowest_unsettled() == second
    await spool.settle(Settlement(by_id[third].envelope, done))
    assert await spool.lowest_unsettled() == second
    await spool.settle(Settlement(by_id[second].envelope, done))
    assert await spool.lowest_unsettled() > third


async def test_a_thousand_recipients(spool: Spool, make: Make) -> None:
    await spool.accept(make(spool, *(f"u{n}@x.test" for n in range(1000))))
    seen: list[int] = []
    while found := await spool.claim_due(300):
        for claimed in found:
            seen += [recipient.n for recipient in claimed.recipients]
            await spool.settle(
                Settlement(claimed.envelope, tuple(Fate(r.n, State.DELIVERED) for r in claimed.recipients))
            )
    assert sorted(seen) == list(range(1, 1001))
    assert spool.read(admin.lowest) is None
