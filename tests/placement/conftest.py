"""Pools to place accounts in: in memory, and on PostgreSQL where its binaries can be had."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, cast

import pytest

from rookery.base.clock import SystemClock
from rookery.base.ids import AccountId
from rookery.distribution.placement.database import DatabasePool
from rookery.distribution.placement.values import Pool
from rookery.storage.counters import COUNTER_COLUMNS, WHOLE, Counter, read_births, read_counters
from rookery.storage.engine import Transaction
from rookery.storage.hosting import SHARED_MIGRATIONS, application
from rookery.storage.postgres import PostgresDatabase
from rookery.storage.schema import MOVED
from tests import postgres as server
from tests.placement.memory import MemoryPool
from tests.placement.tables import Account, MemoryTransaction, Session
from tests.postgres import Postgres

postgres, fresh_postgres, wire = server.postgres, server.fresh_postgres, server.wire

ACCOUNT_COLUMNS = (
    "id", "account", "epoch", "state", "size_limit", "message_limit", "uidvalidity", "next_mailbox", "floor", "created",
)  # fmt: skip


def account_id(number: int) -> AccountId:
    return AccountId(number.to_bytes(16, "big"))


class Place(Protocol):
    """One pool. `open`: a backend's way to it. `add`: makes accounts 1..count, one INBOX each, in that state
    (MOVED: to pool 7). `move`: there. `write`: a transaction of that incarnation's. `numbers`: counters by mailbox, as
    they are now.
    """

    def open(self) -> Pool: ...
    def add(self, count: int, state: int = 0) -> list[AccountId]: ...
    def promote(self, timeline: str) -> None: ...
    def incarnations(self) -> set[int]: ...
    def move(self, account: AccountId) -> None: ...
    def write(self, incarnation: int) -> AbstractContextManager[Transaction]: ...
    def numbers(self, account: AccountId) -> dict[int, tuple[int, ...]]: ...


class MemoryPlace:
    def __init__(self) -> None:
        self.pool = MemoryPool()

    def open(self) -> Pool:
        return self.pool

    def add(self, count: int, state: int = 0) -> list[AccountId]:
        made = [account_id(len(self.pool.accounts) + n) for n in range(1, count + 1)]
        self.pool.accounts.update((account, Account(state, 7, opened_under=self.pool.timeline)) for account in made)
        return made

    def promote(self, timeline: str) -> None:
        self.pool.fail_over(timeline)

    def move(self, account: AccountId) -> None:
        self.pool.accounts[account].state, self.pool.accounts[account].pool = MOVED, 7

    @contextmanager
    def write(self, incarnation: int) -> Iterator[Transaction]:
        tx = MemoryTransaction(Session(self.pool, incarnation))
        yield cast(Transaction, tx)
        tx.commit()

    def numbers(self, account: AccountId) -> dict[int, tuple[int, ...]]:
        number = int.from_bytes(account, "big")
        with self.write(0) as tx:
            counters = {
                row[1]: Counter(*row[1:])
                for row in tx.select_many("counter", COUNTER_COLUMNS, ("account",), [(number,)])
            }
            for birth in read_births(tx, [number]).get(number, ()):
                for counter in counters.values():
                    counter.count(birth)
        return {mailbox: counter.values() for mailbox, counter in counters.items()}

    def incarnations(self) -> set[int]:
        return set(self.pool.incarnations)


class PostgresPlace:
    """`database`: for the test's own looks."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self.database: PostgresDatabase = postgres.open(SHARED_MIGRATIONS, application="test")
        self._opened: list[DatabasePool] = []
        self._sessions: dict[int, PostgresDatabase] = {}
        self._accounts = 0

    def open(self, uri: str = "") -> DatabasePool:
        pool = DatabasePool(uri or self.postgres.uri, self.postgres.schema, clock=SystemClock(), pause=lambda _: None)
        self._opened.append(pool)
        return pool

    def add(self, count: int, state: int = 0) -> list[AccountId]:
        numbers = range(self._accounts + 1, self._accounts + count + 1)
        self._accounts += count
        with self.database.write() as tx:
            rows = [(account_id(n), n, 0, state, 0, 0, 1, 2, 0, 0) for n in numbers]
            tx.insert_many("account", ACCOUNT_COLUMNS, rows)
            if state == MOVED:
                tx.insert_many("moved", ("id", "pool"), [(row[0], 7) for row in rows])
            counters = [(n, mailbox, 1, 5, 9, 0, 0, 0, 0) for n in numbers for mailbox in (WHOLE, 1)]
            tx.insert_many("counter", COUNTER_COLUMNS, counters)
        return [account_id(n) for n in numbers]

    def promote(self, timeline: str) -> None:
        self.postgres.run(
            f"CREATE OR REPLACE FUNCTION {self.postgres.schema}.timeline() RETURNS TEXT LANGUAGE sql STABLE"
            f" AS 'SELECT ''{timeline}'''"
        )

    def row(self, account: AccountId) -> tuple[int | None, int, str]:
        """Incarnation, epoch, opened_under."""
        with self.database.read() as reader:
            row = reader.row("SELECT incarnation, epoch, opened_under FROM account WHERE id = ?", account)
        assert row is not None
        return row[0], row[1], row[2]

    def move(self, account: AccountId) -> None:
        with self.database.write() as tx:
            tx.run("UPDATE account SET state = ? WHERE id = ?", MOVED, account)
            tx.insert_many("moved", ("id", "pool"), [(account, 7)], keep_existing=True)

    @contextmanager
    def write(self, incarnation: int) -> Iterator[Transaction]:
        if incarnation not in self._sessions:
            self._sessions[incarnation] = self.postgres.open((), application=application(incarnation))
        with self._sessions[incarnation].write() as tx:
            yield tx

    def numbers(self, account: AccountId) -> dict[int, tuple[int, ...]]:
        with self.database.read() as reader:
            found = read_counters(reader, int.from_bytes(account, "big"))
        return {mailbox: counter.values() for mailbox, counter in found.items()}

    def incarnations(self) -> set[int]:
        with self.database.read() as reader:
            return {row[0] for row in reader.rows("SELECT incarnation FROM incarnation")}

    def close(self) -> None:
        for pool in self._opened:
            pool.close()
        for session in self._sessions.values():
            session.close()
        self.database.close()


@pytest.fixture
def shared(fresh_postgres: Postgres) -> Iterator[PostgresPlace]:
    place = PostgresPlace(fresh_postgres)
    yield place
    place.close()


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "postgres":
        found: PostgresPlace = request.getfixturevalue("shared")
        return found
    return MemoryPlace()


class Moments:
    """A clock that goes on when told, or when somebody pauses."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    async def pause(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


def numbered(first: int) -> Callable[[int], bytes]:
    """Random octets that give the incarnations first, first + 1, ..."""
    numbers = iter(range(first, first + 1000))
    return lambda size: (next(numbers) << 1).to_bytes(size, "big")
