r"""Mailboxes by name: CREATE to STATUS, and LIST in all its forms."""

import pytest

from rookery.access.imap.listing import list_rows, lsub_rows
from rookery.storage import open_account
from rookery.storage.values import Flag, Mailbox, SpecialUse
from rookery.wire.imap.commands import List, ListReturn, ListSelect, Lsub
from tests.access.imap.support import World, message

USUAL = [
    b'* LIST (\\HasNoChildren) "/" "INBOX"',
    b'* LIST (\\HasNoChildren \\Archive) "/" "Archive"',
    b'* LIST (\\HasNoChildren \\Drafts) "/" "Drafts"',
    b'* LIST (\\HasNoChildren \\Junk) "/" "Junk"',
    b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"',
    b'* LIST (\\HasNoChildren \\Trash) "/" "Trash"',
]


def _box(name: str, use: SpecialUse | None = None) -> Mailbox:
    return Mailbox(1, name, 1, 1, 1, 0, 0, 0, 0, False, use)


def _names(command: List, boxes: list[str], subscribed: tuple[str, ...] = ()) -> dict[str, tuple[tuple[str, ...], ...]]:
    rows = list_rows(command, [_box(name) for name in boxes], subscribed, rev2=False).rows()
    return {row.name: (row.attributes, row.children_with) for row in rows}


def test_levels_that_are_no_mailboxes() -> None:
    boxes = ["INBOX", "a/b/c", "d"]
    found = _names(List("", ("%",)), boxes)
    assert found == {
        "INBOX": (("\\HasNoChildren",), ()),
        "a": (("\\Noselect", "\\HasChildren"), ()),
        "d": (("\\HasNoChildren",), ()),
    }
    assert list(_names(List("", ("*",)), boxes)) == ["INBOX", "a", "a/b", "a/b/c", "d"]
    assert list(_names(List("a/", ("%",)), boxes)) == ["a/b"]
    extended = _names(List("", ("%",), returns=frozenset({ListReturn.CHILDREN}), extended=True), boxes)
    assert extended["a"] == (("\\NonExistent", "\\HasChildren"), ())


def test_subscribed_names_need_not_exist() -> None:
    command = List("", ("*",), frozenset({ListSelect.SUBSCRIBED}), extended=True)
    assert _names(command, ["a", "b"], ("a", "gone")) == {
        "a": (("\\HasNoChildren", "\\Subscribed"), ()),
        "gone": (("\\NonExistent", "\\HasNoChildren", "\\Subscribed"), ()),
    }


def test_recursive_match_tells_of_children() -> None:
    """RFC 5258 section 5, examples 8 and 9."""
    select = frozenset({ListSelect.SUBSCRIBED, ListSelect.RECURSIVEMATCH})
    command = List("", ("%",), select, extended=True)
    found = _names(command, ["INBOX", "foo", "foo/baz", "x/y"], ("INBOX", "foo/baz", "x/y"))
    assert found["foo"] == (("\\HasChildren",), ("SUBSCRIBED",))
    assert found["x"] == (("\\NonExistent", "\\HasChildren"), ("SUBSCRIBED",))
    assert found["INBOX"] == (("\\HasNoChildren", "\\Subscribed"), ())


def test_special_use_selection() -> None:
    command = List("", ("*",), frozenset({ListSelect.SPECIAL_USE}), extended=True)
    rows = list_rows(command, [_box("a"), _box("b/Sent", SpecialUse.SENT)], (), rev2=False).rows()
    assert [(row.name, row.attributes) for row in rows] == [("b/Sent", ("\\HasNoChildren", "\\Sent"))]


def test_lsub_implies_levels_for_a_last_percent() -> None:
    """RFC 3501 section 6.3.9."""
    boxes, subscribed = [_box("foo"), _box("foo/bar")], ("foo/bar", "gone")
    rows = lsub_rows(Lsub("", "%"), boxes, subscribed).rows()
    assert [(row.name, row.attributes) for row in rows] == [("foo", ("\\Noselect",)), ("gone", ("\\Noselect",))]
    assert [row.name for row in lsub_rows(Lsub("", "*"), boxes, subscribed).rows()] == ["foo/bar", "gone"]


