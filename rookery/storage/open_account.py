"""One account as the event loop knows it: its mailboxes, counters, keywords, newest changes and selected mailboxes, in
memory and shared by all its sessions.

It changes only by the progress of committed batches, in the same wake-up that resolves their callers, and is always a
whole picture of some moment of the database: nothing in it runs ahead of what is durable. Reads are from memory or one
short read transaction; writes go to the store's writer.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId, BlobId
from rookery.base.numberset import NumberSet
from rookery.storage.append import Append
from rookery.storage.batch import Progress
from rookery.storage.changes import Tail, read_changes
from rookery.storage.copy import Copy
from rookery.storage.counters import WHOLE, Counter, read_counters
from rookery.storage.engine import Reader, Row
from rookery.storage.expunge import Expunge
from rookery.storage.flags import SetFlags
from rookery.storage.home import Home
from rookery.storage.mailbox_state import MailboxState, read_all, read_next, read_range
from rookery.storage.mailboxes import CreateMailbox, DeleteMailbox, RenameMailbox, SetSubscribed
from rookery.storage.names import canonical
from rookery.storage.operations import (
    COPY,
    CREATE_MAILBOX,
    DELETE_MAILBOX,
    EXPUNGE,
    RENAME_MAILBOX,
    SET_FLAGS,
    SET_SUBSCRIBED,
    Operation,
)
from rookery.storage.schema import ACTIVE
from rookery.storage.staging import Staged
from rookery.storage.values import (
    FIRST_KEYWORD_BIT,
    INBOX,
    KEYWORD_LIMIT,
    Appended,
    Change,
    Copied,
    Expunged,
    Flag,
    Flagged,
    FlagMode,
    Kind,
    Mailbox,
    Presence,
    SpecialUse,
    Usage,
    Verb,
)

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

ROWS_PER_READ = 10_000  # of one short read while a mailbox is loaded piece by piece
STATES_KEPT = 8  # mailboxes whose arrays stay in memory although no session has them selected

_ACCOUNT = "SELECT account, state, size_limit, message_limit FROM account WHERE id = ?"
_NAMES = "SELECT mailbox, name, special_use FROM mailbox WHERE account = ?"
_PRESENCES = (
    "SELECT p.uid, p.email, p.flags, p.changed, p.saved, e.received, e.size, e.blob, e.thread"
    " FROM presence p JOIN email e ON e.account = p.account AND e.email = p.email"
    " WHERE p.account = ? AND p.mailbox = ? AND p.uid BETWEEN ? AND ? ORDER BY p.uid"
)
_DELETED_SIZE = (
    "SELECT COUNT(*), MAX(p.uid), SUM(CASE WHEN p.flags & ? = 0 THEN 0 ELSE"
    " (SELECT e.size FROM email e WHERE e.account = p.account AND e.email = p.email) END)"
    " FROM (SELECT account, uid, email, flags FROM presence WHERE account = ? AND mailbox = ? AND uid > ?"
    " ORDER BY uid LIMIT ?) p"
)


class OpenAccount:
    """Get one from `Store.open_account`; `release` it when the session ends."""

    __slots__ = (
        "_by_name",
        "_home",
        "_keywords",
        "_loading",
        "_losers",
        "_mailboxes",
        "_number",
        "_states",
        "_subscriptions",
        "_tail",
        "_usage",
        "_watched",
        "_watchers",
        "account",
        "epoch",
        "holders",
        "idle_since",
        "lost",
        "modseq",
        "removed",
    )

    def __init__(self, home: Home, account: AccountId, epoch: int | None = None) -> None:
        """Reads the account, on any thread. Raises NOT_FOUND when the store has none of that id.

        `epoch`: under which it is hosted here; None: nobody else can have it.
        """
        self._home = home
        self.account = account
        self.epoch = epoch
        self.lost = False  # this process hosts it no longer: sessions end, and nothing more is said of it
        self._losers: dict[Callable[[], None], None] = {}
        self.holders = 0
        self.idle_since = 0.0
        self.removed = False
        self.modseq = 0
        self._states: dict[int, MailboxState] = {}
        self._loading: dict[int, list[Change]] = {}
        self._watchers: dict[int, Callable[[], None]] = {}
        self._watched = 0
        self._mailboxes: dict[int, Mailbox] = {}
        self._by_name: dict[str, int] = {}
        with home.read() as reader:
            self._read_names(reader)
            self.modseq = self._read_counters(reader)
        self._tail = Tail(self.modseq)
        if self.removed:
            raise RookeryError(Cause.NOT_FOUND, "no such account in this store")

    def release(self) -> None:
        """The caller's session is over."""
        self._home.release_account(self)

    def when_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on the loop once the account is hosted here no longer. Returns how to stop."""
        self._losers[callback] = None
        return lambda: self._losers.pop(callback, None)

    def lose(self) -> None:
        """For the store: whoever has it open is told."""
        self.lost = True
        for callback in list(self._losers):
            callback()

    async def away(self, work: Callable[[], T]) -> T:
        """Anything of this account that reads, without keeping the event loop from others while a server answers."""
        return await self._home.away(work)

    # --- reading from the database -------------------------------------------------------------------------------

    def _read_names(self, reader: Reader) -> None:
        row = reader.row(_ACCOUNT, self.account)
        if row is None:
            raise RookeryError(Cause.NOT_FOUND, "no such account in this store")
        self._number: int = row[0]
        self.removed = row[1] != ACTIVE
        names = reader.rows("SELECT name FROM subscription WHERE account = ? ORDER BY name", self._number)
        self._subscriptions = {name: None for (name,) in names}
        bits = reader.rows("SELECT bit, name FROM keyword WHERE account = ? ORDER BY bit", self._number)
        self._keywords: dict[int, str] = dict(bits)
        self._usage = Usage(0, 0, row[2], row[3])

    def _read_counters(self, reader: Reader) -> int:
        """Fills mailboxes and usage; returns the change number."""
        counters = read_counters(reader, self._number)
        whole = counters.get(WHOLE)
        if whole is None:  # the account was removed, and its rows are purged
            self._mailboxes, self._by_name = {}, {}
            return self.modseq
        self._usage = Usage(whole.size, whole.messages, self._usage.size_limit, self._usage.message_limit)
        self._mailboxes = {}
        for number, name, use in reader.rows(f"{_NAMES} ORDER BY mailbox", self._number):
            special = SpecialUse(use) if use else None
            self._mailboxes[number] = _mailbox(counters[number], name, special, name in self._subscriptions)
        self._by_name = {mailbox.name: mailbox.number for mailbox in self._mailboxes.values()}
        return whole.modseq

    def reload(self) -> None:
        """Read everything again: what a batch did to the account is not known."""
        with self._home.read() as reader:
            self._read_names(reader)
            modseq = self._read_counters(reader)
            for number, state in self._states.items():
                state.replace(read_all(reader, self._number, number))
        self._tail = Tail(modseq)
        self.modseq = modseq
        self._wake()

    def advance(self, progress: Progress) -> None:
        """Take over what a committed batch did. Called by the store, once for each batch, in order."""
        if progress.modseq > self.modseq or progress.renamed:
            if progress.before > self.modseq or (progress.modseq > self.modseq and not progress.detailed):
                self.reload()
                return
            self._apply(progress)
            self._wake()

    def _apply(self, progress: Progress) -> None:
        if progress.renamed:
            with self._home.read() as reader:
                self._read_names(reader)
                self._read_counters(reader)
        if progress.modseq >= self.modseq:
            for counter in progress.counters:
                self._count(counter)
        changes = [change for change in progress.changes if change.modseq > self.modseq]
        self._apply_births(changes, copied=progress.copied)
        for change in changes:
            self._apply_change(change)
        self._tail.add(changes)
        self.modseq = max(self.modseq, progress.modseq)

    def _apply_births(self, changes: list[Change], *, copied: bool) -> None:
        """What is new in the selected mailboxes: of appended messages the changes say it all, copies are read, each
        mailbox in one go.
        """
        born: dict[int, NumberSet] = {}
        for change in changes:
            if change.verb is Verb.CREATED and change.mailbox in self._states and change.kind is Kind.MESSAGE:
                if copied:
                    born[change.mailbox] = born.get(change.mailbox, NumberSet()) | change.uids
                else:
                    rows = [(uid, change.added, change.modseq) for uid in change.uids]
                    self._states[change.mailbox].add_rows(rows)
        if born:
            with self._home.read() as reader:
                for number, uids in born.items():
                    self._states[number].add_rows(read_range(reader, self._number, number, uids))

    def _apply_change(self, change: Change) -> None:
        if change.mailbox in self._loading:
            self._loading[change.mailbox].append(change)
        state = self._states.get(change.mailbox)
        if state is None:
            return
        if change.kind is Kind.MESSAGE:
            state.apply(change)
        elif change.verb is Verb.DESTROYED:
            state.replace(())
            del self._states[change.mailbox]

    def _count(self, counter: Counter) -> None:
        if counter.mailbox == WHOLE:
            usage = self._usage
            self._usage = Usage(counter.size, counter.messages, usage.size_limit, usage.message_limit)
            return
        old = self._mailboxes.get(counter.mailbox)
        if old is not None:
            self._mailboxes[counter.mailbox] = _mailbox(counter, old.name, old.special_use, old.subscribed)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on the loop after every committed change; it carries no data. Returns how to stop."""
        self._watched += 1
        key = self._watched
        self._watchers[key] = callback
        return lambda: self._forget_watcher(key)

    def _forget_watcher(self, key: int) -> None:
        self._watchers.pop(key, None)

    def _wake(self) -> None:
        for callback in list(self._watchers.values()):
            callback()

    # --- what is in memory ---------------------------------------------------------------------------------------

    def mailboxes(self) -> list[Mailbox]:
        """In order of their making."""
        return list(self._mailboxes.values())

    def mailbox(self, name: str) -> Mailbox | None:
        """By name; INBOX in any case."""
        number = self._by_name.get(name)
        if number is None:
            number = self._by_name.get(canonical(name))
        return None if number is None else self._mailboxes[number]

    def by_number(self, number: int) -> Mailbox | None:
        return self._mailboxes.get(number)

    def usage(self) -> Usage:
        return self._usage

    def subscriptions(self) -> list[str]:
        return list(self._subscriptions)

    def keyword_names(self, flags: int) -> list[str]:
        """Names of the keyword bits in `flags`, in order of their bits."""
        if flags >> FIRST_KEYWORD_BIT == 0:
            return []
        return [name for bit, name in self._keywords.items() if flags >> bit & 1]

    def keyword_bits(self, names: Sequence[str]) -> int:
        """The bits of those names that the account knows; case does not matter."""
        wanted = {name.lower() for name in names}
        return sum(1 << bit for bit, name in self._keywords.items() if name.lower() in wanted)

    def keywords_of(self, mailbox: int) -> tuple[str, ...]:
        """The keywords that messages of this mailbox may carry: all of the account's."""
        return tuple(self._keywords.values()) if mailbox in self._mailboxes else ()

    def keyword_room(self) -> bool:
        """Whether a new keyword would find a bit without taking one back."""
        return len(self._keywords) < KEYWORD_LIMIT

    # --- messages ------------------------------------------------------------------------------------------------

    def select(self, number: int) -> MailboxState:
        """The mailbox's arrays; `release` them. Blocks while reading unless `load` came first. Raises NOT_FOUND."""
        if number not in self._mailboxes:
            raise RookeryError(Cause.NOT_FOUND, "no such mailbox")
        state = self._states.get(number)
        if state is None:
            state = MailboxState(number)
            with self._home.read() as reader:
                state.add_rows(read_all(reader, self._number, number))
            self._keep(state)
        state.holders += 1
        return state

    async def load(self, number: int) -> None:
        """Bring a mailbox into memory without keeping the loop from others; then `select` it."""
        box = self._mailboxes.get(number)
        if box is None or number in self._states or number in self._loading:
            return
        if box.messages <= ROWS_PER_READ and not self._home.remote:
            return
        state = MailboxState(number)
        pending = self._loading[number] = []
        try:
            while True:
                last = state.uids[-1] if state.uids else 0
                seen = len(pending)
                rows = await self.away(partial(self._read_next, number, last))
                state.add_rows(rows)
                born = any(change.verb is Verb.CREATED for change in pending[seen:])  # perhaps after it was read
                if len(rows) < ROWS_PER_READ and not born:
                    break
                await asyncio.sleep(0)
        finally:
            del self._loading[number]
        if number in self._mailboxes and number not in self._states:
            for change in pending:  # made meanwhile; what the rows already show does no harm twice
                state.apply(change)
            self._keep(state)

    def _read_next(self, number: int, last: int) -> list[Row]:
        with self._home.read() as reader:
            return read_next(reader, self._number, number, last, ROWS_PER_READ)

    def _keep(self, state: MailboxState) -> None:
        self._states[state.number] = state
        idle = [number for number, kept in self._states.items() if kept.holders <= 0 and kept is not state]
        for number in idle[: max(0, len(idle) - STATES_KEPT)]:
            del self._states[number]

    def changes(self, since: int, mailbox: int | None = None) -> list[Change]:
        """Everything with a greater change number, in order. Raises NOT_FOUND if some were trimmed away."""
        if since >= self.modseq:
            return []
        found = self._tail.since(since, mailbox)
        if found is None:
            with self._home.read() as reader:
                found = read_changes(reader, self._number, since, mailbox)
        return found

    def presences(self, mailbox: int, uids: NumberSet) -> list[Presence]:
        """Those of the UIDs that exist, in order."""
        with self._home.read() as reader:
            return [
                Presence(uid, email, flags, changed, saved, received, size, blob, thread)
                for low, high in uids.ranges
                for uid, email, flags, changed, saved, received, size, blob, thread in reader.rows(
                    _PRESENCES, self._number, mailbox, low, high
                )
            ]

    async def deleted_size(self, number: int) -> int:
        r"""Octets of the messages with \Deleted, read piece by piece, so that the loop goes on meanwhile."""
        box = self._mailboxes.get(number)
        if box is None or not box.deleted:
            return 0
        total, last = 0, 0
        while True:
            count, highest, size = await self.away(partial(self._deleted_size, number, last))
            if count:
                total, last = total + int(size or 0), highest
            if count < ROWS_PER_READ:
                return total
            await asyncio.sleep(0)

    def _deleted_size(self, number: int, last: int) -> Row:
        with self._home.read() as reader:
            row = reader.row(_DELETED_SIZE, int(Flag.DELETED), self._number, number, last, ROWS_PER_READ)
        assert row is not None
        return row

    def body(self, message: Presence | BlobId) -> bytes:
        """The whole message. Raises CORRUPT or NOT_FOUND, naming the record."""
        return self._home.blob(_blob_of(message), 0, None)

    def bodies(self, messages: Sequence[Presence | BlobId]) -> list[bytes]:
        """Whole messages, in order; much cheaper than one by one. Raises as `body`, for the first that has to."""
        return self._home.blobs_many([_blob_of(message) for message in messages])

    def body_part(self, message: Presence | BlobId, offset: int, length: int) -> bytes:
        return self._home.blob(_blob_of(message), offset, length)

    def body_chunks(self, message: Presence | BlobId, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """[start, stop) piece by piece. Only of whole messages is the checksum looked at; `body_part` does so first."""
        return self._home.blob_chunks(_blob_of(message), start, stop)

    def get_many(self, kind: str, emails: Collection[int]) -> dict[int, bytes]:
        """Derived data of emails by number: what is known; the rest can be made again."""
        return self._home.derived_get(self._number, kind, emails)

    def put_many(self, kind: str, values: Mapping[int, bytes]) -> None:
        """Remember derived data, soon and perhaps."""
        self._home.derived_put(self._number, kind, values)

    # --- writing -------------------------------------------------------------------------------------------------

    async def append(
        self,
        mailbox: int,
        staged: Staged,
        flags: int = 0,
        keywords: Sequence[str] = (),
        received: int = 0,
    ) -> Appended:
        self._check()
        item = Append(self.account, staged, mailbox, flags, tuple(keywords), received, None, self.epoch)
        made = await self._home.append(item)
        self._check()
        return made

    def _check(self) -> None:
        """Before and after: once the account is lost, this process does not say what became of anything."""
        if self.lost:
            raise RookeryError(Cause.UNAVAILABLE, "the account is not at this backend now")

    async def _perform(self, operation: Operation[A, R], item: A, *, messages: int = 0) -> R:
        self._check()
        made = await self._home.perform(operation, item, messages=messages)
        self._check()
        return made

    async def set_flags(
        self,
        mailbox: int,
        uids: NumberSet,
        mode: FlagMode,
        flags: int,
        keywords: Sequence[str] = (),
        unchanged_since: int | None = None,
    ) -> Flagged:
        """Raises NOT_FOUND (mailbox), TOO_MANY (keywords), INVALID (a keyword's name)."""
        changed: list[NumberSet] = []
        conflicts: list[NumberSet] = []
        words = tuple(keywords)
        while True:
            item = SetFlags(self.account, mailbox, uids, mode, flags, words, unchanged_since, self.epoch)
            made = await self._perform(SET_FLAGS, item, messages=self._many(mailbox, uids))
            changed.append(made.flagged.changed)
            conflicts.append(made.flagged.conflicts)
            if not made.rest:
                return Flagged(_union(changed), _union(conflicts), made.flagged.modseq)
            uids = made.rest

    async def expunge(self, mailbox: int, uids: NumberSet | None = None, *, force: bool = False) -> Expunged:
        """Remove what carries Deleted (with `force`: all) among `uids` (None: the whole mailbox)."""
        gone: list[NumberSet] = []
        while True:
            item = Expunge(self.account, mailbox, uids, force, self.epoch)
            made = await self._perform(EXPUNGE, item, messages=self._many(mailbox, uids))
            gone.append(made.expunged.uids)
            if not made.rest:
                return Expunged(_union(gone), made.expunged.modseq)
            uids = made.rest

    async def copy(self, mailbox: int, uids: NumberSet, target: int) -> Copied:
        return await self._copy(mailbox, uids, target, move=False)

    async def move(self, mailbox: int, uids: NumberSet, target: int) -> Copied:
        return await self._copy(mailbox, uids, target, move=True)

    async def _copy(self, mailbox: int, uids: NumberSet, target: int, *, move: bool) -> Copied:
        source: list[NumberSet] = []
        made: list[NumberSet] = []
        while True:
            item = Copy(self.account, mailbox, uids, target, move, self.epoch)
            part = await self._perform(COPY, item, messages=self._many(mailbox, uids))
            source.append(part.copied.source)
            made.append(part.copied.target)
            if not part.rest:
                return Copied(part.copied.uidvalidity, _union(source), _union(made), part.copied.modseq)
            uids = part.rest

    def _many(self, mailbox: int, uids: NumberSet | None) -> int:
        """About how many messages this is: heavy work has a batch to itself."""
        box = self._mailboxes.get(mailbox)
        return 0 if box is None else box.messages if uids is None else min(box.messages, len(uids))

    async def create_mailbox(self, name: str, special_use: SpecialUse | None = None) -> Mailbox:
        """Superior names are made, too. Raises EXISTS, INVALID, TOO_MANY."""
        made = await self._perform(CREATE_MAILBOX, CreateMailbox(self.account, name, special_use, self.epoch))
        return self._mailboxes[made.mailbox]

    async def rename_mailbox(self, number: int, name: str) -> Mailbox:
        """Mailboxes below go along. Renaming INBOX moves its messages to a new mailbox (RFC 9051 6.3.6)."""
        if number != INBOX:
            await self._perform(RENAME_MAILBOX, RenameMailbox(self.account, number, name, self.epoch))
            return self._mailboxes[number]
        made = await self.create_mailbox(name)
        await self.move(INBOX, NumberSet(((1, max(1, self._mailboxes[INBOX].uidnext - 1)),)), made.number)
        return self._mailboxes[made.number]

    async def delete_mailbox(self, number: int) -> None:
        """Mailboxes below stay. Raises NOT_FOUND, DENIED (INBOX)."""
        await self._perform(DELETE_MAILBOX, DeleteMailbox(self.account, number, self.epoch))

    async def set_subscribed(self, name: str, subscribed: bool) -> None:
        """A name may be subscribed without existing. Raises INVALID, TOO_MANY."""
        await self._perform(SET_SUBSCRIBED, SetSubscribed(self.account, name, subscribed, self.epoch))


def _mailbox(counter: Counter, name: str, use: SpecialUse | None, subscribed: bool) -> Mailbox:
    return Mailbox(
        counter.mailbox,
        name,
        counter.uidvalidity,
        counter.uidnext,
        counter.modseq,
        counter.messages,
        counter.unseen,
        counter.deleted,
        counter.size,
        subscribed,
        use,
    )


def _union(parts: list[NumberSet]) -> NumberSet:
    return parts[0] if len(parts) == 1 else NumberSet(r for part in parts for r in part.ranges)


def _blob_of(message: Presence | BlobId) -> BlobId:
    return message.blob if isinstance(message, Presence) else message
