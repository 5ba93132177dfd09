"""A batch's picture of its accounts: loaded set-wise at its beginning (the fence), changed in memory by the rules,
written back set-wise at its end.

Nothing here outlives the transaction: what the event loop knows of an account (open_account.py) advances only by the
`Progress` of a batch that was committed.
"""

from collections.abc import Container, Iterable, Mapping
from typing import Protocol

import msgspec

from rookery.base.errors import Cause, Refusal
from rookery.base.ids import AccountId, BlobId
from rookery.base.numberset import NumberSet
from rookery.storage.blobs import Place
from rookery.storage.counters import COUNTER_COLUMNS, UNCOUNTED_LIMIT, WHOLE, Birth, Counter, read_births
from rookery.storage.engine import Row, Transaction
from rookery.storage.outline import Outline, read_outline
from rookery.storage.schema import ACTIVE, REMOVED
from rookery.storage.values import Change, Kind, Verb

UIDVALIDITY_LIMIT = (1 << 32) - (1 << 20)  # a clock far in the future must not use the 32 bits up
NO_ACCOUNT = Refusal(Cause.NOT_FOUND, "no such account in this store")
MOVING = Refusal(Cause.MOVED, "the account is moving, or has moved, to another pool")
MODSEQ_LIMIT = (1 << 63) - 1

ACCOUNT_COLUMNS = (
    "id",
    "account",
    "epoch",
    "state",
    "size_limit",
    "message_limit",
    "uidvalidity",
    "next_mailbox",
    "floor",
)
_CHANGE_COLUMNS = ("account", "modseq", "kind", "verb", "mailbox", "uids", "added", "removed", "saved")


class Done(msgspec.Struct, frozen=True):
    """The act took place, or had taken place before."""

    modseq: int = 0


class Item(Protocol):
    """What every operation's argument has. `epoch`: the one under which the caller hosts the account; None: any."""

    @property
    def account(self) -> AccountId: ...

    @property
    def epoch(self) -> int | None: ...


class AccountRow:
    """One account inside one batch."""

    __slots__ = (
        "before",
        "births",
        "born",
        "changes",
        "counters",
        "detailed",
        "epoch",
        "floor",
        "id",
        "keywords",
        "message_limit",
        "next_mailbox",
        "number",
        "outline",
        "promised",
        "renamed",
        "row",
        "row_dirty",
        "settle",
        "size_limit",
        "sources",
        "state",
        "uidvalidity",
        "whole",
    )

    def __init__(self, row: Row, whole: Counter, births: list[Birth], *, detailed: bool) -> None:
        """`births` are those that `whole` leaves out."""
        self.renamed = False  # names, subscriptions, keywords, limits or state differ
        self.outline: Outline | None = None  # as it is then, if somebody has the account open
        self.take(row)
        self.births = births  # appended before this batch and not in the stored counters
        self.born: list[Birth] = []  # by this batch
        self.settle = False  # the counters must be stored with this batch
        for birth in births:
            whole.count(birth)
        self.whole = whole
        self.before = whole.modseq
        self.detailed = detailed  # somebody has the account open
        self.counters: dict[int, Counter] = {}
        self.keywords: dict[str, int] | None = None  # bit by folded name, once loaded
        self.promised = 0  # keyword bits that this batch gives to messages
        self.changes: list[Change] = []  # of this batch, in order
        self.row_dirty = False
        self.sources: dict[int, Source] = {}  # of messages that came with their flags, by change number

    def take(self, row: Row) -> None:
        """The account's own row, as it is now."""
        self.row = row
        self.id: AccountId = row[0]
        self.number: int = row[1]
        self.epoch: int = row[2]
        self.state: int = row[3]
        self.size_limit: int = row[4]
        self.message_limit: int = row[5]
        self.uidvalidity: int = row[6]
        self.next_mailbox: int = row[7]
        self.floor: int = row[8]

    def step(self) -> int:
        """The next change number."""
        self.settle = True
        return self.birth()

    def birth(self) -> int:
        """The next change number, for a message that is appended: its row will tell what to count."""
        whole = self.whole
        whole.modseq += 1
        whole.dirty = True
        return whole.modseq

    def again(self) -> "AccountRow | None":
        """The same for the next batch, when this one did no more than append: as it would be read from the database."""
        if self.settle or self.row_dirty or self.renamed or self.keywords is not None:
            return None
        made = AccountRow(self.row, self.whole.copy(), [], detailed=False)
        made.births = self.births + self.born
        made.counters = {number: counter.copy() for number, counter in self.counters.items()}
        return made

    def next_uidvalidity(self, now: int) -> int:
        """Greater than any this account ever gave, so that a name made again is seen to be new (RFC 9051 2.3.1.1)."""
        self.uidvalidity = max(self.uidvalidity + 1, min(now, UIDVALIDITY_LIMIT))
        self.row_dirty = True
        return self.uidvalidity

    def room(self, size: int, messages: int = 1) -> Refusal | None:
        """Whether so much more may be stored; counts what this batch has already added."""
        whole = self.whole
        if self.size_limit and whole.size + size > self.size_limit:
            return Refusal(Cause.OVER_QUOTA, f"the account holds at most {self.size_limit} octets")
        if self.message_limit and whole.messages + messages > self.message_limit:
            return Refusal(Cause.OVER_QUOTA, f"the account holds at most {self.message_limit} messages")
        return None


