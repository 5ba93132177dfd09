"""Lines without end, commands without number: bounded memory, and a connection that ends."""

import pytest

from rookery.wire.engine import Wants
from rookery.wire.smtp.engine import Engine
from rookery.wire.smtp.offers import Offer
from tests.access.smtp.world import World
from tests.wire.smtp.dialogue import Dialogue

MEGABYTE = 1 << 20


@pytest.mark.parametrize("start", [b"", b"EHLO ", b"MAIL FROM:<", b"MAIL FROM:<a@b.test> SIZE=", b"AUTH PLAIN ", b"\0"])
def test_an_endless_command(start: bytes) -> None:
    dialogue = Dialogue(Offer(auth=("PLAIN",)))
    dialogue.feed(b"EHLO c.test\r\n" + start)
    sent = 0
    while dialogue.engine.wants is Wants.MORE:
        dialogue.feed(b"A" * 4096)
        sent += 4096
        assert len(dialogue.engine.leftover()) < 20_000
        assert sent < MEGABYTE
    assert dialogue.said.endswith(b"421 4.7.0 Too many errors\r\n")


def test_an_endless_answer_to_a_challenge() -> None:
    dialogue = Dialogue(Offer(auth=("PLAIN",)))
    dialogue.feed(b"EHLO c.test\r\nAUTH PLAIN\r\n")
    for _ in range(100):
        if dialogue.engine.wants is Wants.MORE:
            dialogue.feed(b"A" * 4096)
            assert len(dialogue.engine.leftover()) < 20_000
    assert dialogue.engine.wants is Wants.CLOSE


async def test_an_endless_line_in_a_message_counts_as_its_size(mail_world: World) -> None:
    client = await mail_world.mx()
    await client.say("MAIL FROM:<a@x.test>\nRCPT TO:<alice@d.test>\nDATA\n", 3)
    client.stream.write(b"Subject: x\r\n\r\n")
    for _ in range(2 * mail_world.settings.message_size // 4096):
        client.stream.write(b"A" * 4096)
    assert await client.say(b"\r\n.\r\n") == [552]
    assert mail_world.taken.messages == []


def test_commands_without_number() -> None:
    for command in (b"NOOP\r\n", b"RSET\r\n", b"EHLO c.test\r\n", b"VRFY x\r\n", b"HELP\r\n", b"X\r\n", b"\r\n", b"\n"):
        dialogue = Dialogue()
        dialogue.feed(command * 5000)
        assert dialogue.engine.wants is Wants.CLOSE
        assert len(dialogue.said) < 50_000


def test_messages_begun_and_never_sent() -> None:
    engine = Dialogue()
    engine.feed(b"EHLO c.test\r\n" + b"MAIL FROM:<>\r\nRSET\r\n" * 5000)
    assert engine.engine.wants is Wants.CLOSE


def test_an_engine_that_waits_for_nothing_holds_nothing() -> None:
    engine = Engine("mx.test", Offer())
    engine.receive(b"NOOP\r\n" * 10)
    assert engine.leftover() == b""
    assert not engine.unfinished
