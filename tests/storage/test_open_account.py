"""What sessions see of an account: always a whole picture of something that is durable."""

import asyncio

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.base.numberset import NumberSet
from rookery.storage.append import Append
from rookery.storage.store import Store
from rookery.storage.values import Appended, Flag, FlagMode, Kind, SpecialUse, Verb
from tests.storage.conftest import BOTH, Mail, staged
from tests.storage.world import account_id

N = NumberSet.parse
pytestmark = BOTH


async def test_a_new_account_has_its_usual_mailboxes(mail: Mail) -> None:
    boxes = mail.opened.mailboxes()
    assert [b.name for b in boxes] == ["INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"]
    assert [b.special_use for b in boxes] == [
        None,
        SpecialUse.DRAFTS,
        SpecialUse.SENT,
        SpecialUse.JUNK,
        SpecialUse.TRASH,
        SpecialUse.ARCHIVE,
    ]
    assert all(b.subscribed for b in boxes)
    assert mail.opened.mailbox("inBOX") == boxes[0]
    assert len({b.uidvalidity for b in boxes}) == 6


async def test_append_and_read_back(mail: Mail) -> None:
    uid = await mail.append(b"hello", flags=int(Flag.FLAGGED), keywords=("Work",), received=1234)
    [presence] = mail.opened.presences(1, N("1:*".replace("*", "9")))
    assert (presence.uid, presence.size, presence.received) == (uid, 5, 1234)
    assert mail.opened.keyword_names(presence.flags) == ["Work"]
    assert mail.opened.body(presence) == b"hello"
    assert mail.opened.body_part(presence, 1, 3) == b"ell"
    assert b"".join(mail.opened.body_chunks(presence)) == b"hello"
    box = mail.opened.by_number(1)
    assert box is not None
    assert (box.messages, box.unseen, box.size, box.uidnext) == (1, 1, 5, 2)
    assert mail.opened.usage().size == 5


async def test_large_bodies_have_files_of_their_own(mail: Mail) -> None:
    body = bytes(range(256)) * 8192
    await mail.append(body)
    [presence] = mail.opened.presences(1, N("1"))
    assert b"".join(mail.opened.body_chunks(presence)) == body
    assert mail.opened.body_part(presence, 300_000, 256) == body[300_000:300_256]
    assert mail.store.place(presence.blob).segment == 0


async def test_arrays_follow_every_change(mail: Mail) -> None:
    opened = mail.opened
    await mail.fill(3)
    state = opened.select(1)
    assert list(state.uids) == [1, 2, 3]
    await mail.append(flags=int(Flag.SEEN))
    assert (list(state.uids), list(state.flags)) == ([1, 2, 3, 4], [0, 0, 0, 1])
    made = await opened.set_flags(1, N("2:3"), FlagMode.ADD, int(Flag.DELETED))
    assert list(state.flags) == [0, 8, 8, 1]
    assert list(state.modseqs)[1:3] == [made.modseq] * 2
    held = state.uids
    gone = await opened.expunge(1)
    assert gone.uids == N("2:3")
    assert (list(held), list(state.uids), state.generation) == ([1, 2, 3, 4], [1, 4], 1)
    await opened.copy(1, N("1,4"), 1)
    assert (list(state.uids), list(state.flags)) == ([1, 4, 5, 6], [0, 1, 0, 1])
    state.release()


async def test_answers_come_after_the_picture_has_moved_on(mail: Mail) -> None:
    """In the same wake-up: whoever hears that it is done sees it done."""
    seen: list[int] = []

    def done(result: object) -> None:
        assert isinstance(result, Appended)
        box = mail.opened.by_number(1)
        seen.append(box.messages if box else -1)

    bodies = [staged(mail.store, b"x") for _ in range(20)]
    finished = asyncio.Event()
    mail.opened.watch(lambda: finished.set() if mail.opened.usage().messages == 20 else None)
    for body in bodies:
        mail.store.append_soon(Append(mail.account, body), done)
    await finished.wait()
    await asyncio.sleep(0)
    assert len(seen) == 20
    assert all(count >= n for n, count in enumerate(seen, 1))


async def test_watchers_are_woken_and_can_leave(mail: Mail) -> None:
    calls: list[str] = []
    leave = mail.opened.watch(lambda: calls.append("a"))
    mail.opened.watch(lambda: calls.append("b"))
    await mail.append()
    leave()
    leave()
    await mail.append()
    assert calls == ["a", "b", "b"]


async def test_two_sessions_share_one_account(store: Store, mail: Mail) -> None:
    other = await store.open_account(mail.account)
    assert other is mail.opened
    assert other.select(1) is mail.opened.select(1)
    other.release()


