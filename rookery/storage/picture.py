"""One account in memory: its mailboxes, counters, keywords, newest changes and selected mailboxes.

It changes only by the progress of committed batches, in the same wake-up that resolves their callers, and is always a
whole picture of some moment of the database: nothing in it runs ahead of what is durable. What cannot be followed is
read again. Questions are answered from memory, or by one short read transaction.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.storage.batch import MOVING, NO_ACCOUNT, Progress, Source
from rookery.storage.changes import Tail, read_changes
from rookery.storage.counters import WHOLE, Counter
from rookery.storage.engine import Row
from rookery.storage.home import Home
from rookery.storage.mailbox_state import MailboxState, read_all, read_next, read_range
from rookery.storage.names import canonical
from rookery.storage.outline import Outline, read_outline
from rookery.storage.schema import ACTIVE, REMOVED
from rookery.storage.values import FIRST_KEYWORD_BIT, KEYWORD_LIMIT, Change, Kind, Mailbox, SpecialUse, Usage, Verb

T = TypeVar("T")

ROWS_PER_READ = 10_000  # of one short read while a mailbox is loaded piece by piece
STATES_KEPT = 8  # mailboxes whose arrays stay in memory although no session has them selected


class Picture:
    """The reading half of an OpenAccount."""

    __slots__ = (
        "_by_name",
        "_home",
        "_keywords",
        "_loading",
        "_mailboxes",
        "_number",
        "_states",
        "_subscriptions",
        "_tail",
        "_usage",
        "_watched",
        "_watchers",
        "account",
        "modseq",
        "state",
    )

    def __init__(self, home: Home, account: AccountId) -> None:
        """Reads the account, on any thread. Raises NOT_FOUND when the store has none of that id."""
        self._home = home
        self.account = account
        self.modseq = 0
        self._states: dict[int, MailboxState] = {}
        self._loading: dict[int, list[Change]] = {}
        self._watchers: dict[int, Callable[[], None]] = {}
        self._watched = 0
        self._mailboxes: dict[int, Mailbox] = {}
        self._by_name: dict[str, int] = {}
        with home.read() as reader:
            outline = read_outline(reader, account)
        self.modseq = self._take(outline)
        self.need_active()
        self._tail = Tail(self.modseq)

    @property
    def removed(self) -> bool:
        return self.state == REMOVED

    def need_active(self) -> None:
        """Raises NOT_FOUND, MOVED."""
        if self.state != ACTIVE:
            refusal = NO_ACCOUNT if self.state == REMOVED else MOVING
            raise RookeryError(refusal.cause, refusal.what)

    async def away(self, work: Callable[[], T]) -> T:
        """Anything of this account that reads, without keeping the event loop from others while a server answers."""
        return await self._home.away(work)

    def reload(self) -> None:
        """Read everything again: what a batch did to the account is not known."""
        with self._home.read() as reader:
            outline = read_outline(reader, self.account)
            rows = {} if outline is None else {n: read_all(reader, outline.number, n) for n in self._states}
        self.modseq = self._take(outline)
        for number, state in self._states.items():
            state.replace(rows.get(number, ()))
        self._tail = Tail(self.modseq)
        self._wake()

    # --- taking over what is committed ---------------------------------------------------------------------------

    def _take(self, outline: Outline | None) -> int:
        """Returns the change number. None, or one without counters: the account was removed, its rows are purged."""
        self._mailboxes, self._by_name = {}, {}
        self.state = REMOVED if outline is None else outline.state
        if outline is None or WHOLE not in outline.counters:
            return self.modseq
        self._number = outline.number
        self._subscriptions = dict.fromkeys(outline.subscriptions)
        self._keywords = outline.keywords
        whole = outline.counters[WHOLE]
        self._usage = Usage(whole.size, whole.messages, outline.size_limit, outline.message_limit)
        for number, name, use in outline.mailboxes:
            special = SpecialUse(use) if use else None
            self._mailboxes[number] = _mailbox(outline.counters[number], name, special, name in self._subscriptions)
        self._by_name = {mailbox.name: mailbox.number for mailbox in self._mailboxes.values()}
        return whole.modseq

    def advance(self, progress: Progress) -> bool:
        """Take over what a committed batch did. Called by the store, once for each batch, in order. False: it does not
        follow on what is here; the account is to be read again.
        """
        if progress.modseq > self.modseq or progress.renamed:
            if progress.before > self.modseq or not progress.detailed:
                return False
            self._apply(progress)
            self._wake()
        return True

    def _apply(self, progress: Progress) -> None:
        if progress.renamed:
            self._take(progress.outline)
        if progress.modseq >= self.modseq:
            for counter in progress.counters:
                self._count(counter)
        changes = [change for change in progress.changes if change.modseq > self.modseq]
        for change in changes:
            if change.verb is Verb.CREATED and change.mailbox in self._states and change.kind is Kind.MESSAGE:
                rows = self._born(change, progress.sources.get(change.modseq))
                self._states[change.mailbox].add_rows(rows)
            self._apply_change(change)
        self._tail.add(changes)
        self.modseq = max(self.modseq, progress.modseq)

    def _born(self, change: Change, source: Source | None) -> list[Row]:
        """What is new in a selected mailbox. Copies have the flags that their originals had then; those of a mailbox
        that is not in memory are read.
        """
        if source is None:
            return [(uid, change.added, change.modseq) for uid in change.uids]
        state = self._states.get(source.mailbox)
        flags = state.flags_of(source.uids) if state is not None else []
        if len(flags) == len(change.uids):
            return [(uid, one, change.modseq) for uid, one in zip(change.uids, flags, strict=True)]
        with self._home.read() as reader:
            return read_range(reader, self._number, change.mailbox, change.uids)

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

    # --- selected mailboxes and changes --------------------------------------------------------------------------

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

    def latest(self, since: int, mailbox: int) -> list[Change] | None:
        """As `changes`, of what is in memory; None when that does not reach back so far."""
        return self._tail.since(since, mailbox) if since < self.modseq else []

    def changes(self, since: int, mailbox: int | None = None) -> list[Change]:
        """Everything with a greater change number, in order. Raises NOT_FOUND if some were trimmed away."""
        if since >= self.modseq:
            return []
        found = self._tail.since(since, mailbox)
        if found is None:
            with self._home.read() as reader:
                found = read_changes(reader, self._number, since, mailbox)
        return found


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
