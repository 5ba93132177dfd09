"""SEARCH: every key, charsets, both forms of answer, and the saved result."""

from rookery.storage.values import Flag
from tests.access.imap.support import World
from tests.storage.hosts import BOTH

ONE = (
    b"From: Ann Example <ann@d.test>\r\nTo: bob@d.test\r\nCc: carol@d.test\r\nSubject: =?iso-8859-1?q?Gr=FC=DFe?=\r\n"
    b"Date: Mon, 02 Nov 2026 23:30:00 -0500\r\nMessage-ID: <1@d.test>\r\n\r\nApples and pears.\r\n"
)
TWO = (
    b"From: bob@d.test\r\nTo: ann@d.test\r\nBcc: dave@d.test\r\nSubject: lunch\r\n"
    b"Date: Wed, 04 Nov 2026 01:00:00 +0000\r\nX-Note:\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nw4RwZmVsIHVuZCBCaXJuZW4=\r\n"
)
THREE = b"Subject: long\r\n\r\n" + b"x" * 5000 + b"\r\n"


async def _filled(world: World) -> None:
    await world.append("alice", ONE, flags=int(Flag.SEEN | Flag.ANSWERED))
    await world.append("alice", TWO, flags=int(Flag.FLAGGED | Flag.DRAFT))
    await world.append("alice", THREE, flags=int(Flag.DELETED))


KEYS = {
    "ALL": "1 2 3",
    "SEEN": "1",
    "UNSEEN": "2 3",
    "ANSWERED": "1",
    "UNANSWERED": "2 3",
    "FLAGGED": "2",
    "UNFLAGGED": "1 3",
    "DRAFT": "2",
    "UNDRAFT": "1 3",
    "DELETED": "3",
    "UNDELETED": "1 2",
    "KEYWORD $x": "",
    "UNKEYWORD $x": "1 2 3",
    "RECENT": "1 2 3",
    "NEW": "2 3",
    "OLD": "",
    "2:3": "2 3",
    "*": "3",
    "UID 1,3": "1 3",
    "UID 9:*": "3",
    "NOT 2": "1 3",
    "OR 1 SEEN": "1",
    "OR FLAGGED DELETED": "2 3",
    "(SEEN ANSWERED)": "1",
    "SEEN FLAGGED": "",
    "NOT (OR 1 (2 FLAGGED))": "3",
    "FROM ann": "1",
    "FROM bob@D.TEST": "2",
    "TO bob": "1",
    "CC carol": "1",
    "BCC dave": "2",
    "SUBJECT lunch": "2",
    "HEADER message-id <1@": "1",
    'HEADER X-Note ""': "2",
    "BODY pears": "1",
    "BODY ann@d.test": "",
    "TEXT ann@d.test": "1 2",
    "LARGER 4000": "3",
    "SMALLER 4000": "1 2",
    "SENTON 2-Nov-2026": "1",
    "SENTBEFORE 3-Nov-2026": "1",
    "SENTSINCE 4-Nov-2026": "2",
    "SINCE 15-Jan-2027": "1 2 3",
    "BEFORE 15-Jan-2027": "",
    "ON 15-Jan-2027": "1 2 3",
    "YOUNGER 10": "1 2 3",
    "OLDER 10": "",
    "SAVEDON 15-Jan-2027": "1 2 3",
}


@BOTH
async def test_every_key(world: World) -> None:
    await _filled(world)
    client = await world.selected()
    for key, expected in KEYS.items():
        want = [b"* SEARCH%b" % (b" " + expected.encode() if expected else b"")]
        assert await client.ok(f"SEARCH {key}") == want, key


