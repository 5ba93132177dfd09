"""SMTP smuggling: an end of data that we see and the server before us did not (or the other way round).

Every variant of the published lists (2023, CVE-2023-51764 to 51766) sits between two messages, of which the second is
the smuggled one. Whatever comes, there is never a second message, and none with a bare CR or LF is stored.
"""

import itertools

import pytest

from tests.access.smtp.world import World

SMUGGLED = b"MAIL FROM:<ceo@d.test>\r\nRCPT TO:<bob@d.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nPay!\r\n"
ENDS = [
    b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n",
    b"\r\n\x85.\r\n",
    b"\n\n.\r\n", b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\r\n.\r.\r\n", b"\n\r.\n\r", b"\r\n .\r\n",
    b"\r\n. \r\n", b"\r\n..\r\n",
    b"\r\n.\t\r\n", b"\r\n.\x0b\r\n", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\r\n.\n\r\n", b"\n.\r", b"\r.\n",
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 10_000])
async def test_no_other_end_of_data_is_one(mail_world: World, size: int) -> None:
    for end in ENDS:
        mail_world.taken.messages.clear()
        client = await mail_world.mx()
        await client.say("MAIL FROM:<a@x.test>\nRCPT TO:<alice@d.test>\nDATA\n", 3)
        data = b"Subject: first\r\n\r\nHello." + end + SMUGGLED + b".\r\n"
        for start in range(0, len(data), size):
            client.stream.write(data[start : start + size])
        assert len(await client.replies(1)) == 1
        assert await client.say("NOOP\n") == [250]
        assert len(mail_world.taken.messages) <= 1, end
        for body in mail_world.spooled():
            assert body.count(b"\n") == body.count(b"\r\n") == body.count(b"\r"), end
            assert b"smuggled" in body  # as text of the one message that there is
            assert mail_world.taken.messages[0].envelope.sender == "a@x.test"


async def test_a_message_with_a_bare_line_end_is_refused(mail_world: World) -> None:
    starts, bares = (b"", b"Subject: x\r\n\r\nline"), (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\n", b"\n.\n")
    for start, bare in itertools.product(starts, bares):
        client = await mail_world.mx()
        await client.say("MAIL FROM:<a@x.test>\nRCPT TO:<alice@d.test>\nDATA\n", 3)
        client.stream.write(start + bare + b"\r\n.\r\n")
        assert (await client.replies(1))[0].startswith("550 5.5.2")
    assert mail_world.taken.messages == []


async def test_the_same_in_chunks_and_in_commands(mail_world: World) -> None:
    client = await mail_world.mx()
    await client.say("MAIL FROM:<a@x.test>\nRCPT TO:<alice@d.test>\n", 2)
    assert await client.say(b"BDAT 8\r\nS: x\r\n\r\rBDAT 4 LAST\r\nyou\n", 2) in ([250, 550], [550, 503])
    assert await client.say(b"MAIL FROM:<a@x.test>\nRCPT TO:<bob@d.test>\r\n") == [500]
    assert mail_world.taken.messages == []
