"""Filling the disk by way of the log: what a stranger says costs a bounded number of lines a connection."""

from rookery.base.log import captured
from tests.access.smtp.world import World


async def test_senders_without_a_login(mail_world: World) -> None:
    client = await mail_world.submission()
    with captured() as lines:
        client.stream.write(b"MAIL FROM:<a@x.test>\r\n" * 500)
        assert "421 4.7.0" in await client.ended()
    assert len(lines) <= mail_world.settings.refused_recipients + 2


async def test_full_mailboxes(mail_world: World) -> None:
    await mail_world.add_account("carol", size_limit=2000)
    client = await mail_world.mx()
    with captured() as lines:
        await client.say("MAIL FROM:<a@x.test> SIZE=3000\n")
        await client.say("RCPT TO:<carol@d.test>\n" * 50, 50)
    assert [event for _, event, _ in lines] == ["refused"]
