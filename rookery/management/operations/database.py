"""What a PostgreSQL server must be to keep mail, asked of the server itself: for `rookery init` and `rookery check`."""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from rookery.base.errors import RookeryError
from rookery.storage.postgres_dial import CONNECT, Connection, said
from rookery.storage.postgres_servers import servers

OLDEST = 150_000  # as the server counts: 15.0
ROUNDS = 3  # of transactions; whoever hands out sessions in turn, or the last one first, is found out in three
ASKED = (
    "server_version", "server_version_num", "server_encoding", "fsync", "synchronous_commit",
    "synchronous_standby_names",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """`warning`: it works, and promises less."""

    found: str
    expected: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.found}; expected {self.expected}"


def examine(conninfo: str) -> list[Finding]:
    """What is wrong with the server for our purpose; refusals before warnings. Takes seconds when it is away."""
    try:
        servers(conninfo)
        with _connected(conninfo) as first:
            found = [*_facts(first)]
            if not any(one.warning is False for one in found):
                with _connected(conninfo) as second:
                    found += _pooler(first, second)
    except RookeryError as error:
        return [
            Finding(error.what, "such as host=db1 dbname=rookery user=rookery, or postgresql://rookery@db1/rookery")
        ]
    except psycopg.Error as error:
        return [Finding(f"the database cannot be reached: {said(error)}", "a PostgreSQL server that lets this role in")]
    return sorted(found, key=lambda one: one.warning)


def _connected(conninfo: str) -> Connection:
    return Connection.connect(conninfo, autocommit=True, connect_timeout=CONNECT, application_name="rookery check")


def _facts(connection: Connection) -> Iterator[Finding]:
    columns = ", ".join(f"current_setting('{name}')" for name in ASKED)
    row = connection.execute(
        f"SELECT {columns}, pg_is_in_recovery(), has_database_privilege(current_database(), 'CREATE'),"
        " (SELECT count(*) FROM pg_stat_replication)".encode()
    ).fetchone()
    assert row is not None
    facts = dict(zip(ASKED, map(str, row), strict=False))
    standby, may_create, standbys = row[len(ASKED) :]
    if int(facts["server_version_num"]) < OLDEST:
        yield Finding(f"PostgreSQL {facts['server_version']}", "15 or newer")
    if standby:
        yield Finding("a standby, which takes no changes", "the primary; name all hosts, target_session_attrs=primary")
    if facts["server_encoding"] != "UTF8":
        yield Finding(f"a database of the encoding {facts['server_encoding']}", "one made with ENCODING 'UTF8'")
    if not may_create:
        yield Finding("a role that may not make schemas", "the right CREATE on the database")
    if facts["fsync"] != "on":
        yield Finding("fsync = off", "on: a power cut destroys the database", warning=True)
    if facts["synchronous_commit"] in ("off", "local"):
        yield Finding(
            f"synchronous_commit = {facts['synchronous_commit']}",
            "on: what was acknowledged waits for the disk, and for a synchronous standby",
            warning=True,
        )
    if not standby and not facts["synchronous_standby_names"]:
        yield Finding(
            "no synchronous standby (synchronous_standby_names is empty)",
            "one: without it a fail-over may lose the last mail that was acknowledged",
            warning=True,
        )
    if not standby and facts["synchronous_standby_names"] and not standbys:
        yield Finding(
            f"every commit waits: synchronous_standby_names = {facts['synchronous_standby_names']}, none is connected",
            "a standby of that name, or none to wait for",
            warning=True,
        )


def _pooler(first: Connection, second: Connection) -> Iterator[Finding]:
    """Our sessions are found and ended by their names, and hold settings: they must stay what they are."""
    pids: list[tuple[int, int]] = []
    for number in range(ROUNDS):
        first.execute("BEGIN")
        pid = _pid(first)  # only now it has a session
        second.execute("BEGIN")
        pids.append((pid, _pid(second)))
        for connection in (first, second) if number % 2 == 0 else (second, first):
            connection.execute("COMMIT")
    if len(set(pids)) > 1:
        yield Finding(
            "a pooler that gives each transaction another session (pg_backend_pid differs)",
            "the server itself, or a pooler that gives a connection one session for life",
        )


def _pid(connection: Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(str(row[0]))
