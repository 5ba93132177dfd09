"""A cluster whose way to PostgreSQL is tapped (wiretap.py), so that a backend stops at a chosen point of a transaction.

with tapped_cluster(tmp_path, accounts=2) as (cluster, tap):
    tap.stop_in(cluster.backend("b1").pid, HALF)
    client.send("APPEND INBOX", ...)
    tap.stopped()
"""

import contextlib
import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.journeys import wiretap
from tests.journeys.cluster import Cluster, PostgresServer, running_server
from tests.journeys.waiting import PATIENCE, wait_until
from tests.journeys.wiretap import HALF, IDLE, PIPELINE, SENDING

SOCKET = ".s.PGSQL.5432"
# What pg_stat_activity says of the session in each state.
SHOWN = {
    IDLE: ("idle in transaction", "ClientRead"),
    PIPELINE: ("active", "ClientRead"),
    HALF: ("idle in transaction", "ClientRead"),
    SENDING: ("active", "ClientWrite"),
}


class Tapped:
    """`uri`: the tapped way."""

    def __init__(self, folder: Path, database: PostgresServer) -> None:
        facts = conninfo_to_dict(database.uri)
        way = f"{facts['host']}/.s.PGSQL.{facts.get('port') or 5432}"
        self._database = database
        self._state = ""
        self._process = subprocess.Popen(
            [sys.executable, wiretap.__file__, str(folder / SOCKET), way],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self.uri = make_conninfo(database.uri, host=str(folder), port="5432")
        wait_until((folder / SOCKET).exists, "the tapped way")

    def _tell(self, **what: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        assert "ok" in self._heard()

    def _heard(self) -> dict[str, int]:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], PATIENCE)[0], "the tap says nothing"
        heard: dict[str, int] = json.loads(self._process.stdout.readline())
        return heard

    def stop_in(self, pid: int, state: str) -> None:
        """That process is stopped, in that state, with the next change that its store writes."""
        self._state = state
        self._tell(pid=pid, state=state)

    def stopped(self) -> None:
        """Returns when it is, and the server sees the state."""
        session = self._heard()["session"]

        def shown() -> list[tuple[object, ...]]:
            return self._database.run("SELECT state, wait_event FROM pg_stat_activity WHERE pid = %s", session)

        wait_until(lambda: shown() == [SHOWN[self._state]], f"a session that is {self._state}")

    def go_on(self) -> None:
        """What was kept is sent, as far as anybody is there."""
        self._tell(go=True)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def tapped_cluster(folder: Path, accounts: int) -> Iterator[tuple[Cluster, Tapped]]:
    """Everything it started has ended when it returns."""
    with running_server() as database, tempfile.TemporaryDirectory(prefix="tap-") as way:
        tap = Tapped(Path(way), database)
        cluster = Cluster(folder / "site", database, tap.uri)
        try:
            cluster.set_up(accounts)
            yield cluster, tap
        finally:
            cluster.kill()
            tap.close()
