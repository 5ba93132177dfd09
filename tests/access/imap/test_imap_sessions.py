r"""Several sessions on one mailbox, as dialogues: who is told what, when, and in which order."""

from tests.access.imap.support import World, append_three, message
from tests.storage.hosts import BOTH


async def test_flags_reach_the_other_session(world: World) -> None:
    await append_three(world)
    one, two = await world.selected(), await world.selected()
    await one.dialogue("""
        C: a STORE 1:2 +FLAGS (\\Seen $Work)
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)
        S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work \\*)] Flags kept
        S: * 1 FETCH (FLAGS (\\Seen $Work \\Recent))
        S: * 2 FETCH (FLAGS (\\Seen $Work \\Recent))
        S: a OK Store completed
        C: b STORE 1 +FLAGS.SILENT (\\Flagged)
        S: b OK Store completed
        C: c NOOP
        S: c OK Noop completed
        C: d UID STORE 3 FLAGS ()
        S: * 3 FETCH (UID 3 FLAGS (\\Recent))
        S: d OK Store completed
    """)
    await two.dialogue("""
        C: a NOOP
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)
        S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work \\*)] Flags kept
        S: * 1 FETCH (FLAGS (\\Flagged \\Seen $Work))
        S: * 2 FETCH (FLAGS (\\Seen $Work))
        S: a OK Noop completed
        C: b STORE 1 -FLAGS ($work)
        S: * 1 FETCH (FLAGS (\\Flagged \\Seen))
        S: b OK Store completed
        C: c STORE 2 FLAGS.SILENT (\\Draft)
        S: c OK Store completed
    """)
    await one.dialogue("""
        C: e NOOP
        S: * 1 FETCH (FLAGS (\\Flagged \\Seen \\Recent))
        S: * 2 FETCH (FLAGS (\\Draft \\Recent))
        S: e OK Noop completed
    """)


async def test_a_silent_store_does_not_hide_what_others_did(world: World) -> None:
    await append_three(world)
    one, two = await world.selected(), await world.selected()
    await two.ok("STORE 1 +FLAGS (\\Answered)")
    await one.dialogue("""
        C: a STORE 1 +FLAGS.SILENT (\\Seen)
        S: * 1 FETCH (FLAGS (\\Answered \\Seen \\Recent))
        S: a OK Store completed
    """)


async def test_new_messages_and_recent(world: World) -> None:
    await append_three(world)
    one, two = await world.selected(), await world.selected()
    await world.append("alice", message("four"))
    await one.dialogue("""
        C: a NOOP
        S: * 4 EXISTS
        S: * 4 RECENT
        S: a OK Noop completed
    """)
    await two.dialogue("""
        C: a NOOP
        S: * 4 EXISTS
        S: * 0 RECENT
        S: a OK Noop completed
        C: b SEARCH RECENT
        S: * SEARCH
        S: b OK Search completed
        C: c STATUS INBOX (MESSAGES RECENT UNSEEN UIDNEXT)
        S: * STATUS "INBOX" (MESSAGES 4 RECENT 0 UNSEEN 4 UIDNEXT 5)
        S: c OK Status completed
    """)
    await one.dialogue("""
        C: b SEARCH NEW
        S: * SEARCH 1 2 3 4
        S: b OK Search completed
    """)


