"""Backscatter: mail with a forged sender, to an address that cannot take it, must be refused and not bounced."""

from tests.access.smtp.world import World


async def test_addresses_that_lead_to_nobody_are_refused_at_once(mail_world: World) -> None:
    admin = mail_world.admin
    await admin.add_account("gone@d.test", None)
    await admin.add_alias("left@d.test", ["gone@d.test"])
    await admin.add_alias("farther@d.test", ["left@d.test"])
    await admin.add_group("empty@d.test", [])
    await admin.add_group("hollow@d.test", ["left@d.test", "empty@d.test"])
    await admin.add_group("half@d.test", ["left@d.test", "alice@d.test"])
    await admin.add_alias("chief@d.test", ["postmaster@d.test"])
    await admin.add_alias("away@d.test", ["x@outside.test"])
    await admin.remove_account("gone@d.test")
    client = await mail_world.mx()
    await client.say("MAIL FROM:<victim@forged.test>\n")
    for local in ("gone", "left", "farther", "empty", "hollow"):
        assert await client.say(f"RCPT TO:<{local}@d.test>\n") == [550]
    for local in ("half", "chief", "away"):
        assert await client.say(f"RCPT TO:<{local}@d.test>\n") == [250]


async def test_a_full_mailbox_is_refused_at_once(mail_world: World) -> None:
    await mail_world.add_account("carol", size_limit=2000)
    client = await mail_world.mx()
    await client.say("MAIL FROM:<victim@forged.test> SIZE=3000\n")
    assert await client.say("RCPT TO:<carol@d.test>\n") == [452]
    assert await client.say("RCPT TO:<Carol+x@d.test>\n") == [452]
    assert await client.say("RCPT TO:<alice@d.test>\n") == [250]
    await client.say("RSET\nMAIL FROM:<victim@forged.test>\n", 2)
    assert await client.say("RCPT TO:<carol@d.test>\n") == [250]  # it is not full, for all that is known
    record = mail_world.directory.account("carol@d.test")
    assert record is not None
    await mail_world.store.set_limits(record.account, 0, 1)
    lmtp = await mail_world.lmtp()
    assert (await lmtp.send("<carol@d.test>"))[0][:3] == "250"
    await client.say("RSET\nMAIL FROM:<victim@forged.test>\n", 2)
    assert await client.say("RCPT TO:<carol@d.test>\n") == [452]
    assert "452 4.2.2 Mailbox is full" in client.text
