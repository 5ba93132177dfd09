"""Making, limiting and removing accounts."""

from collections.abc import Sequence

import msgspec

from rookery.base.errors import Cause, Refusal
from rookery.base.ids import AccountId
from rookery.storage.batch import ACCOUNT_COLUMNS, UIDVALIDITY_LIMIT, AccountRow, Batch, Done
from rookery.storage.counters import COUNTER_COLUMNS, WHOLE
from rookery.storage.engine import Transaction
from rookery.storage.schema import ACTIVE, MOVED, MOVING_IN, MOVING_OUT, NEXT_ACCOUNT, REMOVED
from rookery.storage.values import SpecialUse

FOLDERS: tuple[tuple[str, SpecialUse | None], ...] = (
    ("INBOX", None),
    ("Drafts", SpecialUse.DRAFTS),
    ("Sent", SpecialUse.SENT),
    ("Junk", SpecialUse.JUNK),
    ("Trash", SpecialUse.TRASH),
    ("Archive", SpecialUse.ARCHIVE),
)


# What may follow a state; REMOVED may follow each, and nothing follows it.
_FOLLOWING = {ACTIVE: (MOVING_OUT,), MOVING_IN: (ACTIVE,), MOVING_OUT: (ACTIVE, MOVED)}


class CreateAccount(msgspec.Struct, frozen=True):
    """`state`: ACTIVE, or MOVING_IN until all of it is here."""

    account: AccountId
    size_limit: int = 0
    message_limit: int = 0
    epoch: int | None = None
    state: int = ACTIVE


class SetLimits(msgspec.Struct, frozen=True):
    account: AccountId
    size_limit: int
    message_limit: int
    epoch: int | None = None


class SetState(msgspec.Struct, frozen=True):
    """`pool`: to which it has MOVED, by the number that the directory gives it."""

    account: AccountId
    state: int
    pool: int = 0
    epoch: int | None = None


class RemoveAccount(msgspec.Struct, frozen=True):
    account: AccountId
    epoch: int | None = None


def create_accounts(tx: Transaction, batch: Batch, items: Sequence[CreateAccount]) -> list[Done | Refusal]:
    """Make each account with its usual mailboxes, all subscribed. An account that exists stays as it is."""
    results: list[Done | Refusal] = []
    fresh: dict[AccountId, CreateAccount] = {}
    tx.lock_many("meta", ("name",), [(NEXT_ACCOUNT,)])  # one after another: what others have made is seen from here on
    batch.load(tx, [item.account for item in items])
    for item in items:
        known = batch.accounts.get(item.account)
        if known is not None and known.state == REMOVED:
            results.append(Refusal(Cause.EXISTS, "the account was removed; ids are not used again"))
            continue
        if known is None:
            fresh.setdefault(item.account, item)
        results.append(Done())
    if fresh:
        _insert_accounts(tx, batch, list(fresh.values()))
    return results


def _insert_accounts(tx: Transaction, batch: Batch, items: Sequence[CreateAccount]) -> None:
    found = tx.row("SELECT value FROM meta WHERE name = ?", NEXT_ACCOUNT)
    first = int(found[0]) if found else 1
    if found:
        tx.run("UPDATE meta SET value = ? WHERE name = ?", first + len(items), NEXT_ACCOUNT)
    else:
        tx.run("INSERT INTO meta (name, value) VALUES (?, ?)", NEXT_ACCOUNT, first + len(items))
    accounts: list[tuple[bytes | int, ...]] = []
    counters: list[tuple[int, ...]] = []
    mailboxes: list[tuple[int | str | None, ...]] = []
    subscriptions: list[tuple[int | str, ...]] = []
    base = min(batch.now, UIDVALIDITY_LIMIT)
    for number, item in enumerate(items, first):
        limits = (item.size_limit, item.message_limit)
        validity, following = base + len(FOLDERS), len(FOLDERS) + 1
        accounts.append((item.account, number, item.epoch or 0, item.state, *limits, validity, following, 0, batch.now))
        counters.append((number, WHOLE, 0, 0, 1, 0, 0, 0, 0))
        for mailbox, (name, use) in enumerate(FOLDERS, 1):
            counters.append((number, mailbox, base + mailbox, 1, 1, 0, 0, 0, 0))
            mailboxes.append((number, mailbox, name, use.value if use else None))
            subscriptions.append((number, name))
    tx.insert_many("account", (*ACCOUNT_COLUMNS, "created"), accounts)
    tx.insert_many("counter", COUNTER_COLUMNS, counters)
    tx.insert_many("mailbox", ("account", "mailbox", "name", "special_use"), mailboxes)
    tx.insert_many("subscription", ("account", "name"), subscriptions)
    batch.load(tx, [item.account for item in items])


def set_limits(tx: Transaction, batch: Batch, items: Sequence[SetLimits]) -> list[Done | Refusal]:
    """New limits; what is already stored stays, also above them."""
    results: list[Done | Refusal] = []
    for item in items:
        row = batch.account(item)
        if isinstance(row, Refusal):
            results.append(row)
            continue
        row.size_limit, row.message_limit = item.size_limit, item.message_limit
        row.row_dirty = row.renamed = True
        results.append(Done(row.whole.modseq))
    return results


def remove_accounts(tx: Transaction, batch: Batch, items: Sequence[RemoveAccount]) -> list[Done | Refusal]:
    """Leave a tombstone at once; the sweeper removes the rows and, a day later, the mail."""
    results: list[Done | Refusal] = []
    for item in items:
        row = batch.held(item)
        if isinstance(row, Refusal):
            results.append(row if row.cause is not Cause.NOT_FOUND else Done())
            continue
        _bury(tx, row, REMOVED)
        results.append(Done(row.whole.modseq))
    return results


def _bury(tx: Transaction, row: AccountRow, state: int) -> None:
    row.state = state
    row.row_dirty = row.renamed = True
    tx.insert_many("dropped", ("account", "mailbox"), [(row.number, WHOLE)], keep_existing=True)


def set_states(tx: Transaction, batch: Batch, items: Sequence[SetState]) -> list[Done | Refusal]:
    """Nothing of the account takes place from here on unless it is active; what has moved is removed in the background,
    all but the row that says where it went.
    """
    results: list[Done | Refusal] = []
    for item in items:
        row = batch.held(item)
        if isinstance(row, Refusal):
            results.append(row)
            continue
        if row.state != item.state:
            if item.state not in _FOLLOWING.get(row.state, ()):
                results.append(Refusal(Cause.CONFLICT, f"state {item.state} of an account cannot follow {row.state}"))
                continue
            if item.state == MOVED:
                _bury(tx, row, MOVED)
                tx.insert_many("moved", ("id", "pool"), [(item.account, item.pool)])
            row.state = item.state
            row.row_dirty = row.renamed = True
        results.append(Done(row.whole.modseq))
    return results