async def test_the_usual_mailboxes(world: World) -> None:
    client = await world.login()
    assert await client.ok('LIST "" *') == USUAL
    assert await client.ok('LIST "" ""') == [b'* LIST (\\Noselect) "/" ""']
    assert await client.ok('LIST "" (SENT% INBOX)') == [USUAL[0]]
    assert await client.ok("NAMESPACE") == [b'* NAMESPACE (("" "/")) NIL NIL']


async def test_create_rename_delete(world: World) -> None:
    client = await world.login()
    await client.dialogue("""
        C: a CREATE a/b/c
        S: a OK [MAILBOXID (F<n>)] Create completed
        C: b CREATE a/b/c
        S: b NO [ALREADYEXISTS] <text>
        C: c CREATE Inbox
        S: c NO [ALREADYEXISTS] <text>
        C: d LIST "" a*
        S: * LIST (\\HasChildren) "/" "a"
        S: * LIST (\\HasChildren) "/" "a/b"
        S: * LIST (\\HasNoChildren) "/" "a/b/c"
        S: d OK List completed
        C: e RENAME a x/y
        S: e OK Rename completed
        C: f LIST "" x*
        S: * LIST (\\HasChildren) "/" "x"
        S: * LIST (\\HasChildren) "/" "x/y"
        S: * LIST (\\HasChildren) "/" "x/y/b"
        S: * LIST (\\HasNoChildren) "/" "x/y/b/c"
        S: f OK List completed
        C: g DELETE x/y
        S: g OK Delete completed
        C: h LIST "" x/%
        S: * LIST (\\Noselect \\HasChildren) "/" "x/y"
        S: h OK List completed
        C: i DELETE x/y
        S: i NO [NONEXISTENT] No such mailbox
        C: j DELETE INBOX
        S: j NO [CANNOT] INBOX cannot be deleted
        C: k RENAME x/y/b x/y/b/d
        S: k NO [CANNOT] <text>
        C: l RENAME nowhere z
        S: l NO [NONEXISTENT] No such mailbox
        C: m SELECT x/y
        S: m NO [NONEXISTENT] No such mailbox
    """)


async def test_create_with_special_use(world: World) -> None:
    client = await world.login()
    await client.dialogue("""
        C: a CREATE Memos (USE (\\Drafts))
        S: a OK <text>
        C: b CREATE Odd (USE (\\Odd))
        S: b NO [USEATTR] That special use cannot be given
        C: c LIST (SPECIAL-USE) "" M*
        S: * LIST (\\HasNoChildren \\Drafts) "/" "Memos"
        S: c OK List completed
    """)


async def test_subscriptions(world: World) -> None:
    client = await world.login()
    await client.ok("UNSUBSCRIBE Junk")
    await client.ok("SUBSCRIBE Elsewhere")
    await client.dialogue("""
        C: a LSUB "" *
        S: * LSUB () "/" "INBOX"
        S: * LSUB () "/" "Archive"
        S: * LSUB () "/" "Drafts"
        S: * LSUB (\\Noselect) "/" "Elsewhere"
        S: * LSUB () "/" "Sent"
        S: * LSUB () "/" "Trash"
        S: a OK Lsub completed
        C: b LIST "" (Junk Sent) RETURN (SUBSCRIBED)
        S: * LIST (\\HasNoChildren \\Junk) "/" "Junk"
        S: * LIST (\\HasNoChildren \\Subscribed \\Sent) "/" "Sent"
        S: b OK List completed
    """)


