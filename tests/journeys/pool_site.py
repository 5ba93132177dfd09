"""A site on PostgreSQL whose backends live on nodes of a `Network`, and clients that keep books around a fault.

Clients use TLS, for their addresses are not loopback. Every delivery and append carries a mark of its own and is tried
once: an acknowledged mark must be there exactly once in the end, any other at most once.
"""

import imaplib
import json
import os
import re
import smtplib
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.journeys.ledger import LOST, MARK, Ledger, letter
from tests.journeys.network import Network
from tests.journeys.site import ROOKERY, STOP_TIME, RunningSite

PASSWORD = "correct-horse"
PATIENCE = 3.0  # seconds a client waits for an answer
PACE = 0.1  # seconds between two changes of one client: faults are what shall trouble the backends, not load
Acknowledged = tuple[float, str, str, str]  # when, at which backend, account, mark


class PoolSite:
    """`backends`: names of nodes. `database`: how each of them connects."""

    def __init__(self, folder: Path, network: Network, backends: Sequence[str], database: str) -> None:
        self.network = network
        self.backends = tuple(backends)
        self.ledger = Ledger()
        self.acknowledged: list[Acknowledged] = []
        self._last: dict[str, str] = {}  # where each account was open last
        self.accounts: Iterator[str] = iter(())  # that no test had before
        self._site = RunningSite(folder)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._site.offset = 0  # each node has all ports for itself
        self._site.init()
        addresses = ", ".join(f'{name} = "{network[name].address}"' for name in backends)
        self._site.configure(
            store__database=f'"{database}"',
            store__backends=f"{{ {addresses} }}",
            directory__database=f'"{database}"',
            queue__database=f'"{database}"',
            lmtp__trusted='["10.0.0.0/8"]',
            drain__time='"1s"',
            limits__before_login="1000",
            limits__connections_per_address="1000",
        )

    # --- processes ---

    def start(self) -> None:
        for name in self.backends:
            self._serve(name, {})
        for name in self.backends:
            self._wait(name)

    def restart(self, name: str, environment: Mapping[str, str]) -> None:
        """One backend, with these variables in its environment."""
        self._processes[name].terminate()
        _ended(self._processes[name])
        self._serve(name, environment)
        self._wait(name)

    def _serve(self, name: str, environment: Mapping[str, str]) -> None:
        with self.log_file(name).open("ab") as log:
            self._processes[name] = self.network[name].popen(
                [*ROOKERY, "--site", str(self._site.folder), "serve", "--backend", name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **environment},
            )

    def _wait(self, name: str) -> None:
        self._site.process = self._processes[name]
        self._site.log_file = self.log_file(name)
        self._site.wait_for_line("ready")

    def log_file(self, name: str) -> Path:
        return self._site.folder.parent / f"{name}.log"

    def log(self, name: str) -> str:
        return self.log_file(name).read_text(errors="replace")

    def kill(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            _ended(process)

    def rookery(self, *arguments: str) -> str:
        return self._site.rookery(*arguments).stdout

    def add_accounts(self, count: int) -> list[str]:
        accounts = [f"user{number}@example.test" for number in range(count)]
        file = self._site.folder.parent / "accounts.csv"
        file.write_text("".join(f"{account},{PASSWORD}\n" for account in accounts))
        self.rookery("domain", "add", "example.test")
        self.rookery("account", "import", str(file))
        return accounts

    def host(self, account: str) -> dict[str, Any]:
        """As `rookery account host` says: backend, incarnation, epoch."""
        found: dict[str, Any] = json.loads(self.rookery("account", "host", account, "--json"))
        return found

    # --- clients ---

    def imap(self, backend: str, account: str, *, patience: float = PATIENCE) -> imaplib.IMAP4_SSL:
        """Logged in. Raises one of LOST: referred elsewhere, away, too slow."""
        client = imaplib.IMAP4_SSL(
            self.network[backend].address, 993, ssl_context=_unverified(), timeout=patience
        )  # fmt: skip
        try:
            client.login(account, PASSWORD)
        except BaseException:
            hang_up(client)
            raise
        return client

    def open_anywhere(self, account: str, *, patience: float = PATIENCE) -> tuple[str, imaplib.IMAP4_SSL]:
        """Where a login succeeds first; each backend is asked in turn, for 20 s in all."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for backend in self.backends:
                with suppress(*LOST):
                    return backend, self.imap(backend, account, patience=patience)
        raise AssertionError(f"{account} opens nowhere")

    def open_at(self, backend: str, accounts: Sequence[str]) -> list[imaplib.IMAP4_SSL]:
        """Sessions in INBOX there, before anybody else asks for these accounts."""
        clients = []
        for account in accounts:
            client = self.imap(backend, account)
            self._last[account] = backend
            client.select("INBOX")
            clients.append(client)
        return clients

    def append(self, client: imaplib.IMAP4, backend: str, account: str) -> None:
        """Raises one of LOST."""
        mark = self.ledger.attempt(account, "append")
        answer, data = client.append("INBOX", "", "", letter(mark, account))
        if answer != "OK":
            raise imaplib.IMAP4.error(data[0])
        self._acknowledge(backend, account, mark)
        found = re.search(rb"APPENDUID (\d+) (\d+)", data[0])
        assert found, data
        self.ledger.saw((account, int(found[1]), int(found[2])), mark)

    def deliver(self, backend: str, account: str, *, patience: float = PATIENCE) -> None:
        """By LMTP to that backend. Raises one of LOST."""
        mark = self.ledger.attempt(account, "lmtp")
        with _lmtp(self.network[backend].address, patience) as client:
            client.sendmail("sender@elsewhere.test", [account], letter(mark, account))
            self._acknowledge(backend, account, mark)

    def _acknowledge(self, backend: str, account: str, mark: str) -> None:
        self.ledger.acknowledge(mark)
        self.acknowledged.append((time.monotonic(), backend, account, mark))

    def work(self, account: str, stop: threading.Event) -> None:
        """Append and deliver where the account is, and look for it elsewhere when that fails."""
        while not stop.is_set():
            for backend in sorted(self.backends, key=lambda one: one != self._last.get(account)):
                with suppress(*LOST):
                    client = self.imap(backend, account)
                    self._last[account] = backend
                    try:
                        while not stop.is_set():
                            self.append(client, backend, account)
                            self.deliver(backend, account)
                            stop.wait(PACE)
                    finally:
                        hang_up(client)
                if stop.wait(PACE):
                    return

    @contextmanager
    def workers(self, accounts: Sequence[str]) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=self.work, args=(account, stop), daemon=True) for account in accounts]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)

    def taken_over(self, account: str, since: float, but: str) -> float:
        """Seconds from `since` to the first delivery acknowledged anywhere but there; tries until then."""
        others = [backend for backend in self.backends if backend != but]
        while time.monotonic() < since + 20:
            for backend in others:
                with suppress(*LOST):
                    self.deliver(backend, account)
                    return time.monotonic() - since
        raise AssertionError(f"{account} was not taken over from {but}")

    def epochs(self, accounts: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Where each is, and under which epoch."""
        hosts = {account: self.host(account) for account in accounts}
        return {account: (host["host"], host["epoch"]) for account, host in hosts.items()}

    def check(self, accounts: Sequence[str], *, lost: Sequence[str] = ()) -> None:
        """Everything acknowledged is there exactly once, but what may be `lost`; nothing twice; no UID for two."""
        present: Counter[str] = Counter()
        for account in accounts:
            _, client = self.open_anywhere(account, patience=10)
            for mark, key in read_marks(client, account):
                present[mark] += 1
                self.ledger.saw(key, mark)
            hang_up(client)
        ours = {mark for mark in self.ledger.acknowledged if self.ledger.attempted[mark] in accounts}
        missing = {mark for mark in ours if not present[mark]} - set(lost)
        assert not missing, f"{len(missing)} acknowledged are missing: {sorted(missing)[:10]}"
        doubled = [mark for mark, number in present.items() if number > 1]
        assert not doubled, f"stored twice: {doubled[:10]}"


def read_marks(client: imaplib.IMAP4, account: str) -> list[tuple[str, tuple[str, int, int]]]:
    """Every message of INBOX: its mark, and account, UIDVALIDITY and UID."""
    client.select("INBOX")
    validity = int(client.response("UIDVALIDITY")[1][0])
    answer, data = client.uid("FETCH", "1:*", "(UID BODY.PEEK[HEADER.FIELDS (X-MARK)])")
    assert answer == "OK", data
    marks = []
    for part in data:
        if isinstance(part, tuple):
            found, uid = MARK.search(part[1]), re.search(rb"UID (\d+)", part[0])
            assert found, part
            assert uid, part
            marks.append((found[1].decode(), (account, validity, int(uid[1]))))
    return marks


def _ended(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(STOP_TIME)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def hang_up(client: imaplib.IMAP4) -> None:
    with suppress(*LOST):
        client.shutdown()


def answer_to(client: imaplib.IMAP4, command: str) -> str:
    """OK, NO, BYE (also: it hung up), or SILENT."""
    try:
        return str(getattr(client, command)()[0])
    except TimeoutError:
        return "SILENT"
    except imaplib.IMAP4.error as error:
        return "BYE" if isinstance(error, imaplib.IMAP4.abort) else "NO"
    except OSError:
        return "BYE"


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _lmtp(address: str, patience: float) -> Iterator[smtplib.LMTP]:
    client = smtplib.LMTP(address, 24, local_hostname="client.test", timeout=patience)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def serving(folder: Path, network: Network, backends: Sequence[str], database: str) -> Iterator[PoolSite]:
    site = PoolSite(folder, network, backends, database)
    with ExitStack() as opened:
        opened.callback(site.kill)
        site.start()
        yield site
