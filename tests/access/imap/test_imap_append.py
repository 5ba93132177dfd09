"""APPEND: what is answered, when the message is refused, and that OK means kept."""

import asyncio
from pathlib import Path

import pytest

from rookery.access.heads import HEAD_LIMIT
from rookery.access.imap import ImapSettings
from tests.access.imap.support import World, make_world, message


async def test_append_answers_its_uid_and_keeps_flags_and_date(world: World) -> None:
    client = await world.login()
    answer = await client.append("Sent", message(), '(\\Seen $Forwarded) "01-Feb-2020 03:04:05 +0200" ')
    assert answer.startswith(b"OK [APPENDUID ")
    assert answer.endswith(b" 1] Append completed")
    await client.ok("SELECT Sent")
    assert await client.ok("FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)") == [
        b'* 1 FETCH (FLAGS (\\Seen $Forwarded \\Recent) INTERNALDATE " 1-Feb-2020 01:04:05 +0000" RFC822.SIZE %d)'
        % len(message())
    ]


async def test_append_to_the_selected_mailbox(world: World) -> None:
    client = await world.selected()
    data = message()
    client.send(b"a APPEND INBOX {%d}\r\n" % len(data))
    assert await client.line() == b"+ OK"
    client.send(data + b"\r\n")
    await client.dialogue("""
        S: * 1 EXISTS
        S: * 1 RECENT
        S: a OK [APPENDUID <n> 1] Append completed
    """)


async def test_append_to_nowhere(world: World) -> None:
    client = await world.login()
    client.send(b"a APPEND Nowhere {5}\r\n")
    assert await client.line() == b"a NO [TRYCREATE] No such mailbox"
    assert await client.append("Nowhere", b"12345") == b"NO [TRYCREATE] No such mailbox"
    assert await client.ok("NOOP") == []