async def test_list_with_status(world: World) -> None:
    await world.append("alice", message())
    client = await world.login()
    await client.dialogue("""
        C: a LIST "" (INBOX Sent) RETURN (STATUS (MESSAGES UNSEEN))
        S: * LIST (\\HasNoChildren) "/" "INBOX"
        S: * STATUS "INBOX" (MESSAGES 1 UNSEEN 1)
        S: * LIST (\\HasNoChildren \\Sent) "/" "Sent"
        S: * STATUS "Sent" (MESSAGES 0 UNSEEN 0)
        S: a OK List completed
    """)


async def test_status_of_everything(world: World) -> None:
    await world.append("alice", message())
    client = await world.login()
    items = "MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE HIGHESTMODSEQ MAILBOXID APPENDLIMIT"
    (line,) = await client.ok(f"STATUS inbox ({items})")
    assert line.startswith(b'* STATUS "INBOX" (MESSAGES 1 RECENT 1 UIDNEXT 2 UIDVALIDITY ')
    assert b"SIZE %d " % len(message()) in line
    assert (await client.command("STATUS Nowhere (MESSAGES)"))[-1] == b"NO [NONEXISTENT] No such mailbox"


async def test_names_in_utf7_and_utf8(world: World) -> None:
    one, two = await world.login(), await world.login()
    await one.ok('CREATE "Entw&APw-rfe"')
    await two.ok("ENABLE IMAP4rev2")
    assert await one.ok('LIST "" Ent*') == [b'* LIST (\\HasNoChildren) "/" "Entw&APw-rfe"']
    assert await two.ok('LIST "" Ent*') == ['* LIST (\\HasNoChildren) "/" "Entwürfe"'.encode()]
    assert await two.ok('STATUS "Entwürfe" (MESSAGES)') == ['* STATUS "Entwürfe" (MESSAGES 0)'.encode()]


async def test_names_that_cannot_be(world: World) -> None:
    client = await world.login()
    for name in ('""', '"a//b"', '"/a"', '"a/../b"', '"&AAo-"', '"' + "x" * 1100 + '"', '"' + "a/" * 70 + 'a"'):
        answer = (await client.command(f"CREATE {name}"))[-1]
        assert answer.startswith((b"NO [CANNOT]", b"BAD")), (name, answer)
    assert len(await client.ok('LIST "" *')) == len(USUAL)


async def test_deleted_storage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_account, "ROWS_PER_SUM", 2)
    sizes = [len(await _append_deleted(world, "x" * n, gone=n % 2 == 0)) for n in range(5)]
    client = await world.login()
    expected = b"(DELETED 3 DELETED-STORAGE %d)" % (sizes[0] + sizes[2] + sizes[4])
    assert await client.ok("STATUS INBOX (DELETED DELETED-STORAGE)") == [b'* STATUS "INBOX" ' + expected]
    listed = await client.ok('LIST "" INBOX RETURN (STATUS (DELETED DELETED-STORAGE))')
    assert listed[-1] == b'* STATUS "INBOX" ' + expected
    await client.ok("CREATE empty")
    assert await client.ok("STATUS empty (DELETED-STORAGE)") == [b'* STATUS "empty" (DELETED-STORAGE 0)']


async def _append_deleted(world: World, text: str, *, gone: bool) -> bytes:
    made = message(text)
    await world.append("alice", made, flags=int(Flag.DELETED) if gone else 0)
    return made


async def test_quota_without_limits(world: World) -> None:
    client = await world.login()
    assert await client.ok("GETQUOTAROOT INBOX") == [b'* QUOTAROOT "INBOX" ""', b'* QUOTA "" ()']


async def test_quota(world: World) -> None:
    await world.append("alice", message())
    await world.store.set_limits(world.account_id("alice"), 10 * 1024, 5)
    client = await world.login()
    assert await client.ok('GETQUOTA ""') == [b'* QUOTA "" (STORAGE 1 10 MESSAGE 1 5)']
    assert await client.command("GETQUOTA other") == [b"NO [NONEXISTENT] No such mailbox"]
