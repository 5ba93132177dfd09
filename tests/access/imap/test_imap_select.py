"""What is told when a mailbox is selected, of what is recent too, and what leaving it does not do."""

from pathlib import Path

from rookery.storage.values import Flag
from tests.access.imap.support import World, append_three, make_world, message


async def test_select_tells_everything(world: World) -> None:
    await append_three(world)
    client = await world.login()
    await client.dialogue("""
        C: a SELECT INBOX
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)
        S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags kept
        S: * 3 EXISTS
        S: * 3 RECENT
        S: * OK [UNSEEN 1] First unseen
        S: * OK [UIDVALIDITY <n>] UIDs valid
        S: * OK [UIDNEXT 4] Predicted next UID
        S: * OK [HIGHESTMODSEQ <n>] Highest
        S: * OK [MAILBOXID (F1)] Ok
        S: a OK [READ-WRITE] Select completed
        C: b EXAMINE INBOX
        S: * OK [CLOSED] Previous mailbox closed
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)
        S: * OK [PERMANENTFLAGS ()] Read-only
        S: * 3 EXISTS
        S: * 0 RECENT
        S: * OK [UNSEEN 1] First unseen
        S: * OK [UIDVALIDITY <n>] UIDs valid
        S: * OK [UIDNEXT 4] Predicted next UID
        S: * OK [HIGHESTMODSEQ <n>] Highest
        S: * OK [MAILBOXID (F1)] Ok
        S: b OK [READ-ONLY] Examine completed
        C: c STORE 1 +FLAGS (\\Seen)
        S: c NO [NOPERM] The mailbox is open read-only
        C: d SELECT Nowhere
        S: * OK [CLOSED] Previous mailbox closed
        S: d NO [NONEXISTENT] No such mailbox
        C: e CHECK
        S: e BAD <text>
    """)


async def test_select_in_rev2(world: World) -> None:
    await append_three(world)
    client = await world.login()
    await client.ok("ENABLE IMAP4rev2")
    await client.dialogue("""
        C: a SELECT INBOX
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)
        S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags kept
        S: * 3 EXISTS
        S: * LIST () "/" "INBOX"
        S: * OK [UIDVALIDITY <n>] UIDs valid
        S: * OK [UIDNEXT 4] Predicted next UID
        S: * OK [HIGHESTMODSEQ <n>] Highest
        S: * OK [MAILBOXID (F1)] Ok
        S: a OK [READ-WRITE] Select completed
    """)


async def test_recent_is_told_once_even_when_nobody_was_there(world: World) -> None:
    await append_three(world)
    one = await world.selected()
    await one.hang_up()
    await world.append("alice", message("four"))
    two = await world.login()
    assert b"* 1 RECENT" in await two.ok("EXAMINE INBOX")
    assert b"* 1 RECENT" in await two.ok("SELECT INBOX")
    assert b"* 0 RECENT" in await two.ok("SELECT INBOX")


async def test_close_in_examine_and_unselect_expunge_nothing(world: World) -> None:
    await world.append("alice", message(), flags=int(Flag.DELETED))
    client = await world.login()
    await client.ok("EXAMINE INBOX")
    await client.ok("CLOSE")
    await client.ok("SELECT INBOX")
    await client.ok("UNSELECT")
    assert await client.ok("STATUS INBOX (MESSAGES DELETED)") == [b'* STATUS "INBOX" (MESSAGES 1 DELETED 1)']


async def test_condstore_enabled_in_the_selected_state_tells_where_it_stands(world: World) -> None:
    await append_three(world)
    client = await world.login()
    assert await client.ok("ENABLE CONDSTORE") == [b"* ENABLED CONDSTORE"]
    client = await world.login()
    selected = await client.ok("SELECT INBOX")
    (highest,) = [line for line in selected if b"HIGHESTMODSEQ" in line]
    assert await client.ok("ENABLE CONDSTORE") == [b"* ENABLED CONDSTORE", highest]
    await client.ok("UNSELECT")
    assert await client.ok("ENABLE CONDSTORE") == [b"* ENABLED CONDSTORE"]


async def test_recent_survives_a_restart(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice") as world:
        await append_three(world)
        await world.selected()
        await world.append("alice", message("four"))
        await world.selected()
    async with make_world(tmp_path) as world:
        await world.append("alice", message("five"))
        client = await world.login()
        assert b"* 1 RECENT" in await client.ok("SELECT INBOX")
