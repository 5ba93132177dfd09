"""LMTP into the real store."""

from dataclasses import replace

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import captured
from tests.access.hosts import THERE, Hosts
from tests.access.smtp.world import MESSAGE, Peer, World


async def test_a_message_is_stored_with_its_trace(world: World) -> None:
    client = await world.lmtp()
    with captured() as events:
        assert await client.send("<alice@d.test>") == ["250 2.0.0 Delivered"]
    (stored,) = await world.inbox("alice")
    head = stored[: -len(MESSAGE)].decode().split("\r\n")
    assert stored.endswith(MESSAGE)
    assert head[0] == "Return-Path: <a@x.test>"
    assert head[1] == "Delivered-To: alice@d.test"
    assert head[2] == "Received: from client.test ([127.0.0.1])"
    assert head[3].startswith("\tby mx.test with LMTP id ")
    assert head[4] == "\tfor <alice@d.test>;"
    assert "delivered" in [name for _, name, _ in events]
    for _, name, fields in events:
        if name == "delivered":
            assert fields["recipient"] == "alice@d.test"
            assert str(fields["message"]).startswith(str(fields["session"]))


async def test_each_recipient_has_an_answer_of_its_own(world: World) -> None:
    await world.add_account("small", size_limit=10)
    client = await world.lmtp()
    answers = await client.send("<alice@d.test>", "<small@d.test>", "<bob+x@d.test>", answers=3)
    assert [line[:9] for line in answers] == ["250 2.0.0", "452 4.2.2", "250 2.0.0"]
    assert len(await world.inbox("alice")) == len(await world.inbox("bob")) == 1
    assert b"Delivered-To" not in (await world.inbox("bob"))[0]
    assert await world.inbox("small") == []


async def test_a_full_mailbox_may_be_for_good(world: World) -> None:
    world.settings = replace(world.settings, quota_for_good=True)
    await world.add_account("small", size_limit=10)
    client = await world.lmtp()
    assert (await client.send("<small@d.test>"))[0][:9] == "552 5.2.2"


async def test_unknown_recipients_and_other_domains(world: World) -> None:
    client = await world.lmtp()
    assert await client.say("MAIL FROM:<>\nRCPT TO:<nobody@d.test>\nRCPT TO:<a@else.test>\nDATA\n", 4) == [
        250, 550, 550, 503,
    ]  # fmt: skip


async def test_aliases_of_ours_are_followed_but_not_outside(world: World) -> None:
    await world.admin.add_alias("both@d.test", ["alice@d.test", "bob@d.test"])
    await world.admin.add_alias("away@d.test", ["alice@d.test", "a@else.test"])
    client = await world.lmtp()
    assert (await client.send("<both@d.test>"))[0][:3] == "250"
    assert len(await world.inbox("alice")) == len(await world.inbox("bob")) == 1
    assert await client.say("MAIL FROM:<>\nRCPT TO:<away@d.test>\n", 2) == [250, 550]


async def test_a_delivery_id_is_stored_once_and_only_ours_are_believed(world: World) -> None:
    client = await world.lmtp(trusted=True, peer=Peer(""))
    recipient = "<alice@d.test> XDELIVERY=0123456789ab/alice@d.test"
    for _ in range(2):
        assert (await client.send(recipient))[0][:3] == "250"
    assert len(await world.inbox("alice")) == 1
    assert b"id 0123456789ab\r\n" in (await world.inbox("alice"))[0]
    outside = await world.lmtp()
    assert await outside.say(f"MAIL FROM:<>\nRCPT TO:{recipient}\n", 2) == [250, 555]


async def test_messages_that_go_round_in_circles_end(world: World) -> None:
    client = await world.lmtp()
    hops = b"Received: x\r\n" * (world.settings.hops + 1)
    assert (await client.send("<alice@d.test>", message=hops + MESSAGE))[0][:9] == "554 5.4.6"
    again = b"Delivered-To: Alice@D.test\r\n" + MESSAGE
    answers = await client.send("<alice@d.test>", "<bob@d.test>", message=again, answers=2)
    assert [line[:9] for line in answers] == ["554 5.4.6", "250 2.0.0"]
    assert await world.inbox("alice") == []


