"""Malformed UTF-8 in every place of SMTP where text may stand."""

from rookery.base.log import captured
from tests.access.smtp.world import World

BROKEN = [
    b"\xff", b"\xc0\xaf", b"\xc1\x81", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
    b"\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x92", b"\xfe\xff",
]  # fmt: skip
INVISIBLE = ["\u2028", "\ufeff", "\u0085", "\u009b31m", "\ufffe"]


async def test_broken_octets_are_refused_where_text_is_meant(mail_world: World) -> None:
    for broken in BROKEN:
        await _refused(mail_world, broken)


async def _refused(mail_world: World, broken: bytes) -> None:
    client = await mail_world.mx()
    for line in (
        b"EHLO a" + broken + b".test",
        b"MAIL FROM:<a" + broken + b"@x.test> SMTPUTF8",
        b"MAIL FROM:<a@x" + broken + b".test> SMTPUTF8",
        b"MAIL FROM:<a@x.test> SMTPUTF8 ENVID=" + broken,
    ):
        assert (await client.say(line + b"\r\n"))[0] == 501
    await client.say("MAIL FROM:<a@x.test> SMTPUTF8\n")
    for line in (b"RCPT TO:<alice" + broken + b"@d.test>", b"RCPT TO:<alice@d.test> ORCPT=utf-8;" + broken):
        assert (await client.say(line + b"\r\n"))[0] == 501
    assert (await client.say(broken + b" x\r\n"))[0] == 500


async def test_characters_that_cannot_be_seen_are_no_address(mail_world: World) -> None:
    client = await mail_world.mx()
    for text in INVISIBLE:
        assert await client.say(f"MAIL FROM:<a{text}@x.test> SMTPUTF8\n") == [501]
        assert await client.say(f"EHLO a{text}.test\n") == [501]


async def test_in_a_message_they_are_only_octets(mail_world: World) -> None:
    client = await mail_world.mx()
    for broken in BROKEN:
        message = b"Message-ID: <" + broken + b"@x.test>\r\nSubject: " + broken + b"\r\n\r\n" + broken + b"\r\n"
        with captured() as events:
            assert (await client.send("<alice@d.test>", message=message))[0][:3] == "250"
        assert mail_world.spooled()[-1].endswith(message)
        for _, _, fields in events:
            str(fields.get("header_id", "")).encode()


async def test_utf8_passwords_that_are_not(mail_world: World) -> None:
    client = await mail_world.submission()
    for initial in (b"AP//AP//", b"AGFsaWNlAP//", b"//8A//8A//8="):
        assert (await client.say(b"AUTH PLAIN " + initial + b"\r\n"))[0] in (501, 535)
