"""Claims and what goes with them, on a connection that is kept open for them. One thread.

Rows are locked first and judged after it: a judgement in the statement that waits for the lock is made again of the
new row, but with what it saw of `incarnation` before, and would steal an account from a host that has registered and
claimed meanwhile. What is judged of a host is only that it has ended, which stays true.
"""

from collections.abc import Sequence

from rookery.base.errors import Cause, Refusal
from rookery.base.ids import AccountId
from rookery.base.log import logger
from rookery.distribution.placement.values import Claimed, Elsewhere, Here, Moved, Nobody, Peer
from rookery.storage.batch import MOVING
from rookery.storage.engine import EngineFailed, Reader, Transaction
from rookery.storage.hosting import TIMELINE, application
from rookery.storage.jump import jump, steps
from rookery.storage.postgres import PostgresDatabase
from rookery.storage.schema import ACTIVE, MOVED, REMOVED

LOCK_MS = 100  # whoever holds a row for longer is perhaps frozen
ATTEMPTS = 3  # with the sessions of the dead ended between them
BUSY = 3  # rows, one by one, that stay locked; beyond it the others are not tried now

log = logger("placement")

Found = Elsewhere | Moved | Nobody | Refusal

_ACCOUNT = ("id", "account", "state", "incarnation", "opened_under")
_HOST = ("incarnation", "backend", "address", "ended")
_COUNTS = "SELECT incarnation, count(*) FROM account WHERE incarnation IS NOT NULL GROUP BY incarnation"
_PEER = ("incarnation", "backend", "address", "beat", "draining")

# Those of who has ended, or has not noticed that the database is another, may be ended by anybody at any time.
_END_SESSIONS = (
    "SELECT pg_terminate_backend(s.pid) FROM pg_stat_activity s"
    " JOIN incarnation i ON s.application_name = 'rookery ' || i.incarnation"
    f" WHERE (i.ended OR i.timeline <> {TIMELINE}) AND s.datname = current_database() AND s.usename = current_user"
)
_END_SESSION = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ? AND application_name = ?"