async def test_changes_from_memory_and_from_the_log_are_the_same(store: Store, mail: Mail) -> None:
    opened = mail.opened
    start = opened.modseq
    await mail.fill(3)
    await opened.set_flags(1, N("1,3"), FlagMode.ADD, int(Flag.SEEN))
    await opened.move(1, N("2"), 5)
    await opened.create_mailbox("a/b")
    remembered = [(c.kind, c.verb, c.mailbox, str(c.uids)) for c in opened.changes(start)]
    assert remembered == [
        (Kind.MESSAGE, Verb.CREATED, 1, "1"),
        (Kind.MESSAGE, Verb.CREATED, 1, "2"),
        (Kind.MESSAGE, Verb.CREATED, 1, "3"),
        (Kind.MESSAGE, Verb.CHANGED, 1, "1,3"),
        (Kind.MESSAGE, Verb.CREATED, 5, "1"),
        (Kind.MESSAGE, Verb.DESTROYED, 1, "2"),
        (Kind.MAILBOX, Verb.CREATED, 7, ""),
        (Kind.MAILBOX, Verb.CREATED, 8, ""),
    ]
    opened.reload()
    logged = [(c.kind, c.verb, c.mailbox, str(c.uids)) for c in opened.changes(start)]
    assert logged == [(Kind.MESSAGE, Verb.CREATED, 1, "1:3"), *remembered[3:]]
    assert [str(c.uids) for c in opened.changes(start, 5)] == ["1"]
    assert opened.changes(opened.modseq) == []


async def test_unchanged_since(mail: Mail) -> None:
    await mail.fill(3)
    before = mail.opened.modseq
    await mail.opened.set_flags(1, N("2"), FlagMode.ADD, int(Flag.SEEN))
    made = await mail.opened.set_flags(1, N("1:3"), FlagMode.ADD, int(Flag.FLAGGED), (), before)
    assert (made.changed, made.conflicts) == (N("1,3"), N("2"))


async def test_renaming_takes_along_what_is_below(mail: Mail) -> None:
    opened = mail.opened
    top = await opened.create_mailbox("top/one/two")
    number = opened.mailbox("top")
    assert number is not None
    await opened.rename_mailbox(number.number, "new/place")
    assert opened.mailbox("new/place/one/two") == opened.by_number(top.number)
    assert opened.mailbox("top") is None
    assert opened.mailbox("new") is not None


async def test_renaming_the_inbox_moves_its_messages(mail: Mail) -> None:
    await mail.fill(3)
    below = await mail.opened.create_mailbox("INBOX/below")
    made = await mail.opened.rename_mailbox(1, "old mail")
    assert made.messages == 3
    inbox = mail.opened.mailbox("INBOX")
    assert inbox is not None
    assert (inbox.messages, inbox.uidnext) == (0, 4)
    assert mail.opened.mailbox("INBOX/below") == below


async def test_a_name_made_again_is_seen_to_be_new(mail: Mail) -> None:
    first = await mail.opened.create_mailbox("work")
    await mail.append(mailbox=first.number)
    await mail.opened.delete_mailbox(first.number)
    second = await mail.opened.create_mailbox("work")
    assert second.number > first.number
    assert second.uidvalidity > first.uidvalidity
    assert (second.messages, second.uidnext) == (0, 1)
    assert mail.opened.usage().messages == 0


async def test_deleting_leaves_what_is_below(mail: Mail) -> None:
    await mail.opened.create_mailbox("a/b")
    upper = mail.opened.mailbox("a")
    assert upper is not None
    state = mail.opened.select(upper.number)
    await mail.append(mailbox=upper.number)
    await mail.opened.delete_mailbox(upper.number)
    assert mail.opened.mailbox("a") is None
    assert mail.opened.mailbox("a/b") is not None
    assert len(state) == 0
    with pytest.raises(RookeryError, match="no such mailbox"):
        mail.opened.select(upper.number)


async def test_names_may_be_subscribed_without_existing(mail: Mail) -> None:
    await mail.opened.set_subscribed("nowhere", True)
    await mail.opened.set_subscribed("Trash", False)
    assert "nowhere" in mail.opened.subscriptions()
    trash = mail.opened.mailbox("Trash")
    assert trash is not None
    assert not trash.subscribed
    made = await mail.opened.create_mailbox("nowhere")
    assert made.subscribed


