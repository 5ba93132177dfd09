"""A view against a model: whoever replays what it tells has the true mailbox, whatever happens in between."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from rookery.access.imap.targets import OutOfRange, Rows, find
from rookery.access.imap.view import Updates, View
from rookery.base.numberset import NumberSet
from rookery.storage.mailbox_state import MailboxState
from rookery.storage.values import Change, Kind, Verb
from rookery.wire.imap.sequence import SequenceSet, parse_sequence

MAILBOX = 1


class Box:
    """A mailbox, its change log, and nothing else."""

    def __init__(self) -> None:
        self.state = MailboxState(MAILBOX)
        self.log: list[Change] = []
        self.modseq = 0
        self.next_uid = 1

    def append(self, count: int) -> None:
        self.modseq += 1
        uids = NumberSet([(self.next_uid, self.next_uid + count - 1)])
        self.next_uid += count
        self.state.add_rows((uid, 0, self.modseq) for uid in uids)
        self.log.append(Change(self.modseq, Kind.MESSAGE, Verb.CREATED, MAILBOX, uids))

    def expunge(self, uids: NumberSet) -> None:
        self.modseq += 1
        self.state.remove(uids)
        self.log.append(Change(self.modseq, Kind.MESSAGE, Verb.DESTROYED, MAILBOX, uids))

    def flag(self, uids: NumberSet, added: int) -> None:
        self.modseq += 1
        self.state.assign(uids, added, 0, self.modseq)
        self.log.append(Change(self.modseq, Kind.MESSAGE, Verb.CHANGED, MAILBOX, uids, added, 0))

    def some(self, chooser: random.Random) -> NumberSet:
        uids = list(self.state.uids)
        return NumberSet.of(chooser.sample(uids, chooser.randint(1, len(uids)))) if uids else NumberSet()


class Replay:
    """A client that believes what it is told: flags by position, UIDs of new messages when it asks."""

    def __init__(self, box: Box) -> None:
        self.view = View(box.state, box.modseq)
        self.messages = [[uid, flags] for uid, flags in zip(box.state.uids, box.state.flags, strict=True)]

    def sync(self, box: Box, *, expunge: bool, trimmed: bool = False) -> Updates:
        if trimmed:
            updates = self.view.compare(box.modseq, expunge=expunge)
        else:
            changes = [change for change in box.log if change.modseq > self.view.modseq]
            updates = self.view.advance(changes, box.modseq, expunge=expunge)
        assert expunge or not updates.expunged
        for number in updates.expunged:
            del self.messages[number - 1]
        if updates.exists is not None:
            assert updates.exists > len(self.messages)
            for place in range(len(self.messages), updates.exists):
                uid = self.view.uids[place]
                position = box.state.position(uid)
                self.messages.append([uid, 0 if position is None else box.state.flags[position]])
        for start, stop in updates.flagged:
            rows = Rows(self.view, box.state, start, stop)
            for number, flags in zip(rows.numbers, rows.flags, strict=True):
                self.messages[number - 1][1] = flags
        return updates

    def check(self, box: Box, *, complete: bool) -> None:
        assert [uid for uid, _ in self.messages] == list(self.view.uids[: self.view.count])
        if complete:
            assert self.messages == [list(pair) for pair in zip(box.state.uids, box.state.flags, strict=True)]
            assert self.view.uids is box.state.uids, "an up-to-date view shares the mailbox's array"


OPERATIONS = st.lists(
    st.sampled_from(["append", "append", "flag", "expunge", "sync", "hold", "trimmed", "trimmed-hold"]), max_size=40
)


@settings(max_examples=300, deadline=None)
@given(OPERATIONS, OPERATIONS, st.randoms(use_true_random=False))
def test_replayed_updates_give_the_true_mailbox(before: list[str], after: list[str], chooser: random.Random) -> None:
    box = Box()
    replay: Replay | None = None
    for operation in [*before, "select", *after, "sync"]:
        if operation == "append":
            box.append(chooser.randint(1, 3))
        elif operation == "flag":
            box.flag(box.some(chooser), chooser.choice([1, 2, 4]))
        elif operation == "expunge":
            box.expunge(box.some(chooser))
        elif operation == "select":
            replay = Replay(box)
            replay.check(box, complete=True)
        elif replay is not None:
            expunge = "hold" not in operation
            replay.sync(box, expunge=expunge, trimmed="trimmed" in operation)
            replay.check(box, complete=expunge)


def test_own_changes_are_not_told() -> None:
    box = Box()
    box.append(3)
    replay = Replay(box)
    box.flag(NumberSet([(1, 2)]), 1)
    replay.view.own = {box.modseq}
    box.flag(NumberSet([(2, 3)]), 2)
    assert replay.sync(box, expunge=True).flagged == [(1, 3)]
    assert not replay.sync(box, expunge=True)


def test_a_message_that_came_and_went_is_never_told() -> None:
    box = Box()
    box.append(2)
    replay = Replay(box)
    box.append(1)
    box.expunge(NumberSet([(3, 3)]))
    assert not replay.sync(box, expunge=False)
    assert not replay.sync(box, expunge=True)
    replay.check(box, complete=True)


def test_expunges_are_told_from_the_end() -> None:
    box = Box()
    box.append(5)
    replay = Replay(box)
    box.expunge(NumberSet.of([2, 3, 5]))
    box.append(1)
    assert not replay.sync(box, expunge=False).expunged
    assert list(replay.view.uids[: replay.view.count]) == [1, 2, 3, 4, 5, 6]
    updates = replay.sync(box, expunge=True)
    assert list(updates.expunged) == [5, 3, 2]
    assert updates.exists is None, "message 6 was told of before"


def test_a_vanished_mailbox_is_empty() -> None:
    box = Box()
    box.append(3)
    view = View(box.state, box.modseq)
    assert list(view.vanish().expunged) == [3, 2, 1]
    assert view.count == 0


def _found(view: View, text: str, *, uid: bool = False) -> list[tuple[int, int]]:
    return find(view, parse_sequence(text.encode()), NumberSet(), uid=uid)


def test_sequence_sets_as_positions() -> None:
    box = Box()
    box.append(5)
    box.expunge(NumberSet.of([2]))
    view = View(box.state, box.modseq)  # UIDs 1 3 4 5
    assert _found(view, "1:*") == [(0, 4)]
    assert _found(view, "*") == [(3, 4)]
    assert _found(view, "3,1") == [(0, 1), (2, 3)]
    assert _found(view, "9:*") == [(3, 4)], "n:* is never empty"
    assert _found(view, "2:3", uid=True) == [(1, 2)]
    assert _found(view, "9:*", uid=True) == [(3, 4)]
    assert _found(view, "9:12", uid=True) == []
    for text in ("5", "3:5", "*,7"):
        try:
            _found(view, text)
        except OutOfRange:
            continue
        raise AssertionError(text)


def test_sequence_sets_in_an_empty_mailbox() -> None:
    view = View(Box().state, 0)
    assert _found(view, "1:*") == []
    assert _found(view, "*", uid=True) == []
    assert find(view, SequenceSet((), True), NumberSet(), uid=False) == []