async def test_an_earlier_return_path_does_not_stay(world: World) -> None:
    client = await world.lmtp()
    await client.send("<alice@d.test>", message=b"Return-Path: <forged@x.test>\r\n\tmore\r\n" + MESSAGE)
    (stored,) = await world.inbox("alice")
    assert stored.lower().count(b"return-path") == 1
    assert b"forged" not in stored


async def test_messages_without_header_or_without_body(world: World) -> None:
    client = await world.lmtp()
    for message in (b"", b"\r\n", b"\r\nonly a body\r\n", b"Subject: only a header\r\n", b"not a header\r\n"):
        assert (await client.send("<alice@d.test>", message=message))[0][:3] == "250"
    stored = await world.inbox("alice")
    assert [body.partition(b"\r\n\r\n")[2] for body in stored] == [b"", b"", b"only a body\r\n", b"", b""]


async def test_large_messages_in_many_pieces(world: World) -> None:
    world.settings = replace(world.settings, message_size=3_000_000)
    client = await world.lmtp()
    body = MESSAGE + b"0123456789 and so on\r\n" * 100_000
    assert (await client.send("<alice@d.test>", message=body))[0][:3] == "250"
    assert (await world.inbox("alice"))[0].endswith(body)
    assert (await client.send("<alice@d.test>", message=body * 2))[0][:3] == "552"


async def test_bdat_stores_the_same(world: World) -> None:
    client = await world.lmtp()
    assert await client.say("MAIL FROM:<>\nRCPT TO:<bob@d.test>\n", 2) == [250, 250]
    assert await client.say(b"BDAT 10\r\n" + MESSAGE[:10]) == [250]
    assert await client.say(b"BDAT %d LAST\r\n" % (len(MESSAGE) - 10) + MESSAGE[10:]) == [250]
    assert (await world.inbox("bob"))[0].endswith(MESSAGE)


async def test_strangers_are_told_so(world: World) -> None:
    client = await world.lmtp(allowed=False)
    assert (await client.ended()).startswith("554 5.7.1")


async def test_a_session_that_ends_in_the_middle_leaves_nothing(world: World) -> None:
    client = await world.lmtp()
    await client.say("MAIL FROM:<>\nRCPT TO:<bob@d.test>\nDATA\n", 3)
    client.stream.write(b"Subject: half\r\n\r\n" + b"x" * 5000)
    client.stream.close()
    await client.task
    assert await world.inbox("bob") == []
    assert world.store.blobs._area.in_memory == 0


async def test_too_many_recipients_are_put_off(world: World) -> None:
    world.settings = replace(world.settings, recipients=2)
    client = await world.lmtp()
    assert await client.say("MAIL FROM:<>\n" + "RCPT TO:<bob@d.test>\n" * 3, 4) == [250, 250, 250, 452]


async def test_what_another_backend_hosts_is_not_taken(world: World) -> None:
    hosts = Hosts()
    hosts.away[world.account_id("bob")] = THERE
    client = await world.lmtp(hosts=hosts)
    assert await client.send("<alice@d.test>") == ["250 2.0.0 Delivered"]
    assert await client.say("MAIL FROM:<>\nRCPT TO:<bob@d.test>\n", 2) == [250, 451]


async def test_what_nobody_hosts_is_claimed_first(world: World) -> None:
    hosts = Hosts()
    hosts.held = False
    client = await world.lmtp(hosts=hosts)
    assert await client.send("<alice@d.test>") == ["250 2.0.0 Delivered"]
    hosts.away[world.account_id("bob")] = RookeryError(Cause.UNAVAILABLE, "the database is away")
    assert await client.say("MAIL FROM:<>\nRCPT TO:<bob@d.test>\n", 2) == [250, 451]


async def test_mail_for_an_account_that_is_elsewhere_is_deferred(world: World) -> None:
    bob = world.directory.account("bob@d.test")
    assert bob is not None
    world.store.hosting.epoch = lambda account: 0 if account == bob.account else None  # type: ignore[method-assign]
    client = await world.lmtp()
    answers = await client.send("<alice@d.test>", "<bob@d.test>", answers=2)
    assert [line[:9] for line in answers] == ["451 4.3.0", "250 2.0.0"]