async def test_a_message_that_is_too_large_is_refused_at_its_start(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice", imap=ImapSettings(append_limit=1000)) as world:
        client = await world.login()
        client.send(b"a APPEND INBOX {1001}\r\n")
        assert (await client.line()).startswith(b"a NO [TOOBIG]")
        assert (await client.append("INBOX", b"x" * 2000)).startswith(b"NO [TOOBIG]")
        assert (await client.append("INBOX", b"x" * 1000)).startswith(b"OK")


@pytest.mark.parametrize("piece", [1000, 65_537])
@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n"])
async def test_a_header_has_a_limit_and_a_body_has_none(world: World, end: bytes, piece: int) -> None:
    """As for SMTP. The message is read to its end, and nothing of it is held meanwhile."""
    client = await world.login()
    most = b"X: " + b"y" * (HEAD_LIMIT - 3 - len(end) // 2)
    for head, answer in ((most, b"OK"), (most + b"y", b"NO [TOOBIG] Too big: a header has at most 262144 octets")):
        data = head + end + b"x" * 300_000
        client.send(b"a APPEND INBOX {%d+}\r\n" % len(data))
        for at in range(0, len(data), piece):
            client.send(data[at : at + piece])
            await asyncio.sleep(0)
        client.send(b"\r\n")
        (line,) = await client.until(b"a")
        assert line.startswith(answer)
    assert world.store.blobs._area.in_memory == 0
    assert (await client.append("INBOX", b"\r\n" + b"x" * 300_000)).startswith(b"OK"), "a header may be empty"


UTF8_MAIL = "Subject: Grüße\r\n\r\nschön\r\n".encode()


@pytest.mark.parametrize("wait", [True, False])
async def test_append_of_a_utf8_message(world: World, wait: bool) -> None:
    """RFC 6855 section 4: `UTF8 (~{n} ...)`, waited for or not."""
    client = await world.login()
    await client.ok("ENABLE UTF8=ACCEPT")
    client.send(b'a APPEND "INBOX" (\\Seen) UTF8 (~{' + b"%d%b}\r\n" % (len(UTF8_MAIL), b"" if wait else b"+"))
    if wait:
        assert await client.line() == b"+ OK"
    client.send(UTF8_MAIL + b")\r\n")
    (line,) = await client.until(b"a")
    assert line.startswith(b"OK [APPENDUID ")
    await client.ok("SELECT INBOX")
    (line,) = await client.ok("FETCH 1 BODY.PEEK[]")
    assert line == b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(UTF8_MAIL), UTF8_MAIL)


async def test_a_utf8_message_that_is_no_literal8(world: World) -> None:
    client = await world.login()
    await client.ok("ENABLE UTF8=ACCEPT")
    client.send(b"a APPEND INBOX UTF8 ({5}\r\n")
    assert (await client.line()).startswith(b"a BAD ")
    client.send(b"b APPEND INBOX UTF8 (~{5+}\r\n12345\r\n")
    assert (await client.line()).startswith(b"b BAD "), "the parenthesis is missing"
    assert await client.ok("STATUS INBOX (MESSAGES)") == [b'* STATUS "INBOX" (MESSAGES 0)']


async def test_quota(world: World) -> None:
    client = await world.login()
    await client.append("INBOX", message())
    await world.store.set_limits(world.account_id("alice"), 0, 1)
    client.send(b"a APPEND INBOX {5}\r\n")
    assert await client.line() == b"a NO [OVERQUOTA] Quota exceeded"
    await client.ok("SELECT INBOX")
    answer = (await client.command("COPY 1 Trash"))[-1]
    assert answer.startswith(b"NO [OVERQUOTA] Quota exceeded")
    assert (await client.command("MOVE 1 Trash"))[-1].startswith(b"OK"), "a move takes no room"


async def test_one_message_each(world: World) -> None:
    client = await world.login()
    client.send(b"a APPEND INBOX {3+}\r\nabc {3}\r\n")
    assert (await client.line()).startswith(b"a NO [CANNOT]")
    assert await client.ok("STATUS INBOX (MESSAGES)") == [b'* STATUS "INBOX" (MESSAGES 0)']


async def test_what_ends_in_nonsense_is_not_kept(world: World) -> None:
    client = await world.login()
    client.send(b"a APPEND INBOX {3+}\r\nabcNONSENSE\r\n")
    assert (await client.line()).startswith(b"a BAD")
    assert await client.ok("STATUS INBOX (MESSAGES)") == [b'* STATUS "INBOX" (MESSAGES 0)']
    assert not list((world.store.folder / "staging").iterdir())


async def test_a_client_that_vanishes_leaves_nothing_behind(world: World) -> None:
    client = await world.login()
    client.send(b"a APPEND INBOX {1000000+}\r\n" + b"x" * 600_000)
    await client.hang_up()
    assert not list((world.store.folder / "staging").iterdir())
    other = await world.login()
    assert await other.ok("STATUS INBOX (MESSAGES)") == [b'* STATUS "INBOX" (MESSAGES 0)']


async def test_large_messages_arrive_whole(world: World) -> None:
    client = await world.selected()
    data = b"Subject: x\r\n\r\n" + bytes(range(1, 256)) * 8000
    client.send(b"a APPEND INBOX {%d+}\r\n" % len(data))
    for at in range(0, len(data), 10_000):
        client.send(data[at : at + 10_000])
    client.send(b"\r\n")
    await client.dialogue("""
        S: * 1 EXISTS
        S: * 1 RECENT
        S: a OK [APPENDUID <n> 1] Append completed
    """)
    (line,) = await client.ok("FETCH 1 BODY.PEEK[]")
    assert line == b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(data), data)


async def test_literal8(world: World) -> None:
    client = await world.selected()
    client.send(b"a APPEND INBOX ~{4+}\r\na\0b\n\r\n")
    assert (await client.until(b"a"))[-1].startswith(b"OK")
    assert await client.ok("FETCH 1 BINARY.PEEK[]") == [b"* 1 FETCH (BINARY[] ~{4}\r\na\x00b\n)"]
