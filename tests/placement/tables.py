"""The rows of a pool in memory: accounts, and mail as far as the fence, APPEND and the jump of numbers ask for it; and
transactions over them, whose locks stay until they commit or their session ends. What waits for a lock is told BUSY.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rookery.base.errors import Cause
from rookery.base.ids import AccountId
from rookery.storage.batch import ACCOUNT_COLUMNS
from rookery.storage.counters import COUNTER_COLUMNS, WHOLE
from rookery.storage.engine import EngineFailed, Row
from rookery.storage.hosting import fence
from rookery.storage.schema import ACTIVE

INBOX = 1
FIRST = (1, 5, 9, 0, 0, 0, 0)  # the counters of a new mailbox: UIDVALIDITY, UIDNEXT, change number, sums
_FENCES = {fence((*ACCOUNT_COLUMNS, "opened_under"), lock) for lock in ("SHARE", "UPDATE")}


@dataclass(slots=True)
class Account:
    state: int = ACTIVE
    pool: int = 0  # where it is, when it has moved
    incarnation: int | None = None
    epoch: int = 0
    opened_under: str = "one/1"

    def copy(self) -> "Account":
        return replace(self)


@dataclass(slots=True)
class Mail:
    """Of one account. births: (mailbox, email, uid, flags, size), those that the counters leave out. deliveries: UID
    and change number by id.
    """

    counters: dict[int, Row] = field(default_factory=lambda: {WHOLE: FIRST, INBOX: FIRST})
    births: list[Row] = field(default_factory=list)
    uids: list[int] = field(default_factory=list)
    deliveries: dict[str, tuple[int, int]] = field(default_factory=dict)

    def copy(self) -> "Mail":
        return Mail(dict(self.counters), list(self.births), list(self.uids), dict(self.deliveries))

    @property
    def modseq(self) -> int:
        """The number of the last change."""
        return int(self.births[-1][1] if self.births else self.counters[WHOLE][2])


class Population(dict[AccountId, Account]):
    """Accounts with these numbers; a row is made when it is first looked at."""

    def __init__(self, numbers: range) -> None:
        self._numbers = numbers

    def __missing__(self, account: AccountId) -> Account:
        if int.from_bytes(account, "big") not in self._numbers:
            raise KeyError(account)
        made = self[account] = Account()
        return made


@dataclass
class Tables:
    """`locks`: sessions that have an account's row. `watch`: called with whatever is about to be committed."""

    timeline: str = "one/1"
    accounts: dict[AccountId, Account] = field(default_factory=dict)
    mail: dict[int, Mail] = field(default_factory=dict)
    locks: dict[AccountId, set["Session"]] = field(default_factory=dict)
    watch: Callable[["Session", int, Mail, int], None] = lambda session, number, mail, uid: None

    def account(self, account: AccountId) -> Account | None:
        try:
            return self.accounts[account]
        except KeyError:
            return None

    def mail_of(self, number: int) -> Mail:
        mail = self.mail.get(number)
        if mail is None:
            mail = self.mail[number] = Mail()
        return mail


class Session:
    """A connection of an incarnation's. Its end undoes what is not committed."""

    def __init__(self, tables: Tables, incarnation: int) -> None:
        self.tables = tables
        self.incarnation = incarnation
        self.over = False
        self._locked: list[AccountId] = []

    def lock(self, account: AccountId) -> None:
        self._locked.append(account)
        self.tables.locks.setdefault(account, set()).add(self)

    def end(self) -> None:
        self.over = True
        for account in self._locked:
            held = self.tables.locks.get(account, set())
            held.discard(self)
            if not held:
                self.tables.locks.pop(account, None)
        self._locked = []


class MemoryTransaction:
    """The part of engine.Transaction that is asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tables = session.tables
        self._counters: list[Sequence[Any]] = []
        self._emails: list[Sequence[Any]] = []
        self._deliveries: list[Sequence[Any]] = []

    def rows(self, sql: str, *values: Any) -> list[Row]:
        if sql in _FENCES:
            return self._fenced(values[0])
        assert "JOIN email" in sql, sql
        numbers = sorted(set(values))
        return [(number, *birth) for number in numbers for birth in self._tables.mail_of(number).births]

    def row(self, sql: str, *values: Any) -> None:
        """Names, limits and keywords of accounts, which these do not have."""

    def _fenced(self, ids: Sequence[AccountId]) -> list[Row]:
        found: list[Row] = []
        for account in ids:
            row = self._tables.account(account)
            if row is not None:
                self._session.lock(account)
                number = int.from_bytes(account, "big")
                found.append(
                    (account, number, row.epoch, row.state, 0, 0, 1, 2, 0, row.opened_under, self._tables.timeline)
                )
        return found

    def select_many(
        self, table: str, columns: Sequence[str], keys: Sequence[str], values: Sequence[Sequence[Any]]
    ) -> list[Row]:
        if table == "delivery":
            return [
                (delivery, number, INBOX, *self._tables.mail_of(number).deliveries[delivery], 0)
                for delivery, number in values
                if delivery in self._tables.mail_of(number).deliveries
            ]
        assert (table, tuple(columns)) == ("counter", COUNTER_COLUMNS), table
        found: list[Row] = []
        for number, *mailboxes in values:
            counters = self._tables.mail_of(number).counters
            found += [(number, mailbox, *counters[mailbox]) for mailbox in mailboxes or counters]
        return found

    def update_many(
        self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        assert (table, tuple(columns)) == ("counter", COUNTER_COLUMNS[2:]), table
        self._counters += rows

    update_later = update_many

    def insert_later(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        if table == "email":
            self._emails += rows
        elif table == "delivery":
            self._deliveries += rows

    def commit(self) -> None:
        """Raises EngineFailed when the session was ended: nothing took place."""
        if self._session.over:
            raise EngineFailed(Cause.UNAVAILABLE, "the session was ended")
        tables = self._tables
        for number, email, _, _, size, _, mailbox, uid, flags, *_ in self._emails:
            mail = tables.mail_of(number)
            tables.watch(self._session, number, mail, uid)
            mail.births.append((mailbox, email, uid, flags, size))
            mail.uids.append(uid)
        for delivery, number, _, uid, modseq, _ in self._deliveries:
            deliveries = tables.mail_of(number).deliveries
            assert delivery not in deliveries
            deliveries[delivery] = (uid, modseq)
        for number, mailbox, *counter in self._counters:
            mail = tables.mail_of(number)
            mail.counters[mailbox] = tuple(counter)
            if mailbox == WHOLE:
                mail.births = [birth for birth in mail.births if birth[1] > counter[2]]
        self._session.end()
