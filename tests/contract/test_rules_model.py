"""Every rule against a plain model of an account: random histories, and after each step the same content, numbers that
add up, and a change log from which the content can be followed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rookery.base.errors import Cause, Refusal
from rookery.base.numberset import NumberSet
from rookery.storage.changes import read_changes
from rookery.storage.copy import Copy
from rookery.storage.engine import Database
from rookery.storage.expunge import Expunge
from rookery.storage.flags import SetFlags
from rookery.storage.mailboxes import CreateMailbox, DeleteMailbox, RenameMailbox
from rookery.storage.operations import (
    APPEND,
    COPY,
    CREATE_MAILBOX,
    DELETE_MAILBOX,
    EXPUNGE,
    RENAME_MAILBOX,
    SET_FLAGS,
)
from rookery.storage.schema import MIGRATIONS, VERSION_1
from rookery.storage.sqlite import SqliteDatabase
from rookery.storage.sweeper import purge_dropped, sweep_emails
from rookery.storage.values import INBOX, FlagMode, Kind, Verb
from tests.storage.tiny import TinyDatabase
from tests.storage.world import World

WORDS = ("$Junk", "work", "later")


@dataclass
class Box:
    name: str
    uidnext: int = 1
    messages: dict[int, tuple[int, frozenset[str]]] = field(default_factory=dict)  # uid: system flags, keywords


flags_of = st.integers(0, 31)
words = st.sets(st.sampled_from(WORDS)).map(frozenset)
uid_sets = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=4).map(NumberSet)
names = st.sampled_from(["a", "a/b", "b", "b/c/d", "inbox/x", "c"])


class Histories(RuleBasedStateMachine):
    make: Callable[[], Database]

    @initialize()
    def begin(self) -> None:
        self.world = World(self.make())
        self.account = self.world.account()
        usual = ("INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive")
        self.boxes = {number: Box(name) for number, name in enumerate(usual, 1)}
        self.followed: dict[int, set[int]] = {}
        self.seen_modseq = 0
        self.validities: set[int] = set()

    def box(self, choice: int) -> int:
        return sorted(self.boxes)[choice % len(self.boxes)]

    @rule(choice=st.integers(0, 9), flags=flags_of, keywords=words)
    def append(self, choice: int, flags: int, keywords: frozenset[str]) -> None:
        number = self.box(choice)
        item = self.world.item(self.account, mailbox=number, flags=flags, keywords=tuple(sorted(keywords)))
        [made] = self.world.append(APPEND, [item])
        box = self.boxes[number]
        assert made.uid == box.uidnext
        box.messages[box.uidnext] = (flags, keywords)
        box.uidnext += 1

    @rule(choice=st.integers(0, 9), uids=uid_sets, mode=st.sampled_from(FlagMode), flags=flags_of, keywords=words)
    def store(self, choice: int, uids: NumberSet, mode: FlagMode, flags: int, keywords: frozenset[str]) -> None:
        number = self.box(choice)
        item = SetFlags(self.account, number, uids, mode, flags, tuple(sorted(keywords)))
        made = self.world.one(SET_FLAGS, item)
        changed = set()
        messages = self.boxes[number].messages
        for uid in uids:
            if uid in messages:
                old = messages[uid]
                if mode is FlagMode.ADD:
                    new = (old[0] | flags, old[1] | keywords)
                elif mode is FlagMode.REMOVE:
                    new = (old[0] & ~flags, old[1] - keywords)
                else:
                    new = (flags, keywords)
                if new != old:
                    changed.add(uid)
                    messages[uid] = new
        assert set(made.flagged.changed) == changed

    @rule(choice=st.integers(0, 9), uids=uid_sets, back=st.integers(0, 5))
    def store_unchanged(self, choice: int, uids: NumberSet, back: int) -> None:
        number = self.box(choice)
        since = self.seen_modseq - back
        query = "SELECT uid, changed, flags FROM presence WHERE mailbox = ?"
        newer = {uid for uid, changed, _ in self.world.rows(query, number) if changed > since and uid in uids}
        item = SetFlags(self.account, number, uids, FlagMode.ADD, 4, (), since)
        made = self.world.one(SET_FLAGS, item)
        assert set(made.flagged.conflicts) == newer
        messages = self.boxes[number].messages
        for uid in uids - made.flagged.conflicts:
            if uid in messages:
                messages[uid] = (messages[uid][0] | 4, messages[uid][1])

    @rule(choice=st.integers(0, 9), uids=st.none() | uid_sets, force=st.booleans())
    def expunge(self, choice: int, uids: NumberSet | None, force: bool) -> None:
        number = self.box(choice)
        made = self.world.one(EXPUNGE, Expunge(self.account, number, uids, force))
        messages = self.boxes[number].messages
        gone = {u for u, (f, _) in messages.items() if (uids is None or u in uids) and (force or f & 8)}
        assert set(made.expunged.uids) == gone
        for uid in gone:
            del messages[uid]

    @rule(source=st.integers(0, 9), goal=st.integers(0, 9), uids=uid_sets, move=st.booleans())
    def copy(self, source: int, goal: int, uids: NumberSet, move: bool) -> None:
        first, second = self.box(source), self.box(goal)
        made = self.world.one(COPY, Copy(self.account, first, uids, second, move))
        here, there = self.boxes[first], self.boxes[second]
        moved = [uid for uid in uids if uid in here.messages]
        assert list(made.copied.source) == moved
        assert list(made.copied.target) == list(range(there.uidnext, there.uidnext + len(moved)))
        for uid in moved:
            there.messages[there.uidnext] = here.messages[uid]
            there.uidnext += 1
            if move:
                del here.messages[uid]

    @rule(name=names)
    def create(self, name: str) -> None:
        name = name.replace("inbox", "INBOX")
        made = self.world.one(CREATE_MAILBOX, CreateMailbox(self.account, name))
        known = {box.name for box in self.boxes.values()}
        if name in known:
            assert made.cause is Cause.EXISTS
            return
        assert made.uidvalidity not in self.validities
        self.refresh_names()
        for above in ("/".join(name.split("/")[: n + 1]) for n in range(name.count("/") + 1)):
            assert above in {box.name for box in self.boxes.values()}

    @rule(choice=st.integers(0, 9), name=names)
    def rename(self, choice: int, name: str) -> None:
        number = self.box(choice)
        old = self.boxes[number].name
        below = {n: box.name for n, box in self.boxes.items() if box.name.startswith(old + "/")}
        made = self.world.one(RENAME_MAILBOX, RenameMailbox(self.account, number, name))
        if isinstance(made, Refusal):
            return
        self.refresh_names()
        new = self.boxes[number].name
        for n, was in below.items():
            assert self.boxes[n].name == new + was[len(old) :]

    @rule(choice=st.integers(0, 9))
    def delete(self, choice: int) -> None:
        number = self.box(choice)
        made = self.world.one(DELETE_MAILBOX, DeleteMailbox(self.account, number))
        if number == INBOX:
            assert made.cause is Cause.DENIED
        else:
            del self.boxes[number]

    def refresh_names(self) -> None:
        for number, name in self.world.rows("SELECT mailbox, name FROM mailbox"):
            self.boxes.setdefault(number, Box(name)).name = name
        found = [row[0] for row in self.world.rows("SELECT name FROM mailbox")]
        assert len(found) == len(set(found))

    @rule(days=st.integers(0, 3))
    def sweep(self, days: int) -> None:
        self.world.now += days * 86_400
        with self.world.database.write() as tx:
            while purge_dropped(tx, self.world.now).more:
                pass
            while sweep_emails(tx, self.world.now - 86_400).more:
                pass

    @invariant()
    def same_content(self) -> None:
        bits = dict(self.world.rows("SELECT bit, name FROM keyword"))
        for number, box in self.boxes.items():
            rows = self.world.rows("SELECT uid, flags FROM presence WHERE mailbox = ? ORDER BY uid", number)
            held = {uid: (flags & 31, frozenset(bits[b] for b in bits if flags >> b & 1)) for uid, flags in rows}
            assert held == box.messages, box.name

    @invariant()
    def numbers_add_up(self) -> None:
        if not self.world.rows("SELECT 1 FROM dropped"):
            self.world.check()
        self.validities |= {row[0] for row in self.world.rows("SELECT uidvalidity FROM counter WHERE mailbox > 0")}

    @invariant()
    def the_log_can_be_followed(self) -> None:
        with self.world.database.read() as reader:
            changes = read_changes(reader, 1, self.seen_modseq)
        for change in changes:
            if change.kind is Kind.MAILBOX:
                if change.verb is Verb.DESTROYED:
                    self.followed.pop(change.mailbox, None)
                continue
            held = self.followed.setdefault(change.mailbox, set())
            if change.verb is Verb.CREATED:
                held |= set(change.uids)
            elif change.verb is Verb.DESTROYED:
                held -= set(change.uids)
        if changes:
            self.seen_modseq = changes[-1].modseq
        held_now = {number: set(box.messages) for number, box in self.boxes.items() if box.messages}
        assert {n: uids for n, uids in self.followed.items() if uids} == held_now


EXAMPLES = {"smallest": 60, "sqlite": 25, "postgres": 5}


@pytest.mark.parametrize("name", ["smallest", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_histories(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    opened: list[Database] = []

    def make() -> Database:
        number = len(opened)
        if name == "smallest":
            opened.append(TinyDatabase(VERSION_1))
        elif name == "sqlite":
            opened.append(SqliteDatabase(tmp_path / f"{number}.db", MIGRATIONS, synchronous="OFF"))
        else:
            from rookery.storage.postgres import PostgresDatabase

            server = request.getfixturevalue("postgres")
            opened.append(PostgresDatabase(server, MIGRATIONS, schema=f"histories{number}"))
        return opened[-1]

    class Machine(Histories):
        def teardown(self) -> None:
            if hasattr(self, "world"):
                self.world.database.close()

    Machine.make = staticmethod(make)
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=EXAMPLES[name], stateful_step_count=30, deadline=None)
    )
