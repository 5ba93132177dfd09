"""Making, renaming, deleting and subscribing mailboxes. A mailbox's number is forever; its name is an attribute."""

from collections.abc import Sequence

import msgspec

from rookery.base.errors import Cause, Refusal
from rookery.base.ids import AccountId
from rookery.storage.batch import AccountRow, Batch, Done
from rookery.storage.counters import COUNTER_COLUMNS, Counter
from rookery.storage.engine import Transaction
from rookery.storage.names import INBOX_NAME, canonical, check_name, parents
from rookery.storage.values import INBOX, SEPARATOR, Kind, SpecialUse, Verb

MAILBOX_LIMIT = 10_000  # of one account
SUBSCRIPTION_LIMIT = 20_000


class CreateMailbox(msgspec.Struct, frozen=True):
    account: AccountId
    name: str
    special_use: SpecialUse | None = None
    epoch: int | None = None


class RenameMailbox(msgspec.Struct, frozen=True):
    """The mailboxes below it go along. Not for INBOX, whose messages move instead (RFC 9051 6.3.6)."""

    account: AccountId
    mailbox: int
    name: str
    epoch: int | None = None


class DeleteMailbox(msgspec.Struct, frozen=True):
    account: AccountId
    mailbox: int
    epoch: int | None = None


class SetSubscribed(msgspec.Struct, frozen=True):
    account: AccountId
    name: str
    subscribed: bool
    epoch: int | None = None


class Made(msgspec.Struct, frozen=True):
    mailbox: int
    uidvalidity: int
    modseq: int


def create_mailbox(tx: Transaction, batch: Batch, items: Sequence[CreateMailbox]) -> list[Made | Refusal]:
    return [_create(tx, batch, item) for item in items]


def _create(tx: Transaction, batch: Batch, item: CreateMailbox) -> Made | Refusal:
    row = batch.account(item)
    if isinstance(row, Refusal):
        return row
    name = canonical(item.name)
    refusal = check_name(name)
    if refusal is not None:
        return refusal
    names = _names(tx, row)
    if name in names:
        return Refusal(Cause.EXISTS, "the mailbox exists")
    refusal = _make_parents(tx, batch, row, names, name)
    if refusal is not None:
        return refusal
    return _insert(tx, batch, row, name, item.special_use)


def _names(tx: Transaction, row: AccountRow) -> dict[str, int]:
    return dict(tx.rows("SELECT name, mailbox FROM mailbox WHERE account = ?", row.number))


def _make_parents(tx: Transaction, batch: Batch, row: AccountRow, names: dict[str, int], name: str) -> Refusal | None:
    """Superior names are made, too (RFC 9051 6.3.4)."""
    missing = [above for above in parents(name) if above not in names]
    if len(names) + len(missing) + 1 > MAILBOX_LIMIT:
        return Refusal(Cause.TOO_MANY, f"an account has at most {MAILBOX_LIMIT} mailboxes")
    for above in missing:
        names[above] = _insert(tx, batch, row, above, None).mailbox
    return None


def _insert(tx: Transaction, batch: Batch, row: AccountRow, name: str, use: SpecialUse | None) -> Made:
    number = row.next_mailbox
    row.next_mailbox += 1
    validity = row.next_uidvalidity(batch.now)
    modseq = row.step()
    row.renamed = True
    tx.insert_many(
        "mailbox",
        ("account", "mailbox", "name", "special_use"),
        [(row.number, number, name, use.value if use else None)],
    )
    counter = Counter(number, validity, 1, modseq, 0, 0, 0, 0)
    row.counters[number] = counter
    tx.insert_many("counter", COUNTER_COLUMNS, [(row.number, number, *counter.values())])
    batch.log(row, modseq, Kind.MAILBOX, Verb.CREATED, number)
    return Made(number, validity, modseq)


def rename_mailbox(tx: Transaction, batch: Batch, items: Sequence[RenameMailbox]) -> list[Made | Refusal]:
    return [_rename(tx, batch, item) for item in items]