async def test_keywords_are_taken_back_when_nobody_carries_them(mail: Mail) -> None:
    await mail.fill(1)
    for n in range(57):
        await mail.opened.set_flags(1, N("1"), FlagMode.ADD, 0, (f"word{n}",))
    with pytest.raises(RookeryError) as caught:
        await mail.opened.set_flags(1, N("1"), FlagMode.ADD, 0, ("onemore",))
    assert caught.value.cause is Cause.TOO_MANY
    await mail.opened.set_flags(1, N("1"), FlagMode.REMOVE, 0, ("WORD3",))
    await mail.opened.set_flags(1, N("1"), FlagMode.ADD, 0, ("onemore",))
    [presence] = mail.opened.presences(1, N("1"))
    names = mail.opened.keyword_names(presence.flags)
    assert "onemore" in names
    assert "word3" not in names
    assert len(names) == 57


async def test_an_account_that_is_removed_is_gone_at_once(store: Store, mail: Mail) -> None:
    woken: list[bool] = []
    mail.opened.watch(lambda: woken.append(mail.opened.removed))
    await store.remove_account(mail.account)
    assert woken == [True]
    with pytest.raises(RookeryError):
        await mail.append()
    with pytest.raises(RookeryError):
        await store.open_account(mail.account)
    await store.remove_account(mail.account)


async def test_loading_a_large_mailbox_while_it_changes(mail: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rookery.storage.picture.ROWS_PER_READ", 3)
    await mail.fill(10)
    mail.opened.reload()
    loading = asyncio.ensure_future(mail.opened.load(1))
    await asyncio.sleep(0)
    await mail.opened.set_flags(1, N("1,9"), FlagMode.ADD, int(Flag.DELETED))
    await mail.opened.expunge(1, N("1"))
    await mail.append()
    await loading
    state = mail.opened.select(1)
    assert list(state.uids) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert list(state.flags) == [0, 0, 0, 0, 0, 0, 0, 8, 0, 0]


async def test_slices_add_up(mail: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    await mail.fill(10)
    for module in ("flags", "expunge", "copy"):
        monkeypatch.setattr(f"rookery.storage.{module}.MESSAGES_PER_SLICE", 3)
    every = N("1:10")
    flagged = await mail.opened.set_flags(1, every, FlagMode.ADD, int(Flag.DELETED))
    assert flagged.changed == every
    copied = await mail.opened.copy(1, every, 2)
    assert (copied.source, copied.target) == (every, every)
    moved = await mail.opened.move(2, every, 3)
    assert (moved.source, moved.target) == (every, every)
    gone = await mail.opened.expunge(1)
    assert gone.uids == every
    assert [b.messages for b in mail.opened.mailboxes()[:3]] == [0, 0, 10]


async def test_accounts_nobody_uses_leave_memory(store: Store, mail: Mail, clock) -> None:  # type: ignore[no-untyped-def]
    mail.opened.release()
    assert store.close_idle_accounts() == 1
    clock.advance(301)
    assert store.close_idle_accounts() == 0
    again = await store.open_account(mail.account)
    assert again is not mail.opened


async def test_delivery_does_not_load_an_account(store: Store, mail: Mail) -> None:
    other = account_id(2)
    await store.create_account(other)
    body = staged(store, b"x")
    await store.append(Append(other, body, delivery_id="m/x"))
    assert store.close_idle_accounts() == 1  # only the fixture's
    opened = await store.open_account(other)
    assert opened.usage().messages == 1


async def test_one_body_for_many_recipients_is_stored_once(store: Store, mail: Mail) -> None:
    accounts = [account_id(n) for n in range(10, 20)]
    for n, account in enumerate(accounts):
        await store.create_account(account, limits=(1, 0) if n == 0 else (0, 0))
    body = staged(store, b"to you all")
    results = await asyncio.gather(
        *(store.append(Append(account, body)) for account in accounts), return_exceptions=True
    )
    body.release()
    assert isinstance(results[0], RookeryError)
    assert all(isinstance(result, Appended) for result in results[1:])
    with store.read() as reader:
        assert reader.rows("SELECT refs FROM blob") == [(9,)]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a//b",
        "/a",
        "a/",
        "a\x00b",
        "a\nb",
        "x" * 1001,
        "/".join("a" * 65),
        "..",
        "a/../b",
        "\ud800",
        "inbox",
        "Sent",
    ],
)
async def test_names_that_cannot_be(mail: Mail, name: str) -> None:
    with pytest.raises(RookeryError) as caught:
        await mail.opened.create_mailbox(name)
    assert caught.value.cause in (Cause.INVALID, Cause.EXISTS)


async def test_names_are_compared_in_one_normal_form(mail: Mail) -> None:
    made = await mail.opened.create_mailbox("Cafe\u0301")
    assert made.name == "Caf\u00e9"
    assert mail.opened.mailbox("Cafe\u0301") == made
    with pytest.raises(RookeryError):
        await mail.opened.create_mailbox("Caf\u00e9")
