"""Submission: who may send, as whom, and what is put in order."""

import base64
from dataclasses import replace

import pytest

from tests.access.smtp.world import OUTSIDE, PASSWORD, World, plain


async def test_nothing_without_a_login(world: World) -> None:
    client = await world.submission()
    assert "AUTH" in client.text
    assert await client.say("MAIL FROM:<alice@d.test>\n") == [530]
    assert await client.say("RCPT TO:<bob@d.test>\n") == [503]
    assert world.taken.messages == []


async def test_no_passwords_in_clear_from_outside(world: World) -> None:
    client = await world.submission(OUTSIDE)
    assert "PLAIN" not in client.text
    assert await client.say(b"AUTH PLAIN " + plain("alice@d.test") + b"\r\n") == [538]
    client.stream.write(b"MAIL FROM:<alice@d.test>\r\n")
    assert await client.replies(1) == ["530 5.7.0 Issue STARTTLS first"]


async def test_login_and_anywhere(world: World) -> None:
    client = await world.submission(login="alice@d.test")
    (answer,) = await client.send("<bob@d.test>", "<somebody@else.test>", sender="alice@d.test")
    (claimed,) = world.taken.messages
    assert answer.endswith(claimed.envelope.message)
    record = world.directory.account("alice@d.test")
    assert record is not None
    assert claimed.envelope.submitted_by == record.account
    (stored,) = world.spooled()
    assert b" with ESMTPA id " in stored
    assert await client.say("MAIL FROM:<alice@d.test>\nRCPT TO:<nobody@d.test>\n", 2) == [250, 550]


async def test_login_in_two_steps_and_a_bare_name(world: World) -> None:
    client = await world.submission()
    assert await client.say("AUTH LOGIN\n") == [334]
    assert await client.say(base64.b64encode(b"alice") + b"\r\n") == [334]
    assert await client.say(base64.b64encode(PASSWORD.encode()) + b"\r\n") == [235]
    assert await client.say("AUTH PLAIN\n") == [503]


async def test_wrong_passwords_end_the_connection(world: World) -> None:
    world.settings = replace(world.settings, failed_logins=3)
    client = await world.submission()
    for _ in range(2):
        assert await client.say(b"AUTH PLAIN " + plain("alice@d.test", "wrong") + b"\r\n") == [535]
    assert await client.say(b"AUTH PLAIN " + plain("alice@d.test", "wrong") + b"\r\n", 2) == [535, 421]
    await client.ended()


async def test_an_identity_of_somebody_else(world: World) -> None:
    client = await world.submission()
    message = base64.b64encode(f"bob\0alice\0{PASSWORD}".encode())
    assert await client.say(b"AUTH PLAIN " + message + b"\r\n") == [535]
    assert "Nobody may act as somebody else" in client.text


async def test_a_cancelled_exchange_is_forgotten(world: World) -> None:
    client = await world.submission()
    assert await client.say("AUTH LOGIN\n*\n", 2) == [334, 501]
    assert await client.say("AUTH FOO\n") == [504]
    assert await client.say(b"AUTH PLAIN " + plain("alice@d.test") + b"\r\n") == [235]


async def test_the_login_must_come_in_time(world: World) -> None:
    client = await world.submission()
    for _ in range(10):
        world.clock.advance(world.settings.before_login / 8)
        world.wheel.tick()
        if client.task.done() or (await client.say("NOOP\n")) != [250]:
            break
    assert "421 4.4.2" in await client.ended()


async def test_senders_must_be_ones_own(world: World) -> None:
    await world.admin.add_alias("sales@d.test", ["alice@d.test", "bob@d.test"])
    await world.admin.add_alias("boss@d.test", ["bob@d.test"])
    await world.admin.add_group("team@d.test", members=["alice@d.test", "bob@d.test"])
    client = await world.submission(login="alice@d.test")
    for sender, code in [
        ("alice@d.test", 250),
        ("ALICE+lists@d.test", 250),
        ("sales@d.test", 250),
        ("", 250),
        ("bob@d.test", 550),
        ("boss@d.test", 550),
        ("team@d.test", 550),
        ("nobody@d.test", 550),
        ("alice@else.test", 550),
    ]:
        assert (sender, await client.say(f"MAIL FROM:<{sender}>\nRSET\n", 2)) == (sender, [code, 250])


@pytest.mark.parametrize("given", [b"", b"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n", b"Message-ID: <own@d.test>\r\n"])
async def test_what_is_missing_is_added_and_bcc_is_removed(world: World, given: bytes) -> None:
    client = await world.submission(login="alice@d.test")
    head = given + b"From: alice@d.test\r\nBcc: secret@d.test,\r\n\tother@d.test\r\nSubject: hello\r\n\r\nBody.\r\n"
    await client.send("<bob@d.test>", sender="alice@d.test", message=head)
    (stored,) = world.spooled()
    assert stored.count(b"\r\nDate: ") == 1
    assert stored.count(b"\r\nMessage-ID: <") == 1
    assert b"Bcc" not in stored
    assert b"secret" not in stored
    assert stored.endswith(b"From: alice@d.test\r\nSubject: hello\r\n\r\nBody.\r\n")
    envelope = world.taken.messages[0].envelope
    assert envelope.header_id in ("<own@d.test>", f"<{envelope.message}@mx.test>")
