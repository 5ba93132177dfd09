"""Running numbers after a fail-over."""

from pathlib import Path

import pytest

from rookery.base.clock import SystemClock
from rookery.distribution.placement.beats import Beats, dialler
from rookery.distribution.placement.claims import Claims
from rookery.distribution.placement.values import Here
from rookery.storage.counters import COUNTER_COLUMNS, WHOLE, read_births, read_counters
from rookery.storage.engine import Transaction
from rookery.storage.jump import CHANGES, UIDS, jump, steps
from rookery.storage.postgres import PostgresDatabase
from rookery.storage.schema import MIGRATIONS
from rookery.storage.sqlite import SqliteDatabase
from tests.placement.conftest import PostgresPlace
from tests.postgres import Postgres

EMAIL = ("account", "email", "thread", "blob", "size", "received", "mailbox", "uid", "flags", "copies", "ended")


def _births(tx: Transaction, account: int) -> None:
    """Two appended to INBOX, after change 9 and UID 5, that its counters leave out."""
    rows = [(account, 10 + n, 1, bytes([account, n]), 100, 0, 1, 5 + n, n, 1, 0) for n in range(2)]
    tx.insert_many("email", EMAIL, rows)


def test_births_are_counted_before_they_can_no_longer_be_told(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "index.db", MIGRATIONS)
    with database.write() as tx:
        counters = [(n, mailbox, 1, 5, 9, 3, 1, 0, 300) for n in (1, 2, 3) for mailbox in (WHOLE, 1, 2)]
        tx.insert_many("counter", COUNTER_COLUMNS, counters)
        _births(tx, 1)
        _births(tx, 3)
        before = {n: read_counters(tx, n) for n in (1, 2, 3)}
        jump(tx, {1: 1, 2: 3})
        after = {n: read_counters(tx, n) for n in (1, 2, 3)}
        assert read_births(tx, [1, 2]) == {}
    database.close()
    for account in (1, 2):
        for mailbox, counter in before[account].items():
            counter.modseq += CHANGES * (1, 3)[account - 1]
            if mailbox != WHOLE:
                counter.uidnext += UIDS * (1, 3)[account - 1]
            assert after[account][mailbox].values() == counter.values()
    assert after[1][1].messages == 5
    assert {n: c.values() for n, c in after[3].items()} == {n: c.values() for n, c in before[3].items()}


@pytest.mark.parametrize(
    ("before", "expected"),
    [("7/00000001", 11), ("7/0000000B", 1), ("7/0000000D", 1), ("77/00000001", 1), ("", 1)],
)
def test_each_fail_over_since_the_last_opening_counts(before: str, expected: int) -> None:
    """The one before the last may have lost its own jump, after which numbers were given."""
    assert steps(before, "7/0000000C") == expected


@pytest.mark.postgres
class TestWithTheClaim:
    def _claim(self, place: PostgresPlace, postgres: Postgres, incarnation: int) -> dict[int, tuple[int, int]]:
        """UIDNEXT and change number by mailbox, after a new incarnation has claimed everything."""
        beats = Beats(dialler(postgres.uri, postgres.schema, SystemClock(), lambda _: None))
        beats.register("a", "", incarnation, False)
        beats.close()
        claims = Claims(PostgresDatabase(postgres.uri, (), postgres.schema))
        with place.database.read() as reader:
            accounts = [row[0] for row in reader.rows("SELECT id FROM account")]
        found = claims.claim(incarnation, accounts).found
        claims.close()
        assert all(isinstance(one, Here) for one in found.values())
        with place.database.read() as reader:
            return {mailbox: (c.uidnext, c.modseq) for mailbox, c in read_counters(reader, 1).items()}

    def test_once_under_each_timeline(self, shared: PostgresPlace) -> None:
        (account,) = shared.add(1)
        with shared.database.write() as tx:
            _births(tx, 1)
        assert self._claim(shared, shared.postgres, 1) == {WHOLE: (5, 11), 1: (7, 11)}
        shared.promote("other/2")
        jumped = {WHOLE: (5, 11 + CHANGES), 1: (7 + UIDS, 11 + CHANGES)}
        assert self._claim(shared, shared.postgres, 2) == jumped
        assert shared.row(account)[2] == "other/2"
        assert self._claim(shared, shared.postgres, 3) == jumped

    def test_also_for_what_was_made_and_never_opened_before(self, shared: PostgresPlace) -> None:
        """Its opening may be among what was lost."""
        shared.add(1)
        shared.promote("other/2")
        assert self._claim(shared, shared.postgres, 1)[1] == (5 + UIDS, 9 + CHANGES)

    def test_what_is_made_under_it_does_not(self, shared: PostgresPlace) -> None:
        shared.promote("other/2")
        shared.add(1)
        assert self._claim(shared, shared.postgres, 1)[1] == (5, 9)