async def test_text_in_other_charsets(world: World) -> None:
    await _filled(world)
    client = await world.selected()

    async def find(charset: str, key: str, text: bytes) -> bytes:
        found = await client.ok(b"SEARCH CHARSET %b %b {%d+}\r\n%b" % (charset.encode(), key.encode(), len(text), text))
        return found[0][len(b"* SEARCH") :]

    assert await find("UTF-8", "SUBJECT", "grüSSE".encode()) == b" 1"
    assert await find("ISO-8859-1", "SUBJECT", "Grüße".encode("latin-1")) == b" 1"
    assert await find("UTF-8", "BODY", "äpfel".encode()) == b" 2"
    assert await find("KOI8-R", "BODY", "груша".encode("koi8-r")) == b""
    (answer,) = await client.command("SEARCH CHARSET X-KLINGON SUBJECT x")
    assert answer.startswith(b"NO [BADCHARSET")


async def test_esearch(world: World) -> None:
    await _filled(world)
    client = await world.selected()
    await client.dialogue("""
        C: a SEARCH RETURN (MIN MAX COUNT) UNSEEN
        S: * ESEARCH (TAG "a") MIN 2 MAX 3 COUNT 2
        S: a OK Search completed
        C: b UID SEARCH RETURN () ALL
        S: * ESEARCH (TAG "b") UID ALL 1:3
        S: b OK Search completed
        C: c SEARCH RETURN (MIN ALL COUNT) KEYWORD $none
        S: * ESEARCH (TAG "c") COUNT 0
        S: c OK Search completed
    """)
    rev2 = await world.selected(rev2=True)
    await rev2.dialogue("""
        C: a SEARCH SEEN
        S: * ESEARCH (TAG "a") ALL 1
        S: a OK Search completed
    """)


async def test_saved_results(world: World) -> None:
    """RFC 5182."""
    await _filled(world)
    client = await world.selected()
    await client.dialogue("""
        C: a SEARCH RETURN (SAVE) UNSEEN
        S: a OK Search completed
        C: b FETCH $ UID
        S: * 2 FETCH (UID 2)
        S: * 3 FETCH (UID 3)
        S: b OK Fetch completed
        C: c SEARCH RETURN (SAVE MIN) $ SMALLER 4000
        S: * ESEARCH (TAG "c") MIN 2
        S: c OK Search completed
        C: d UID STORE $ +FLAGS.SILENT (\\Seen)
        S: d OK Store completed
        C: e SEARCH UNSEEN
        S: * SEARCH 3
        S: e OK Search completed
        C: f SEARCH RETURN (SAVE) DELETED
        S: f OK Search completed
        C: g MOVE $ Trash
        S: * OK [COPYUID <n> 3 1] Moved
        S: * 3 EXPUNGE
        S: g OK Move completed
        C: h FETCH $ UID
        S: h OK Fetch completed
    """)


async def test_no_charset_after_utf8_accept(world: World) -> None:
    await _filled(world)
    client = await world.login()
    await client.ok("ENABLE IMAP4rev2")
    await client.ok("SELECT INBOX")
    await client.ok("SEARCH CHARSET UTF-8 SUBJECT lunch")
    await client.ok("ENABLE UTF8=ACCEPT")
    for charset in ("UTF-8", "US-ASCII"):
        assert (await client.command(f"SEARCH CHARSET {charset} SUBJECT lunch"))[-1].startswith(b"BAD ")
    await client.ok("SEARCH SUBJECT lunch")


async def test_keywords_without_regard_to_case(world: World) -> None:
    await _filled(world)
    client = await world.selected()
    await client.ok("STORE 2 +FLAGS.SILENT ($Label)")
    assert await client.ok("SEARCH KEYWORD $LABEL") == [b"* SEARCH 2"]
    assert await client.ok("UID SEARCH UNKEYWORD $label") == [b"* SEARCH 1 3"]


async def test_search_in_an_empty_mailbox(world: World) -> None:
    client = await world.selected()
    assert await client.ok("SEARCH ALL") == [b"* SEARCH"]
    assert await client.ok("SEARCH 1:*") == [b"* SEARCH"]
