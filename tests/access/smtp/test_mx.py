"""The MX into the real spool."""

import asyncio
from dataclasses import replace

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import captured
from rookery.distribution.spool.values import Incoming, Notify
from tests.access.smtp.world import MESSAGE, World


async def test_a_message_is_spooled_with_its_trace(world: World) -> None:
    client = await world.mx()
    with captured() as events:
        (answer,) = await client.send("<alice@d.test>", message=b"Message-ID: <m@x.test>\r\n" + MESSAGE)
    (claimed,) = world.taken.messages
    assert answer == f"250 2.0.0 Queued as {claimed.envelope.message}"
    (stored,) = world.spooled()
    assert stored.decode().startswith(
        "Received: from client.test ([192.0.2.7])\r\n"
        f"\tby mx.test with ESMTP id {claimed.envelope.message}\r\n\tfor <alice@d.test>;\r\n\t"
    )
    assert stored.endswith(b"\r\nMessage-ID: <m@x.test>\r\n" + MESSAGE)
    envelope = claimed.envelope
    assert (envelope.sender, envelope.peer, envelope.header_id) == ("a@x.test", "192.0.2.7", "<m@x.test>")
    assert [r.address for r in claimed.recipients] == ["alice@d.test"]
    (accepted,) = [fields for _, name, fields in events if name == "accepted"]
    assert (accepted["message"], accepted["session"]) == (envelope.message, envelope.session)


async def test_several_messages_and_recipients_in_one_session(world: World) -> None:
    client = await world.mx(hello="HELO client.test\n")
    for _ in range(3):
        assert (await client.send("<alice@d.test>", "<bob@d.test>", "<Postmaster>"))[0][:3] == "250"
    assert len({claimed.envelope.message for claimed in world.taken.messages}) == 3
    assert b" with SMTP id " in world.spooled()[0]
    assert b"for <" not in world.spooled()[0]
    assert [len(claimed.recipients) for claimed in world.taken.messages] == [3, 3, 3]


@pytest.mark.parametrize(
    ("recipient", "answer"),
    [
        ("nobody@d.test", "550 5.1.1"),
        ("alice@else.test", "550 5.7.1"),
        ("alice@[192.0.2.1]", "550 5.7.1"),
        ("postmaster@d.test", "250 2.1.5"),
        ("abuse@d.test", "250 2.1.5"),
        ("ALICE+x@D.TEST", "250 2.1.5"),
    ],
)
async def test_recipients(world: World, recipient: str, answer: str) -> None:
    client = await world.mx()
    await client.say("MAIL FROM:<>\n")
    client.stream.write(f"RCPT TO:<{recipient}>\r\n".encode())
    (line,) = await client.replies(1)
    assert line.startswith(answer) or (recipient.endswith("]") and line[0] == "5")


async def test_too_many_recipients_and_too_many_guesses(world: World) -> None:
    world.settings = replace(world.settings, recipients=2, refused_recipients=3)
    client = await world.mx()
    assert await client.say("MAIL FROM:<>\n" + "RCPT TO:<bob@d.test>\n" * 3, 4) == [250, 250, 250, 452]
    assert await client.say("RSET\nMAIL FROM:<>\n", 2) == [250, 250]
    assert await client.say("RCPT TO:<guess@d.test>\n" * 5, 5) == [550, 550, 550, 421]
    await client.ended()


async def test_parameters_reach_the_spool(world: World) -> None:
    client = await world.mx()
    await client.say("MAIL FROM:<ä@x.test> SMTPUTF8 BODY=8BITMIME\n")
    await client.say("RCPT TO:<alice@d.test>\n")
    await client.say("DATA\n")
    assert await client.say(MESSAGE + b".\r\n") == [250]
    (claimed,) = world.taken.messages
    envelope = claimed.envelope
    assert (envelope.eight_bit, envelope.smtputf8, envelope.envelope_id) == (True, True, "")
    assert claimed.recipients[0].notify == Notify.FAILURE
    assert b" with UTF8SMTP id " in world.spooled()[0]


@pytest.mark.parametrize("port", ["mx", "submission"])
async def test_dsn_is_not_announced_and_its_parameters_are_unknown(world: World, port: str) -> None:
    client = await (world.mx() if port == "mx" else world.submission(login="alice@d.test"))
    client.stream.write(b"EHLO client.test\r\n")
    (line,) = await client.replies(1)
    assert "DSN" not in line
    assert "DSN" not in client.text
    assert await client.say("MAIL FROM:<alice@d.test> RET=HDRS\nMAIL FROM:<alice@d.test> ENVID=a\n", 2) == [555, 555]
    await client.say("MAIL FROM:<alice@d.test>\n")
    assert await client.say("RCPT TO:<bob@d.test> NOTIFY=NEVER\nRCPT TO:<bob@d.test> ORCPT=rfc822;b@d.test\n", 2) == [
        555, 555,
    ]  # fmt: skip


class Failing:
    """The spool, on a bad day."""

    def __init__(self, world: World, cause: Cause) -> None:
        self._spool = world.spool
        self._cause = cause
        self.stage = world.spool.stage
        self.new_id = world.spool.new_id

    async def accept(self, incoming: Incoming) -> str:
        incoming.staged.release()
        raise RookeryError(self._cause)


@pytest.mark.parametrize(
    ("cause", "answer"),
    [(Cause.DISK_FULL, "452 4.3.1"), (Cause.UNAVAILABLE, "451 4.3.0"), (Cause.BUSY, "451 4.3.2")],
)
async def test_what_the_spool_declines_is_said(world: World, cause: Cause, answer: str) -> None:
    world.spool = Failing(world, cause)  # type: ignore[assignment]
    client = await world.mx()
    assert (await client.send("<alice@d.test>"))[0].startswith(answer)
    assert await client.say("NOOP\n") == [250]


async def test_a_message_with_too_many_hops_ends_here(world: World) -> None:
    client = await world.mx()
    hops = b"Received: x\r\n" * (world.settings.hops + 1)
    assert (await client.send("<alice@d.test>", message=hops + MESSAGE))[0][:9] == "554 5.4.6"
    assert (await client.send("<alice@d.test>", message=hops[13:] + MESSAGE))[0][:9] == "250 2.0.0"


async def test_silence_is_timed_out(world: World) -> None:
    silent = await world.mx()
    await asyncio.sleep(0)
    world.clock.advance(world.settings.idle + 2)
    world.wheel.tick()
    assert (await silent.ended()).endswith("421 4.4.2 Timed out\n")


async def test_draining_waits_for_the_message_that_has_begun(world: World) -> None:
    idle, busy = await world.mx(), await world.mx()
    await busy.say("MAIL FROM:<a@x.test>\nRCPT TO:<bob@d.test>\nDATA\n", 3)
    busy.stream.write(b"Subject: half\r\n")
    for client in (idle, busy):
        client.server.interrupt()
    assert (await idle.ended()).endswith("421 4.3.2 Shutting down, try again later\n")
    assert not busy.task.done()
    assert await busy.say(b"\r\nBody.\r\n.\r\n", 2) == [250, 421]
    assert len(world.taken.messages) == 1


async def test_quit(world: World) -> None:
    client = await world.mx()
    await client.say("QUIT\n")
    assert (await client.ended()).endswith("221 2.0.0 mx.test closing connection\n")
