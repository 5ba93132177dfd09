"""Into our own mailboxes, over LMTP."""

import asyncio

import pytest

from rookery.distribution.queue.schedule import HOUR, MINUTE


async def test_delivered_with_delivery_id(site) -> None:
    message = await site.send("bob@example.test")
    await site.rest()
    (taken,) = site.world.local.taken
    assert (taken.sender, taken.recipients) == ("ann@remote.test", ("bob@example.test",))
    assert taken.body.endswith(b"\r\n\r\n.Hello.\r\n")
    assert taken.deliveries == (f"{message}/bob@example.test",)
    assert await site.states(message) == {"bob@example.test": "delivered"}
    assert site.queue.counters["delivered"] == 1


async def test_one_transaction_for_all_recipients_here(site) -> None:
    await site.send("bob@example.test", "eve@example.test", "bob+lists@example.test")
    await site.rest()
    (taken,) = site.world.local.taken
    assert taken.recipients == ("bob@example.test", "eve@example.test", "bob+lists@example.test")


async def test_the_directory_is_waited_for_without_keeping_others(site) -> None:
    near = site.world.near = asyncio.Event()
    slow = await site.send("bob@example.test")
    site.world.near = asyncio.Event()
    site.world.near.set()
    quick = await site.send("eve@example.test")
    while (await site.states(quick))["eve@example.test"] != "delivered":  # noqa: ASYNC110  turns of the loop, not time
        await asyncio.sleep(0)
    assert await site.states(slow) == {"bob@example.test": "claimed"}
    near.set()
    await site.rest()
    assert await site.states(slow) == {"bob@example.test": "delivered"}


async def test_what_is_looked_up_when_the_queue_stops_is_left_for_the_next_start(site) -> None:
    site.world.near.clear()
    message = await site.send("bob@example.test")
    stopping = asyncio.ensure_future(site.queue.stop())
    await asyncio.sleep(0)
    site.world.near.set()
    await stopping
    assert not site.world.local.taken
    assert await site.states(message) == {"bob@example.test": "claimed"}


async def test_large_bodies_are_streamed(site) -> None:
    body = b"Subject: big\r\n\r\n" + b".a line of text\r\n" * 40_000
    await site.send("bob@example.test", body=body)
    await site.rest()
    assert site.world.local.taken[0].body == body


async def test_each_recipient_has_its_own_answer(site) -> None:
    site.world.local.answers["*bob@example.test"] = "452 4.2.2 mailbox full"
    site.world.local.answers["*eve@example.test"] = "550 5.7.1 not for me"
    message = await site.send("bob@example.test", "eve@example.test", "bob+x@example.test")
    await site.rest()
    assert await site.states(message) == {
        "bob@example.test": "deferred",
        "eve@example.test": "failed",
        "bob+x@example.test": "delivered",
    }
    report = await site.control.show(message)
    first = report.recipients[0]
    assert (first.code, first.enhanced, first.text, first.attempts) == (452, "4.2.2", "mailbox full", 1)
    assert first.next is not None
    assert 0.8 * MINUTE <= first.next - site.spool.now() <= 1.2 * MINUTE
    del site.world.local.answers["*bob@example.test"]
    await site.later(2 * MINUTE)
    assert (await site.states(message))["bob@example.test"] == "delivered"


@pytest.mark.parametrize("step", ["greeting", "EHLO", "MAIL", "bob@example.test", "*bob@example.test"])
async def test_a_lost_stream_defers_and_is_replaced(site, step: str) -> None:
    site.world.local.vanish = step
    message = await site.send("bob@example.test")
    await site.rest()
    assert await site.states(message) == {"bob@example.test": "deferred"}
    site.world.local.vanish = ""
    await site.later(2 * MINUTE)
    assert await site.states(message) == {"bob@example.test": "delivered"}


async def test_unknown_address_fails_without_asking(site) -> None:
    message = await site.send("nobody@example.test")
    await site.rest()
    assert await site.states(message) == {"nobody@example.test": "failed"}
    assert all("nobody@example.test" not in command for command in site.world.local.commands)


async def test_alias_is_expanded_once(site) -> None:
    site.world.aliases["staff@example.test"] = ("bob@example.test", "eve@example.test", "out@other.test")
    other = site.world.add("other.test")
    message = await site.send("staff@example.test", "bob@example.test")
    await site.rest()
    assert await site.states(message) == {
        "staff@example.test": "expanded",
        "bob@example.test": "delivered",
        "eve@example.test": "delivered",
        "out@other.test": "relayed",
    }
    assert sorted(r for taken in site.world.local.taken for r in taken.recipients) == [
        "bob@example.test", "eve@example.test",
    ]  # fmt: skip
    assert other.taken[0].recipients == ("out@other.test",)


async def test_aliases_in_a_circle_end(site) -> None:
    site.world.aliases["a@example.test"] = ("b@example.test",)
    site.world.aliases["b@example.test"] = ("a@example.test",)
    message = await site.send("a@example.test")
    await site.rest()
    assert set((await site.states(message)).values()) == {"expanded"}


async def test_a_chain_of_addresses_is_bounded(site) -> None:
    for n in range(20):
        site.world.aliases[f"a{n}@example.test"] = (f"a{n + 1}@example.test",)
    message = await site.send("a0@example.test")
    await site.rest()
    states = await site.states(message)
    assert states["a10@example.test"] == "failed"
    assert "a11@example.test" not in states


async def test_too_many_hops_is_a_loop(site) -> None:
    message = await site.send("bob@example.test", hops=51)
    await site.rest()
    report = await site.control.show(message)
    assert report.recipients[0].enhanced == "5.4.6"


async def test_backoff_and_end_of_life(site) -> None:
    site.world.local.answers["bob@example.test"] = "451 4.3.0 not now"
    message = await site.send("bob@example.test")
    await site.rest()
    attempts = 1
    for _ in range(1000):
        report = await site.control.show(message)
        if report.finished:
            break
        due = report.recipients[0].next
        assert due is not None
        assert due - site.spool.now() <= 4 * HOUR * 1.2
        await site.later(due - site.spool.now())
        attempts += 1
    recipient = report.recipients[0]
    assert (recipient.state, recipient.enhanced, recipient.attempts) == ("failed", "5.4.7", attempts)
    assert report.finished - report.received == 5 * 24 * HOUR
    assert 30 < attempts < 50


async def test_more_than_fits_waits_in_the_spool(make_site) -> None:
    site = await make_site(in_flight=3)
    for _ in range(20):
        await site.send("bob@example.test")
    await site.queue.pass_once()
    await site.rest()
    while await site.control.waiting():
        await site.queue.pass_once()
        await site.rest()
    assert len(site.world.local.taken) == 20


async def test_what_was_under_way_is_delivered_after_a_restart(make_site) -> None:
    site = await make_site()
    site.world.local.vanish = "MAIL"
    site.queue._stopping = True
    message = await site.send("bob@example.test")
    await site.queue.stop()
    await site.spool.close()
    again = await make_site()
    await again.queue.pass_once()
    await again.rest()
    (taken,) = again.world.local.taken
    assert taken.deliveries == (f"{message}/bob@example.test",)
