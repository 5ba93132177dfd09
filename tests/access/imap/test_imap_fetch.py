r"""FETCH: every section form, partials, ENVELOPE and BODYSTRUCTURE, \Seen, large and damaged messages."""

import random
from pathlib import Path

import pytest

from rookery.access.imap import fetching
from rookery.storage.values import Flag
from tests.access.imap.support import World, message
from tests.storage.hosts import BOTH

NESTED = b"Subject: inner\r\nContent-Type: text/plain\r\n\r\ninner text\r\n"
MIXED = (
    b"From: Ann <ann@d.test>\r\nTo: bob@d.test\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Mon, 02 Nov 2026 10:00:00 +0100\r\nMessage-ID: <1@d.test>\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BC\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + NESTED + b"\r\n"
    b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-mystery\r\n\r\n???\r\n"
    b"--b--\r\nepilogue\r\n"
)
HEADER = MIXED[: MIXED.index(b"\r\n\r\n") + 4]


@pytest.fixture(params=[fetching.LARGE, 0], ids=["small", "large"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are answered from memory when they are small, and as they are read when they are large."""
    monkeypatch.setattr(fetching, "LARGE", request.param)


async def _section(world: World, data: bytes, item: str) -> bytes:
    """The answer to one item of a message that is alone in its mailbox, without `* 1 FETCH (` and `)`."""
    await world.append("alice", data, flags=int(Flag.SEEN))
    client = await world.selected()
    (line,) = await client.ok(f"FETCH 1 {item}")
    assert line.startswith(b"* 1 FETCH (")
    assert line.endswith(b")")
    return line[11:-1]


def _literal(label: str, data: bytes) -> bytes:
    return b"%b {%d}\r\n%b" % (label.encode(), len(data), data)


SECTIONS = {
    "BODY[]": MIXED,
    "BODY.PEEK[]": MIXED,
    "BODY[HEADER]": HEADER,
    "BODY[TEXT]": MIXED[len(HEADER) :],
    "BODY[HEADER.FIELDS (SUBJECT X-NONE)]": b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\n",
    "BODY[HEADER.FIELDS (X-NONE)]": b"\r\n",
    "BODY[1]": b"gr=C3=BC",
    "BODY[1.MIME]": b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
    "BODY[3]": NESTED,
    "BODY[3.HEADER]": b"Subject: inner\r\nContent-Type: text/plain\r\n\r\n",
    "BODY[3.TEXT]": b"inner text\r\n",
    "BODY[3.1]": b"inner text\r\n",
    "BODY[3.HEADER.FIELDS (SUBJECT)]": b"Subject: inner\r\n\r\n",
    "RFC822": MIXED,
    "RFC822.HEADER": HEADER,
    "RFC822.TEXT": MIXED[len(HEADER) :],
    "BINARY[1]": "grü".encode(),
}


@pytest.mark.usefixtures("either_way")
@BOTH
async def test_every_section_form(world: World) -> None:
    await world.append("alice", MIXED, flags=int(Flag.SEEN))
    client = await world.selected()
    for item, expected in SECTIONS.items():
        (line,) = await client.ok(f"FETCH 1 {item}")
        label = item.replace(".PEEK", "")
        assert line == b"* 1 FETCH (" + _literal(label, expected) + b")", item
    fields = "BODY[HEADER.FIELDS.NOT (FROM TO SUBJECT DATE MESSAGE-ID)]"
    (line,) = await client.ok(f"FETCH 1 {fields}")
    expected = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    assert line == b"* 1 FETCH (" + _literal(fields, expected) + b")"


@pytest.mark.usefixtures("either_way")
async def test_partials(world: World) -> None:
    await world.append("alice", MIXED, flags=int(Flag.SEEN))
    client = await world.selected()
    for item, label, expected in (
        ("BODY[]<0.10>", "BODY[]<0>", MIXED[:10]),
        ("BODY.PEEK[]<5.100000>", "BODY[]<5>", MIXED[5:]),
        ("BODY[]<99999.5>", "BODY[]<99999>", b""),
        ("BODY[TEXT]<3.4>", "BODY[TEXT]<3>", MIXED[len(HEADER) + 3 : len(HEADER) + 7]),
        ("BODY[1]<2.3>", "BODY[1]<2>", b"=C3"),
        ("BODY[HEADER]<1.4>", "BODY[HEADER]<1>", HEADER[1:5]),
        ("BODY[HEADER.FIELDS (SUBJECT)]<9.3>", "BODY[HEADER.FIELDS (SUBJECT)]<9>", b"=?u"),
        ("BINARY[1]<1.1>", "BINARY[1]<1>", b"r"),
    ):
        (line,) = await client.ok(f"FETCH 1 {item}")
        assert line == b"* 1 FETCH (" + _literal(label, expected) + b")", item


@pytest.mark.usefixtures("either_way")
async def test_parts_that_are_not_there(world: World) -> None:
    await world.append("alice", MIXED, flags=int(Flag.SEEN))
    client = await world.selected()
    for item in ("BODY[9]", "BODY[1.1]", "BODY[1.HEADER]", "BODY[3.2]", "BINARY[9]"):
        assert await client.ok(f"FETCH 1 {item}") == [b"* 1 FETCH (%b NIL)" % item.encode()]


@pytest.mark.usefixtures("either_way")
async def test_binary(world: World) -> None:
    await world.append("alice", MIXED, flags=int(Flag.SEEN))
    client = await world.selected()
    (line,) = await client.ok("FETCH 1 (BINARY.SIZE[2] BINARY[2])")
    assert line == b"* 1 FETCH (BINARY.SIZE[2] 3 BINARY[2] ~{3}\r\n\x00\x01\x02)"
    assert await client.command("FETCH 1 BINARY[4]") == [b"NO [UNKNOWN-CTE] A part has an unknown transfer encoding"]


async def test_envelope(world: World) -> None:
    assert await _section(world, MIXED, "ENVELOPE") == (
        b'ENVELOPE ("Mon, 02 Nov 2026 10:00:00 +0100" "=?utf-8?q?gr=C3=BC=C3=9Fe?=" '
        b'(("Ann" NIL "ann" "d.test")) (("Ann" NIL "ann" "d.test")) (("Ann" NIL "ann" "d.test")) '
        b'((NIL NIL "bob" "d.test")) NIL NIL NIL "<1@d.test>")'
    )


async def test_structures(world: World) -> None:
    await world.append("alice", MIXED, flags=int(Flag.SEEN))
    client = await world.selected()
    (body,) = await client.ok("FETCH 1 BODY")
    inner = b'"text" "plain" NIL NIL NIL "7bit" 12 1'
    assert body == (
        b'* 1 FETCH (BODY (("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 8 0)'
        b'("application" "octet-stream" NIL NIL NIL "base64" 4)'
        b'("message" "rfc822" NIL NIL NIL "7bit" 56 (NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL) (' + inner + b") 4)"
        b'("text" "plain" NIL NIL NIL "x-mystery" 3 0) "mixed"))'
    )
    (full,) = await client.ok("FETCH 1 BODYSTRUCTURE")
    assert full.startswith(b"* 1 FETCH (BODYSTRUCTURE ((")
    assert full.endswith(b'"mixed" ("boundary" "b") NIL NIL NIL))')
    assert await client.ok("FETCH 1 (BODY BODYSTRUCTURE)") == [body[:-1] + b" " + full[len(b"* 1 FETCH (") :]]


async def test_simple_items_and_macros(world: World) -> None:
    await world.append("alice", message(), flags=int(Flag.SEEN | Flag.FLAGGED))
    client = await world.selected()
    size = len(message())
    date = b'"15-Jan-2027 08:00:00 +0000"'
    fast = b"FLAGS (\\Flagged \\Seen \\Recent) INTERNALDATE %b RFC822.SIZE %d" % (date, size)
    assert await client.ok("FETCH 1 FAST") == [b"* 1 FETCH (%b)" % fast]
    assert (await client.ok("FETCH 1 ALL"))[0].startswith(b"* 1 FETCH (%b ENVELOPE (" % fast)
    assert b" BODY (" in (await client.ok("FETCH 1 FULL"))[0]
    assert await client.ok("UID FETCH 1 RFC822.SIZE") == [b"* 1 FETCH (UID 1 RFC822.SIZE %d)" % size]
    (line,) = await client.ok("FETCH 1 (MODSEQ EMAILID THREADID SAVEDATE)")
    assert b"EMAILID (M" in line
    assert b'SAVEDATE "15-Jan-2027' in line


@BOTH
async def test_reading_sets_seen_and_tells(world: World) -> None:
    await world.append("alice", message("one"))
    await world.append("alice", message("two"), flags=int(Flag.SEEN))
    one, two = await world.selected(), await world.selected()
    lines = await one.ok("FETCH 1:2 BODY[TEXT]")
    assert lines == [
        b"* 1 FETCH (BODY[TEXT] {14}\r\nBody of one.\r\n FLAGS (\\Seen \\Recent))",
        b"* 2 FETCH (BODY[TEXT] {14}\r\nBody of two.\r\n)",
    ]
    assert await two.ok("NOOP") == [b"* 1 FETCH (FLAGS (\\Seen))"]
    assert await one.ok("NOOP") == []


async def test_peek_and_examine_set_nothing(world: World) -> None:
    await world.append("alice", message())
    client = await world.selected()
    await client.ok("FETCH 1 (BODY.PEEK[] RFC822.HEADER)")
    await client.ok("EXAMINE INBOX")
    (line,) = await client.ok("FETCH 1 RFC822")
    assert b"FLAGS" not in line
    assert await client.ok("SEARCH UNSEEN") == [b"* SEARCH 1"]


async def test_seen_with_flags_asked_for(world: World) -> None:
    await world.append("alice", message())
    client = await world.selected()
    (line,) = await client.ok("FETCH 1 (FLAGS BODY[TEXT])")
    assert line == b"* 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {16}\r\nBody of hello.\r\n)"


@BOTH
async def test_large_messages_stream(world: World) -> None:
    text = random.Random(1).randbytes(150_000).hex().encode()
    large = b"Subject: large\r\n\r\n" + b"\r\n".join(text[i : i + 76] for i in range(0, len(text), 76)) * 8
    await world.append("alice", message("before"), flags=int(Flag.SEEN))
    await world.append("alice", large)
    await world.append("alice", message("after"), flags=int(Flag.SEEN))
    client = await world.selected()
    lines = await client.ok("FETCH 1:3 (UID BODY[] RFC822.SIZE)")
    assert lines[1] == b"* 2 FETCH (UID 2 BODY[] {%d}\r\n%b RFC822.SIZE %d FLAGS (\\Seen \\Recent))" % (
        len(large),
        large,
        len(large),
    )
    assert lines[2].startswith(b"* 3 FETCH (UID 3 BODY[] {")
    assert (await client.ok("FETCH 2 BODY[]"))[0].endswith(b")")
    (line,) = await client.ok(f"FETCH 2 BODY[]<{len(large) - 3}.100>")
    assert line == b"* 2 FETCH (BODY[]<%d> {3}\r\n%b)" % (len(large) - 3, large[-3:])
    assert await client.ok("FETCH 2 BODY[HEADER]") == [b"* 2 FETCH (BODY[HEADER] {18}\r\nSubject: large\r\n\r\n)"]


async def test_many_messages_in_slices(world: World) -> None:
    client = await world.selected()
    for number in range(3):
        await world.append("alice", message(str(number)))
    await client.ok("NOOP")
    for _ in range(9):
        await client.ok("COPY 1:* INBOX")
    await client.ok("NOOP")
    count = 3 * 2**9
    lines = await client.ok("FETCH 1:* (UID ENVELOPE)")
    assert len(lines) == count
    assert lines[-1].startswith(b"* %d FETCH (UID %d ENVELOPE (" % (count, count))
    lines = await client.ok("FETCH 1:* (BODY.PEEK[TEXT])")
    assert lines[count - 1] == b"* %d FETCH (BODY[TEXT] {12}\r\nBody of 2.\r\n)" % count


async def test_a_damaged_message_does_not_hide_the_others(world: World, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        await world.append("alice", message(name), flags=int(Flag.SEEN))
    (segment,) = (tmp_path / "store" / "segments").iterdir()
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b"Body of two.", b"Body of tvo."))
    client = await world.selected()
    *lines, tagged = await client.command("FETCH 1:3 BODY[TEXT]")
    assert [line[:9] for line in lines] == [b"* 1 FETCH", b"* 3 FETCH"]
    assert tagged.startswith(b"NO [CORRUPTION] Stored data is damaged")
    assert (await client.command("FETCH 2 UID")) == [b"* 2 FETCH (UID 2)", b"OK Fetch completed"]
