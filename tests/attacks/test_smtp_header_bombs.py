"""Header blocks made to exhaust whoever reads them, on their way in."""

from rookery.access.heads import HEAD_LIMIT, Head
from tests.access.smtp.world import World

BOMBS = [
    b"X: " + b"y" * HEAD_LIMIT,
    b"X: y\r\n" * (HEAD_LIMIT // 6 + 1),
    b"X:" + b"\r\n y" * (HEAD_LIMIT // 4),
    b"Delivered-To: a\r\n" * (HEAD_LIMIT // 17 + 1),
    b"Message-ID:" + b" " * HEAD_LIMIT,
]


async def test_a_header_block_over_the_limit_is_refused(mail_world: World) -> None:
    mail_world.settings = type(mail_world.settings)(hostname="mx.test")
    for bomb in BOMBS:
        client = await mail_world.mx()
        (answer,) = await client.send("<alice@d.test>", message=bomb + b"\r\nSubject: x\r\n\r\nBody.\r\n")
        assert answer[:9] == "552 5.3.4"
    assert mail_world.taken.messages == []
    assert mail_world.spool.blobs._area.in_memory == 0


async def test_one_just_below_it_is_read_in_linear_time(mail_world: World) -> None:
    """Not timed: a reader that were quadratic would not come back."""
    mail_world.settings = type(mail_world.settings)(hostname="mx.test")
    client = await mail_world.lmtp()
    for bomb in BOMBS:
        block = bomb[: HEAD_LIMIT - 100].rstrip(b"\r\n")
        head = Head(block)
        assert head.hops == 0
        assert len(head.delivered_to()) <= 1
        assert head.without(b"bcc") == block
        assert head.message_id == ""
        assert await client.send("<alice@d.test>", message=block + b"\r\n\r\nBody.\r\n") == ["250 2.0.0 Delivered"]


async def test_received_fields_without_number_are_a_loop(mail_world: World) -> None:
    client = await mail_world.mx()
    (answer,) = await client.send("<alice@d.test>", message=b"Received: x\r\n" * 5000 + b"\r\n")
    assert answer[:9] == "554 5.4.6"


async def test_many_bcc_fields_are_all_removed(mail_world: World) -> None:
    client = await mail_world.submission(login="alice@d.test")
    await client.send(
        "<bob@d.test>", sender="alice@d.test", message=b"BCC: x@y.test\r\n z\r\n" * 2000 + b"\r\nBody.\r\n"
    )
    assert b"bcc" not in mail_world.spooled()[0].lower()