def _rename(tx: Transaction, batch: Batch, item: RenameMailbox) -> Made | Refusal:
    row = batch.account(item)
    if isinstance(row, Refusal):
        return row
    counter = batch.mailbox(tx, row, item.mailbox)
    if isinstance(counter, Refusal):
        return counter
    new = canonical(item.name)
    refusal = check_name(new)
    if refusal is not None:
        return refusal
    names = _names(tx, row)
    old = next(name for name, number in names.items() if number == item.mailbox)
    if item.mailbox == INBOX:
        return Refusal(Cause.DENIED, "INBOX keeps its name")
    if new in names:
        return Refusal(Cause.EXISTS, "the mailbox exists")
    if new.startswith(old + SEPARATOR):
        return Refusal(Cause.INVALID, "a mailbox cannot move below itself")
    moved = {number: new + name[len(old) :] for name, number in names.items() if name.startswith(old + SEPARATOR)}
    moved[item.mailbox] = new
    for name in moved.values():
        refusal = check_name(name)
        if refusal is not None:
            return refusal
        if name in names:
            return Refusal(Cause.EXISTS, "a mailbox below the new name exists")
    refusal = _make_parents(tx, batch, row, names, new)
    if refusal is not None:
        return refusal
    tx.update_many(
        "mailbox", ("account", "mailbox"), ("name",), [(row.number, number, name) for number, name in moved.items()]
    )
    batch.load_counters(tx, [(row, number) for number in moved])
    modseq = row.whole.modseq
    for number in sorted(moved):
        modseq = _touch(batch, row, number)
    return Made(item.mailbox, counter.uidvalidity, modseq)


def _touch(batch: Batch, row: AccountRow, number: int) -> int:
    modseq = row.step()
    row.renamed = True
    batch.log(row, modseq, Kind.MAILBOX, Verb.CHANGED, number)
    return modseq


def delete_mailbox(tx: Transaction, batch: Batch, items: Sequence[DeleteMailbox]) -> list[Done | Refusal]:
    return [_delete(tx, batch, item) for item in items]


def _delete(tx: Transaction, batch: Batch, item: DeleteMailbox) -> Done | Refusal:
    """The name is free at once; the sweeper removes the messages. Mailboxes below it stay (RFC 9051 6.3.5)."""
    row = batch.account(item)
    if isinstance(row, Refusal):
        return row
    counter = batch.mailbox(tx, row, item.mailbox)
    if isinstance(counter, Refusal):
        return counter
    if item.mailbox == INBOX:
        return Refusal(Cause.DENIED, f"{INBOX_NAME} cannot be deleted")
    key = [(row.number, item.mailbox)]
    tx.delete_many("mailbox", ("account", "mailbox"), key)
    tx.delete_many("counter", ("account", "mailbox"), key)
    tx.insert_many("dropped", ("account", "mailbox"), key, keep_existing=True)
    del row.counters[item.mailbox]
    row.whole.messages -= counter.messages
    row.whole.size -= counter.size
    modseq = row.step()
    row.renamed = True
    batch.log(row, modseq, Kind.MAILBOX, Verb.DESTROYED, item.mailbox)
    return Done(modseq)


def set_subscribed(tx: Transaction, batch: Batch, items: Sequence[SetSubscribed]) -> list[Done | Refusal]:
    """Names may be subscribed that do not exist, and stay subscribed when their mailbox goes (RFC 9051 6.3.7)."""
    results: list[Done | Refusal] = []
    for item in items:
        row = batch.account(item)
        name = canonical(item.name)
        results.append(row if isinstance(row, Refusal) else _subscribe(tx, batch, row, name, on=item.subscribed))
    return results


def _subscribe(tx: Transaction, batch: Batch, row: AccountRow, name: str, *, on: bool) -> Done | Refusal:
    refusal = check_name(name)
    if refusal is not None:
        return refusal
    key = (row.number, name)
    known = tx.row("SELECT 1 FROM subscription WHERE account = ? AND name = ?", *key) is not None
    if known == on:
        return Done(row.whole.modseq)
    if on:
        held = tx.row("SELECT count(*) FROM subscription WHERE account = ?", row.number)
        if held is not None and held[0] >= SUBSCRIPTION_LIMIT:
            return Refusal(Cause.TOO_MANY, f"an account has at most {SUBSCRIPTION_LIMIT} subscriptions")
        tx.insert_many("subscription", ("account", "name"), [key])
    else:
        tx.delete_many("subscription", ("account", "name"), [key])
    row.renamed = True
    number = _names(tx, row).get(name)
    return Done(row.whole.modseq if number is None else _touch(batch, row, number))