async def test_expunge_waits_while_numbers_are_talked_of(world: World) -> None:
    await append_three(world)
    one, two = await world.selected(), await world.selected()
    await one.dialogue("""
        C: a STORE 1,3 +FLAGS.SILENT (\\Deleted)
        S: a OK Store completed
        C: b EXPUNGE
        S: * 3 EXPUNGE
        S: * 1 EXPUNGE
        S: b OK Expunge completed
        C: c FETCH 1 (UID FLAGS)
        S: * 1 FETCH (UID 2 FLAGS (\\Recent))
        S: c OK Fetch completed
    """)
    await world.append("alice", message("four"))
    await two.dialogue("""
        C: a FETCH 2:3 UID
        S: * 2 FETCH (UID 2)
        S: * 4 EXISTS
        S: * 1 RECENT
        S: a NO [EXPUNGEISSUED] Some of the messages no longer exist
        C: b FETCH 2,4 UID
        S: * 2 FETCH (UID 2)
        S: * 4 FETCH (UID 4)
        S: b OK Fetch completed
        C: c STORE 1 +FLAGS (\\Seen)
        S: c NO [EXPUNGEISSUED] Some of the messages no longer exist
        C: d SEARCH ALL
        S: * SEARCH 2 4
        S: d OK Search completed
        C: e COPY 1:2 Trash
        S: * 3 EXPUNGE
        S: * 1 EXPUNGE
        S: e NO [EXPUNGEISSUED] Some of the messages no longer exist
        C: f UID FETCH 1:* UID
        S: * 1 FETCH (UID 2)
        S: * 2 FETCH (UID 4)
        S: f OK Fetch completed
    """)


async def test_uid_commands_may_tell_of_expunges(world: World) -> None:
    await append_three(world)
    one, two = await world.selected(), await world.selected()
    await one.ok("UID STORE 2 +FLAGS.SILENT (\\Deleted)")
    await one.ok("UID EXPUNGE 2")
    await two.dialogue("""
        C: a UID FETCH 2:3 FLAGS
        S: * 3 FETCH (UID 3 FLAGS ())
        S: * 2 EXPUNGE
        S: a OK Fetch completed
        C: b UID STORE 2 +FLAGS (\\Seen)
        S: b OK Store completed
    """)


async def test_uid_expunge_takes_only_what_is_deleted(world: World) -> None:
    await append_three(world)
    client = await world.selected()
    await client.dialogue("""
        C: a STORE 1,3 +FLAGS.SILENT (\\Deleted)
        S: a OK Store completed
        C: b UID EXPUNGE 2:9
        S: * 3 EXPUNGE
        S: b OK Expunge completed
        C: c UID EXPUNGE 77
        S: c OK Expunge completed
        C: d CLOSE
        S: d OK Close completed
        C: e STATUS INBOX (MESSAGES)
        S: * STATUS "INBOX" (MESSAGES 1)
        S: e OK Status completed
    """)


async def test_copy_and_move(world: World) -> None:
    await append_three(world)
    one, two = await world.selected(), await world.selected()
    trash = await world.selected(mailbox="Trash")
    await one.dialogue("""
        C: a COPY 1:2 Trash
        S: a OK [COPYUID <n> 1:2 1:2] Copy completed
        C: b MOVE 1,3 Trash
        S: * OK [COPYUID <n> 1,3 3:4] Moved
        S: * 3 EXPUNGE
        S: * 1 EXPUNGE
        S: b OK Move completed
        C: c UID MOVE 77 Trash
        S: c OK Move completed
        C: d COPY 1 Nowhere
        S: d NO [TRYCREATE] No such mailbox
        C: e UID COPY 2 INBOX
        S: * 2 EXISTS
        S: * 2 RECENT
        S: e OK [COPYUID <n> 2 4] Copy completed
        C: f COPY 9 Trash
        S: f BAD No message has that number
    """)
    await two.dialogue("""
        C: a NOOP
        S: * 3 EXPUNGE
        S: * 1 EXPUNGE
        S: * 2 EXISTS
        S: * 0 RECENT
        S: a OK Noop completed
    """)
    await trash.dialogue("""
        C: a NOOP
        S: * 4 EXISTS
        S: * 4 RECENT
        S: a OK Noop completed
    """)


@BOTH
async def test_idle_tells_at_once(world: World) -> None:
    await append_three(world)
    idler, other = await world.selected(), await world.selected()
    idler.send(b"i IDLE\r\n")
    assert await idler.line() == b"+ idling"
    await world.append("alice", message("four"))
    assert await idler.line() == b"* 4 EXISTS"
    assert await idler.line() == b"* 4 RECENT"
    await other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert await idler.line() == b"* 1 FETCH (FLAGS (\\Deleted \\Recent))"
    await other.ok("EXPUNGE")
    assert await idler.line() == b"* 1 EXPUNGE"
    await idler.dialogue("""
        C: DONE
        S: i OK Idle completed
        C: j NOOP
        S: j OK Noop completed
    """)
    await world.append("alice", message("five"))
    await idler.dialogue("""
        C: k IDLE
        S: + idling
        S: * 4 EXISTS
        S: * 4 RECENT
        C: nonsense
        S: k BAD <text>
    """)


