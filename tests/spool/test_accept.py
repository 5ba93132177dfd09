"""Accepting: what is answered is there, also after the process is gone."""

from collections.abc import Awaitable, Callable

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.spool.spool import Spool, SpoolSettings
from rookery.distribution.spool.values import Incoming, Notify, Recipient
from rookery.storage.staging import MEMORY_EACH

Open = Callable[..., Awaitable[Spool]]
Make = Callable[..., Incoming]


async def test_handed_over_at_once(spool: Spool, hand, make: Make) -> None:
    message = await spool.accept(make(spool, "bob@example.test", "eve@example.test", session="s1", header_id="<one>"))
    (claimed,) = hand.taken
    assert claimed.envelope.message == message
    assert claimed.envelope.session == "s1"
    assert [(r.n, r.address, r.given, r.attempts) for r in claimed.recipients] == [
        (1, "bob@example.test", "bob@example.test", 0),
        (2, "eve@example.test", "eve@example.test", 0),
    ]
    assert spool.body(claimed.envelope).startswith(b"Subject: hello")
    assert await spool.claim_due(10) == ()
    assert await spool.next_due() is None


async def test_without_room_it_is_due_at_once(spool: Spool, hand, make: Make) -> None:
    hand.has_room = False
    await spool.accept(make(spool))
    assert (hand.taken, hand.woken) == ([], 1)
    assert await spool.next_due() == spool.now()
    (claimed,) = await spool.claim_due(10)
    assert claimed.recipients[0].address == "bob@example.test"
    assert await spool.claim_due(10) == ()


async def test_every_fact_survives(open_spool: Open, make: Make) -> None:
    spool = await open_spool()
    staging = spool.stage()
    staging.write(b"body\r\n")
    given = Incoming(
        sender="ann@remote.test",
        recipients=(Recipient("bob@example.test", original="rfc822;BOB@example.test", notify=Notify.NEVER),),
        staged=staging.finish(),
        session="s1",
        message_id=spool.new_id(),
        peer="192.0.2.1",
        submitted_by=AccountId(b"a" * 16),
        eight_bit=True,
        smtputf8=True,
        hops=3,
        header_id="<one@example.test>",
        envelope_id="QQ314159",
    )
    message = await spool.accept(given)
    assert message == given.message_id
    await spool.close()
    spool = await open_spool()
    (claimed,) = await spool.claim_due(10)
    envelope = claimed.envelope
    assert (envelope.message, envelope.sender, envelope.session, envelope.peer) == (
        message, "ann@remote.test", "s1", "192.0.2.1",
    )  # fmt: skip
    assert (envelope.submitted_by, envelope.eight_bit, envelope.smtputf8, envelope.hops) == (b"a" * 16, True, True, 3)
    assert (envelope.header_id, envelope.envelope_id, envelope.size) == ("<one@example.test>", "QQ314159", 6)
    (recipient,) = claimed.recipients
    assert (recipient.original, recipient.notify) == ("rfc822;BOB@example.test", Notify.NEVER)
    assert spool.body(envelope) == b"body\r\n"


async def test_claims_of_an_earlier_incarnation_are_due_again(open_spool: Open, make: Make) -> None:
    first = await open_spool()
    from_hand = type("Hand", (), {"room": lambda s, n: True, "take": lambda s, c: None, "wake": lambda s: None})()
    first.attach(from_hand)
    await first.accept(make(first))
    assert await first.claim_due(10) == ()
    await first.close()
    second = await open_spool()
    assert second.incarnation == first.incarnation + 1
    assert len(await second.claim_due(10)) == 1


@pytest.mark.parametrize("size", [0, 1, MEMORY_EACH, MEMORY_EACH + 1, (1 << 20) - 1, 1 << 20, 3_000_001])
async def test_bodies_of_all_sizes(open_spool: Open, make: Make, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    spool = await open_spool(SpoolSettings(memory=0))
    await spool.accept(make(spool, body=body))
    await spool.close()
    spool = await open_spool()
    (claimed,) = await spool.claim_due(10)
    assert b"".join([chunk async for chunk in spool.chunks(claimed.envelope)]) == body
    assert await spool.head(claimed.envelope, 100) == body[:100]


async def test_without_recipients_nothing_is_taken(spool: Spool, make: Make) -> None:
    staging = spool.stage()
    staging.write(b"x")
    with pytest.raises(RookeryError) as caught:
        await spool.accept(Incoming("ann@remote.test", (), staging.finish()))
    assert caught.value.cause is Cause.INVALID


async def test_memory_of_bodies_is_bounded(open_spool: Open, make: Make) -> None:
    spool = await open_spool(SpoolSettings(memory=1000))
    taken = []
    spool.attach(type("Hand", (), {"room": lambda s, n: True, "take": lambda s, c: taken.append(c), "wake": id})())
    for n in range(20):
        await spool.accept(make(spool, body=b"%03d" % n * 100))
    assert [spool.body(claimed.envelope)[:3] for claimed in taken] == [b"%03d" % n for n in range(20)]
    assert spool.blobs.stage()._area.in_memory <= 1000


async def test_times_are_those_of_the_commit(spool: Spool, clock: ManualClock, make: Make) -> None:
    item = make(spool)
    clock.advance(100)
    await spool.accept(item)
    (claimed,) = await spool.claim_due(1)
    assert claimed.envelope.received == int(clock.wall())