class Claims:
    """`database`: used by nobody else."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._pid = 0
        self.lost: set[int] = set()  # own sessions of which the server may not know that they are over

    def rename(self, incarnation: int) -> None:
        self._database.rename(application(incarnation))

    def claim(self, incarnation: int, accounts: Sequence[AccountId], *, take: bool = True) -> Claimed:
        """All at once. Rows that others rightly have are only read: they are in use there. Raises EngineFailed."""
        with self._database.read() as reader:
            living, timeline = _living(reader, incarnation)
            found = _located(reader, incarnation, accounts, timeline)
        wanted = [account for account, one in found.items() if isinstance(one, Nobody)]
        if not (living and wanted and take):
            return Claimed(timeline, living, found)
        try:
            taken = self._take(incarnation, wanted)
        except EngineFailed as error:
            if error.cause is not Cause.BUSY:
                raise
            return self._one_by_one(incarnation, wanted, Claimed(timeline, living, found))
        return Claimed(taken.timeline, taken.living, {**found, **taken.found})

    def _one_by_one(self, incarnation: int, wanted: Sequence[AccountId], made: Claimed) -> Claimed:
        """One row that stays locked must not keep the others from being claimed."""
        found = dict(made.found)
        busy: list[Refusal] = []
        for account in wanted:
            if len(busy) == BUSY:
                found[account] = busy[-1]
                continue
            try:
                taken = self._taken(incarnation, [account])
            except EngineFailed as error:
                if error.cause is not Cause.BUSY:
                    raise
                busy.append(error.refusal)
                found[account] = error.refusal
                continue
            if not taken.living:
                return taken
            found.update(taken.found)
        return Claimed(made.timeline, True, found)

    def _take(self, incarnation: int, wanted: Sequence[AccountId]) -> Claimed:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._taken(incarnation, wanted)
            except EngineFailed as error:
                if error.cause is not Cause.BUSY or attempt == ATTEMPTS:
                    raise
            self._end_sessions(incarnation)
        raise AssertionError

    def _taken(self, incarnation: int, wanted: Sequence[AccountId]) -> Claimed:
        self._pid = 0
        try:
            with self._database.write() as tx:
                return self._within(tx, incarnation, wanted)
        except EngineFailed as error:
            if error.cause is not Cause.BUSY and self._pid:
                self.lost.add(self._pid)
            raise

    def _within(self, tx: Transaction, incarnation: int, wanted: Sequence[AccountId]) -> Claimed:
        row = tx.row(f"SELECT pg_backend_pid(), set_config('lock_timeout', '{LOCK_MS}', true)")
        self._pid = row[0] if row is not None else 0
        tx.lock_many("account", ("id",), [(account,) for account in wanted])
        living, timeline = _living(tx, incarnation)
        if not living:
            return Claimed(timeline, False)
        found = _located(tx, incarnation, wanted, timeline)
        free = [account for account, one in found.items() if isinstance(one, Nobody)]
        epochs = [row[0] for row in tx.rows("SELECT nextval('epoch') FROM generate_series(1, ?)", len(free))]
        before = tx.select_many("account", ("account", "opened_under"), ("id",), [(account,) for account in free])
        jump(tx, {number: steps(under, timeline) for number, under in before if under != timeline})
        rows = [(account, incarnation, epoch, timeline) for account, epoch in zip(free, epochs, strict=True)]
        tx.update_many("account", ("id",), ("incarnation", "epoch", "opened_under"), rows)
        claimed = {account: Here(epoch) for account, epoch in zip(free, epochs, strict=True)}
        return Claimed(timeline, True, {**found, **claimed})

    def _end_sessions(self, incarnation: int) -> None:
        """They may be frozen in the middle of a transaction, with the row locked."""
        with self._database.read() as reader:
            ended = len(reader.rows(_END_SESSIONS))
            for pid in self.lost:
                ended += len(reader.rows(_END_SESSION, pid, application(incarnation)))
        self.lost.clear()
        if ended:
            log.warning("sessions-ended", sessions=ended)

    def release(self, incarnation: int, account: AccountId, epoch: int) -> None:
        with self._database.write() as tx:
            tx.run(
                "UPDATE account SET incarnation = NULL WHERE id = ? AND incarnation = ? AND epoch = ?",
                account, incarnation, epoch,
            )  # fmt: skip

    def living(self) -> list[tuple[Peer, int]]:
        with self._database.read() as reader:
            rows = reader.rows(f"SELECT {', '.join(_PEER)} FROM incarnation WHERE NOT ended ORDER BY backend")
            counts: dict[int, int] = dict(reader.rows(_COUNTS))
        return [(Peer(*row), counts.get(row[0], 0)) for row in rows]

    def purge(self, ended: Sequence[int]) -> list[int]:
        with self._database.write() as tx:
            for incarnation in ended:
                tx.run(
                    "DELETE FROM incarnation WHERE incarnation = ? AND ended"
                    " AND NOT EXISTS (SELECT 1 FROM account WHERE incarnation = ?)",
                    incarnation, incarnation,
                )  # fmt: skip
            return [row[0] for row in tx.rows("SELECT incarnation FROM incarnation WHERE ended")]

    def close(self) -> None:
        self._database.close()


def _living(reader: Reader, incarnation: int) -> tuple[bool, str]:
    """Whether the claimant lives, and the timeline: who is of another one lives no longer."""
    row = reader.row(
        f"SELECT t.timeline, i.incarnation IS NOT NULL FROM (SELECT {TIMELINE} AS timeline) t"
        " LEFT JOIN incarnation i ON i.incarnation = ? AND NOT i.ended AND i.timeline = t.timeline",
        incarnation,
    )
    assert row is not None
    return row[1], row[0]


def _located(reader: Reader, incarnation: int, accounts: Sequence[AccountId], timeline: str) -> dict[AccountId, Found]:
    """Where each is; Nobody's are those that this incarnation may claim, among them its own: the answer to the claim
    was lost, and nobody else may have them.
    """
    rows = {row[0]: row for row in reader.select_many("account", _ACCOUNT, ("id",), [(one,) for one in accounts])}
    named = {row[3] for row in rows.values() if row[3] is not None}
    found = reader.select_many("incarnation", _HOST, ("incarnation",), [(one,) for one in named])
    hosts = {row[0]: Elsewhere(row[1], row[2], row[0]) for row in found if not row[3]}
    gone = [(account,) for account, row in rows.items() if row[2] == MOVED]
    pools: dict[bytes, int] = dict(reader.select_many("moved", ("id", "pool"), ("id",), gone)) if gone else {}
    located: dict[AccountId, Found] = {}
    for account in accounts:
        row = rows.get(account)
        if row is None or row[2] == REMOVED:
            located[account] = Refusal(Cause.NOT_FOUND, "no such account in this pool")
        elif account in pools:
            located[account] = Moved(pools[account])
        elif row[2] != ACTIVE:
            located[account] = Refusal(MOVING.cause, MOVING.what)
        elif row[3] == incarnation or row[4] != timeline:
            located[account] = Nobody()
        else:
            located[account] = hosts.get(row[3], Nobody())
    return located