async def test_idle_without_a_mailbox(world: World) -> None:
    client = await world.login()
    await client.dialogue("""
        C: i IDLE
        S: + idling
        C: done
        S: i OK Idle completed
    """)


@BOTH
async def test_the_selected_mailbox_is_deleted_by_another(world: World) -> None:
    one, two = await world.login(), await world.login()
    await one.ok("CREATE Work")
    await one.append("Work", message())
    await two.ok("SELECT Work")
    await one.ok("DELETE Work")
    await two.dialogue("""
        C: a FETCH 1 UID
        S: a NO [EXPUNGEISSUED] Some of the messages no longer exist
        C: b NOOP
        S: * 1 EXPUNGE
        S: b OK Noop completed
        C: c EXPUNGE
        S: c OK Expunge completed
        C: d CLOSE
        S: d OK Close completed
    """)


async def test_rename_of_inbox_moves_its_messages(world: World) -> None:
    await append_three(world)
    one, two = await world.login(), await world.selected()
    await one.ok("RENAME INBOX Old")
    await two.dialogue("""
        C: a NOOP
        S: * 3 EXPUNGE
        S: * 2 EXPUNGE
        S: * 1 EXPUNGE
        S: a OK Noop completed
        C: b STATUS Old (MESSAGES)
        S: * STATUS "Old" (MESSAGES 3)
        S: b OK Status completed
    """)


async def test_pipelined_commands_are_answered_in_order(world: World) -> None:
    await append_three(world)
    client = await world.selected()
    client.send(
        b"a FETCH 1 UID\r\nb NOOP\r\nc STORE 2 +FLAGS.SILENT (\\Seen)\r\nd SEARCH UNSEEN\r\ne LOGOUT\r\nf NOOP\r\n"
    )
    await client.dialogue("""
        S: * 1 FETCH (UID 1)
        S: a OK Fetch completed
        S: b OK Noop completed
        S: c OK Store completed
        S: * SEARCH 1 3
        S: d OK Search completed
        S: * BYE Logging out
        S: e OK Logout completed
    """)
    assert await client.stream.read() == b""


async def test_condstore(world: World) -> None:
    await append_three(world)
    one, two = await world.login(), await world.selected()
    selected = await one.ok("SELECT INBOX (CONDSTORE)")
    start = next(int(line.split()[3].rstrip(b"]")) for line in selected if b"HIGHESTMODSEQ" in line)
    await two.ok("STORE 2 +FLAGS (\\Flagged)")
    (line,) = await one.ok("NOOP")
    assert line == b"* 2 FETCH (UID 2 MODSEQ (%d) FLAGS (\\Flagged))" % (start + 1)
    await one.dialogue(f"""
        C: a STORE 1:3 (UNCHANGEDSINCE {start}) +FLAGS.SILENT (\\Seen)
        S: * 1 FETCH (UID 1 MODSEQ ({start + 2}) FLAGS (\\Seen))
        S: * 3 FETCH (UID 3 MODSEQ ({start + 2}) FLAGS (\\Seen))
        S: a OK [MODIFIED 2] Some were changed by others
        C: b FETCH 1:3 (FLAGS) (CHANGEDSINCE {start + 1})
        S: * 1 FETCH (FLAGS (\\Seen) MODSEQ ({start + 2}))
        S: * 3 FETCH (FLAGS (\\Seen) MODSEQ ({start + 2}))
        S: b OK Fetch completed
        C: c SEARCH MODSEQ {start + 1}
        S: * SEARCH 1 2 3 (MODSEQ {start + 2})
        S: c OK Search completed
    """)