class Source(msgspec.Struct, frozen=True, gc=False):
    """Where copies were made of: in order of UID, one for each."""

    mailbox: int
    uids: NumberSet


NOWHERE: Mapping[int, Source] = {}


class Progress(msgspec.Struct, frozen=True, gc=False):
    """What one committed batch did to one account.

    before, modseq: the change counter then and now. counters: those that differ, as they are now. detailed: `changes`
    are there (they are kept only for accounts that somebody has open), and `outline` if it is `renamed`. epoch: under
    which the account was hosted. sources: of births that have not the flags in `changes`, by change number.
    """

    before: int
    modseq: int
    changes: list[Change]
    counters: list[Counter]
    renamed: bool
    detailed: bool
    epoch: int = 0
    outline: Outline | None = None
    sources: Mapping[int, Source] = NOWHERE


class Batch:
    """What the rules of one transaction share.

    `places`: where the blobs of this batch were made durable. `now`: seconds UTC. `watched`: the accounts somebody has
    open, for which progress is kept in detail. `known`: rows that need not be read; those of the batch are taken out.
    """

    __slots__ = ("_refused", "accounts", "by_number", "known", "log_rows", "now", "places", "used_blobs", "watched")

    def __init__(
        self,
        places: Mapping[BlobId, Place],
        now: int,
        watched: Container[AccountId] = (),
        known: dict[AccountId, AccountRow] | None = None,
    ) -> None:
        self.known = {} if known is None else known
        self.places = places
        self.now = now
        self.watched = watched
        self.accounts: dict[AccountId, AccountRow] = {}
        self.by_number: dict[int, AccountRow] = {}
        self.log_rows: list[tuple[int | str, ...]] = []
        self.used_blobs: set[BlobId] = set()
        self._refused: set[AccountId] = set()

    def load(self, tx: Transaction, ids: Iterable[AccountId]) -> None:
        """The fence: the rows of all accounts of the batch, in order of id."""
        wanted = set(ids).difference(self.accounts)
        if self.known:
            for account in wanted & self.known.keys():
                row = self.known.pop(account)
                row.detailed = account in self.watched
                self.add(row)
                wanted.discard(account)
        if wanted:
            self._read(tx, sorted(wanted))

    def _read(self, tx: Transaction, missing: list[AccountId]) -> None:
        self.read(tx, tx.select_many("account", ACCOUNT_COLUMNS, ("id",), [(i,) for i in missing]))

    def read(self, tx: Transaction, found: Iterable[Row]) -> None:
        """What else belongs to these rows of accounts."""
        rows = {row[1]: row for row in found}
        if not rows:
            return
        keys = [(number, WHOLE) for number in rows]
        births = read_births(tx, list(rows))
        for counter in tx.select_many("counter", COUNTER_COLUMNS, ("account", "mailbox"), keys):
            row = rows.pop(counter[0])
            whole = Counter(*counter[1:])
            self.add(AccountRow(row, whole, births.get(counter[0], []), detailed=row[0] in self.watched))
        for row in rows.values():  # tombstones whose counters are purged
            self.add(AccountRow(row, Counter(WHOLE, 0, 0, 0, 0, 0, 0, 0), [], detailed=False))

    def recall(self, row: Row) -> bool:
        """Use what is known of this account, if that is of the same epoch. Others may have changed limits and state."""
        known = self.known.pop(row[0], None)
        if known is None or known.epoch != row[2]:
            return False
        known.renamed = known.row[3:6] != row[3:6]
        known.take(row)
        known.detailed = known.id in self.watched
        self.add(known)
        return True

    def refuse(self, row: Row) -> None:
        """Nothing of this account takes place."""
        self._refused.add(row[0])

    def add(self, row: AccountRow) -> None:
        self.accounts[row.id] = row
        self.by_number[row.number] = row

    def account(self, item: Item) -> AccountRow | Refusal:
        """To be changed: active, and hosted under the epoch that the item names."""
        row = self.held(item)
        return MOVING if not isinstance(row, Refusal) and row.state != ACTIVE else row

    def held(self, item: Item) -> AccountRow | Refusal:
        """The same in any state but REMOVED."""
        if item.account in self._refused:
            return Refusal(Cause.UNAVAILABLE, "the account is not at this backend now")
        row = self.accounts.get(item.account)
        if row is None or row.state == REMOVED:
            return NO_ACCOUNT
        if item.epoch is not None and item.epoch != row.epoch:
            return Refusal(Cause.MOVED, "another host has the account")
        return row

    def load_counters(self, tx: Transaction, wanted: Iterable[tuple[AccountRow, int]]) -> None:
        """Fill `AccountRow.counters` for these mailboxes; those that do not exist stay out."""
        keys = {(row.number, mailbox) for row, mailbox in wanted if mailbox > 0 and mailbox not in row.counters}
        if keys:
            for counter in tx.select_many("counter", COUNTER_COLUMNS, ("account", "mailbox"), sorted(keys)):
                row = self.by_number[counter[0]]
                made = row.counters[counter[1]] = Counter(*counter[1:])
                for birth in row.births:
                    if birth.mailbox == made.mailbox:
                        made.count(birth)

    def mailbox(self, tx: Transaction, row: AccountRow, number: int) -> Counter | Refusal:
        counter = row.counters.get(number)
        if counter is None:
            self.load_counters(tx, [(row, number)])
            counter = row.counters.get(number)
        return counter if counter is not None else Refusal(Cause.NOT_FOUND, "no such mailbox")

    def log(
        self,
        row: AccountRow,
        modseq: int,
        kind: Kind,
        verb: Verb,
        mailbox: int,
        uids: NumberSet = NumberSet(),  # noqa: B008  immutable
        added: int = 0,
        removed: int = 0,
    ) -> None:
        """Add a row to the account's change log."""
        self.log_rows.append((row.number, modseq, kind.value, verb.value, mailbox, str(uids), added, removed, self.now))
        if row.detailed:
            row.changes.append(Change(modseq, kind, verb, mailbox, uids, added, removed))

    def finish(self, tx: Transaction) -> None:
        """Write back what the rules changed. Safe to call again after more work in the same batch."""
        counters = self._settled(tx)
        rows: list[tuple[bytes | int, ...]] = []
        for row in self.accounts.values():
            if row.row_dirty:
                rows.append((row.id, row.state, row.size_limit, row.message_limit, row.uidvalidity, row.next_mailbox))
                row.row_dirty = False
        if counters:
            tx.update_later("counter", ("account", "mailbox"), COUNTER_COLUMNS[2:], counters)
        if rows:
            columns = ("state", "size_limit", "message_limit", "uidvalidity", "next_mailbox")
            tx.update_later("account", ("id",), columns, rows)
        if self.log_rows:
            tx.insert_later("change", _CHANGE_COLUMNS, self.log_rows)
            self.log_rows = []
        for row in self.accounts.values():
            if row.renamed and row.detailed:
                row.outline = read_outline(tx, row.id)

    def _settled(self, tx: Transaction) -> list[tuple[int, ...]]:
        """Rows of `counter`: of every account that did more than take in messages, or has many births uncounted."""
        settling = [
            row
            for row in self.accounts.values()
            if row.whole.dirty and (row.settle or len(row.born) + len(row.births) > UNCOUNTED_LIMIT)
        ]
        self.load_counters(tx, [(row, birth.mailbox) for row in settling for birth in row.births])
        made: list[tuple[int, ...]] = []
        for row in settling:
            uncounted = {birth.mailbox for birth in row.births}
            made.append((row.number, WHOLE, *row.whole.values()))
            for counter in row.counters.values():
                if counter.dirty or counter.mailbox in uncounted:
                    made.append((row.number, counter.mailbox, *counter.values()))
            row.births, row.born = [], []
        return made

    def progress(self) -> dict[AccountId, Progress]:
        """What happened to each account that changed; hand it on only after the commit."""
        made: dict[AccountId, Progress] = {}
        for row in self.accounts.values():
            if row.whole.dirty or row.renamed:
                counters = [c for c in row.counters.values() if c.dirty]
                made[row.id] = Progress(
                    row.before, row.whole.modseq, row.changes, [row.whole, *counters], row.renamed, row.detailed,
                    row.epoch, row.outline, row.sources,
                )  # fmt: skip
        return made
