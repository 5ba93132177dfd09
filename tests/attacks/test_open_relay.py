"""Open relay: every known way of writing somebody else's address so that it looks like ours."""

import itertools

import pytest

from tests.access.smtp.world import HERE, World

TRICKS = [
    "<victim@else.test>", "<victim%else.test@d.test>", "<victim%else.test@mx.test>", "<victim@else.test@d.test>",
    '<"victim@else.test"@d.test>', '<"victim%else.test"@d.test>', "<else.test!victim@d.test>",
    "<d.test!victim@else.test>",
    "<@d.test:victim@else.test>", "<@mx.test,@d.test:victim@else.test>", "<victim@else.test.d.test>",
    "<victim@d.test.else.test>",
    "<victim@[192.0.2.1]>", "<victim@[127.0.0.1]>", "<victim@[IPv6:::1]>", "<victim@localhost>", "<victim@mx.test>",
    "<victim>", '<"victim@else.test">', "<alice@d.test@else.test>", "<alice@d.test%else.test>",
    '<"alice@d.test"@else.test>',
    "<+victim@d.test>", "<victim@else.test> ORCPT=rfc822;alice@d.test", "<victim@D.TEST.>",
    "victim@else.test", "<victim@else.test>,<alice@d.test>",
    "<\\victim@else.test>", "<victim@@d.test>", "<@d.test>", "<victim@else.test\0@d.test>", "<victim@xn--else-.test>",
]  # fmt: skip


SENDERS = ("<>", "<alice@d.test>", "<postmaster@d.test>", "<a@[127.0.0.1]>", "<a@localhost>")


@pytest.mark.parametrize("hello", ["EHLO d.test\n", "HELO d.test\n"])
async def test_no_trick_makes_us_a_relay(mail_world: World, hello: str) -> None:
    for sender, trick in itertools.product(SENDERS, TRICKS):
        client = await mail_world.mx(HERE, hello)
        assert (await client.say(f"MAIL FROM:{sender}\nRCPT TO:{trick}\n", 2))[1] in (500, 501, 550, 553, 555), trick
        assert await client.say("DATA\n") == [503]
    assert mail_world.taken.messages == []


async def test_good_recipients_beside_it_do_not_help(mail_world: World) -> None:
    client = await mail_world.mx(HERE)
    assert await client.say("MAIL FROM:<>\nRCPT TO:<alice@d.test>\nRCPT TO:<victim@else.test>\n", 3) == [250, 250, 550]
    assert await client.say("DATA\n") == [354]
    assert await client.say(b"Subject: x\r\nTo: victim@else.test\r\nBcc: victim@else.test\r\n\r\n.\r\n") == [250]
    (claimed,) = mail_world.taken.messages
    assert [recipient.address for recipient in claimed.recipients] == ["alice@d.test"]


async def test_lmtp_is_no_relay_either(mail_world: World) -> None:
    for trick in TRICKS:
        client = await mail_world.lmtp()
        assert (await client.say(f"MAIL FROM:<>\nRCPT TO:{trick}\n", 2))[1] in (500, 501, 550, 553, 555), trick
