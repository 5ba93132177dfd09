"""Rules over any engine, one batch at a time, and a check that the running numbers are what the rows say."""

from collections.abc import Sequence
from typing import Any

from rookery.base.errors import Refusal
from rookery.base.ids import AccountId, BlobId
from rookery.storage.accounts import CreateAccount
from rookery.storage.append import AppendItem
from rookery.storage.batch import Batch, Progress
from rookery.storage.blobs import Place
from rookery.storage.counters import WHOLE, read_counters
from rookery.storage.engine import Database, Reader
from rookery.storage.operations import CREATE_ACCOUNT, Operation

NOW = 1_700_000_000


def account_id(number: int) -> AccountId:
    return AccountId(number.to_bytes(16, "big"))


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW
        self.blobs = 0
        self.progress: dict[AccountId, Progress] = {}

    def perform(
        self, operation: Operation[Any, Any], *items: Any, places: dict[BlobId, Place] | None = None
    ) -> list[Any]:
        """One batch of one operation; results or refusals in order."""
        with self.database.write() as tx:
            batch = Batch(places or {}, self.now, {item.account for item in items})
            batch.load(tx, [item.account for item in items])
            results = list(operation.apply(tx, batch, items))
            batch.finish(tx)
        self.progress = batch.progress()
        return results

    def one(self, operation: Operation[Any, Any], item: Any) -> Any:
        return self.perform(operation, item)[0]

    def account(self, number: int = 1, size: int = 0, messages: int = 0) -> AccountId:
        account = account_id(number)
        result = self.one(CREATE_ACCOUNT, CreateAccount(account, size, messages))
        assert not isinstance(result, Refusal), result
        return account

    def blob(self) -> BlobId:
        self.blobs += 1
        return BlobId(self.blobs.to_bytes(16, "big"))

    def item(self, account: AccountId, size: int = 100, **more: Any) -> AppendItem:
        return AppendItem(account, self.blob(), size, NOW, **more)

    def append(self, operation: Operation[Any, Any], items: Sequence[AppendItem]) -> list[Any]:
        places = {item.blob: Place(1, index * 100, item.size, 0) for index, item in enumerate(items)}
        return self.perform(operation, *items, places=places)

    def rows(self, sql: str, *values: Any) -> list[Any]:
        with self.database.read() as reader:
            return reader.rows(sql, *values)

    def check(self) -> None:
        """Counters, copies and references agree with the rows they count."""
        with self.database.read() as reader:
            check_counters(reader)
            check_references(reader)


def check_counters(reader: Reader) -> None:
    sql = (
        "SELECT p.account, p.mailbox, count(*), sum(CASE WHEN p.flags & 1 = 0 THEN 1 ELSE 0 END),"
        " sum(CASE WHEN p.flags & 8 = 8 THEN 1 ELSE 0 END), sum(e.size), max(p.uid), max(p.changed)"
        " FROM presence p JOIN email e ON e.account = p.account AND e.email = p.email GROUP BY p.account, p.mailbox"
    )
    held = {(row[0], row[1]): [int(v) for v in row[2:]] for row in reader.rows(sql)}
    for (account,) in reader.rows("SELECT account FROM account"):
        counters = read_counters(reader, account)
        messages = size = modseq = 0
        for mailbox, counter in counters.items():
            if mailbox == WHOLE:
                continue
            numbers = [counter.messages, counter.unseen, counter.deleted, counter.size]
            *counted, greatest, changed = held.get((account, mailbox), [0] * 6)
            assert numbers == counted, (account, mailbox)
            assert counter.uidnext > greatest, (account, mailbox)
            assert counter.modseq >= changed, (account, mailbox)
            messages, size, modseq = messages + counted[0], size + counted[3], max(modseq, counter.modseq)
        if counters:
            whole = counters[WHOLE]
            assert [whole.messages, whole.size] == [messages, size], account
            assert whole.modseq >= modseq, account


def check_references(reader: Reader) -> None:
    sql = "SELECT account, email, count(*) FROM presence GROUP BY account, email"
    copies = {(account, email): count for account, email, count in reader.rows(sql)}
    refs: dict[bytes, int] = {}
    for account, email, blob, counted, ended in reader.rows("SELECT account, email, blob, copies, ended FROM email"):
        assert counted == copies.pop((account, email), 0), (account, email)
        assert bool(ended) == (counted == 0), (account, email)
        refs[blob] = refs.get(blob, 0) + 1
    assert not copies, "presences without an email"
    for blob, counted in reader.rows("SELECT blob, refs FROM blob"):
        assert counted == refs.pop(blob, 0), blob
    assert not refs, "emails without a blob row"
