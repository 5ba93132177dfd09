"""What an administrator asks: list, show, hold, release, retry, remove, trace, count."""

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.queue.schedule import DAY, HOUR
from rookery.distribution.spool.values import QueueFilter, State


@pytest.fixture
async def stuck(site):
    """Three messages that wait."""
    site.world.local.answers["bob@example.test"] = "451 4.3.0 not now"
    site.messages = [
        await site.send("bob@example.test", sender=f"ann{n}@remote{n}.test", session=f"s{n}", header_id=f"<{n}@x>")
        for n in range(3)
    ]
    await site.rest()
    return site


async def test_list_and_filters(stuck) -> None:
    messages = stuck.messages
    assert [r.message for r in await stuck.control.list()] == messages
    assert [r.message for r in await stuck.control.list(limit=2)] == messages[:2]
    assert [r.message for r in await stuck.control.list(QueueFilter(after=messages[1]))] == messages[2:]
    found = await stuck.control.list(QueueFilter(sender="ANN1@remote1.test"))
    assert [r.message for r in found] == [messages[1]]
    assert len(await stuck.control.list(QueueFilter(sender="@remote2.test"))) == 1
    assert len(await stuck.control.list(QueueFilter(sender="@remote_.test"))) == 0
    assert len(await stuck.control.list(QueueFilter(recipient="@example.test"))) == 3
    assert len(await stuck.control.list(QueueFilter(state=State.HELD))) == 0
    assert len(await stuck.control.list(QueueFilter(state=State.DEFERRED, recipient="bob@example.test"))) == 3
    assert await stuck.control.list(QueueFilter(sender="<>")) == []
    with pytest.raises(RookeryError) as caught:
        await stuck.control.list(QueueFilter(after="?"))
    assert caught.value.cause is Cause.INVALID


async def test_counts(stuck) -> None:
    counts = await stuck.control.counts()
    assert counts.messages == 3
    assert counts.recipients == {"due": 0, "claimed": 0, "held": 0, "deferred": 3}
    assert counts.oldest == stuck.spool.now()
    assert counts.octets > 0


async def test_held_mail_waits_until_released(stuck) -> None:
    first = stuck.messages[0]
    assert await stuck.control.hold([first]) == 1
    stuck.world.local.answers.clear()
    await stuck.later(DAY)
    assert await stuck.states(first) == {"bob@example.test": "held"}
    assert (await stuck.control.show(first)).held
    assert await stuck.control.retry([first]) == 0
    assert await stuck.control.release([first]) == 1
    await stuck.queue.pass_once()
    await stuck.rest()
    assert await stuck.states(first) == {"bob@example.test": "delivered"}


async def test_held_while_it_is_being_delivered(site) -> None:
    site.world.local.answers["bob@example.test"] = "451 4.3.0 not now"
    message = await site.send("bob@example.test")
    await site.control.hold([message])
    await site.rest()
    await site.later(HOUR)
    assert await site.states(message) == {"bob@example.test": "held"}


async def test_removed_while_it_is_being_delivered(site) -> None:
    site.world.local.answers["bob@example.test"] = "451 4.3.0 not now"
    message = await site.send("bob@example.test")
    await site.control.remove([message])
    await site.rest()
    assert await site.states(message) == {"bob@example.test": "removed"}


async def test_retry_of_all(stuck) -> None:
    stuck.world.local.answers.clear()
    waiting = await stuck.control.waiting()
    assert list(waiting) == stuck.messages
    assert await stuck.control.retry(waiting) == 3
    await stuck.queue.pass_once()
    await stuck.rest()
    assert len(stuck.world.local.taken) == 3


async def test_trace_by_id_session_and_message_id(stuck) -> None:
    first, second, third = stuck.messages
    stuck.world.local.answers.clear()
    await stuck.control.retry([first])
    await stuck.queue.pass_once()
    await stuck.rest()
    for wanted in (first, first.upper(), "s0", "<0@x>"):
        (report,) = await stuck.control.trace(wanted)
        assert report.message == first
        assert report.finished == stuck.spool.now()
    assert [report.message for report in await stuck.control.trace("<1@x>")] == [second]
    assert [report.message for report in await stuck.control.trace("s2")] == [third]
    assert await stuck.control.trace("nothing") == []


async def test_what_is_not_there(site) -> None:
    with pytest.raises(RookeryError) as caught:
        await site.control.show("000000000000")
    assert caught.value.cause is Cause.NOT_FOUND
    assert await site.control.retry(["000000000000"]) == 0
    assert await site.control.remove(["000000000000"]) == 0
    with pytest.raises(RookeryError):
        await site.control.hold(["not an id"])


async def test_forgetting_delivery_ids(stuck) -> None:
    await stuck.queue.keep_up()
    assert stuck.world.forgotten == [stuck.messages[0]]


async def test_an_old_id_is_not_delivered_while_ids_above_it_are_forgotten(site) -> None:
    old = site.spool.new_id()
    seen: list[int] = []

    async def forget(below: str) -> None:
        assert below > old
        await site.send("bob@example.test", message_id=old)
        await site.spool.writer.exclusive(lambda tx: None)
        seen.append(len(site.world.local.taken))

    site.queue._forget = forget
    await site.queue.keep_up()
    assert seen == [0]
    await site.rest()
    assert len(site.world.local.taken) == 1
