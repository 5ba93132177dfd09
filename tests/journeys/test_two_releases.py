"""A pool whose backends are of two releases: the newer brings the tables forward while the older is at work, and either
serves what the other wrote; then one comes that needs the tables for itself, and the older ones end.

The newer releases are copies of this one, with a higher number and one more step of each schema; on the cluster port
they say one more of everything, and speak one more version.
"""

import ast
import contextlib
import os
import re
import shutil
import signal
import smtplib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

import rookery
from tests import postgres as server
from tests.journeys.cluster import BACKENDS, Cluster
from tests.journeys.imap import Client, Refused
from tests.journeys.site import STOP_TIME
from tests.journeys.waiting import wait_until

pytestmark = pytest.mark.postgres
postgres = server.postgres

TREE = Path(rookery.__file__).parent.parent
STEPS = {
    "storage/hosting.py": ("SHARED_MIGRATIONS", "account"),
    "distribution/directory/opening.py": ("MIGRATIONS", "account"),
    "distribution/spool/shared.py": ("SHARED_MIGRATIONS", "message"),
}
SAID = ("wire/cluster/values.py", "distribution/service/calls.py", "distribution/service/signals.py")
VERSIONS = "OLDEST, NEWEST = 1, 1"
ALICE, BOB = "user0@example.test", "user1@example.test"


def make_release(folder: Path, version: str, number: int, oldest: str) -> Path:
    """A copy of this program that calls itself `version`, with a step `number` of all schemas of which it says that
    releases from `oldest` on may use the tables."""
    shutil.copytree(TREE / "rookery", folder / "rookery")
    code = folder / "rookery"
    with (code / "__init__.py").open("a") as file:
        file.write(f'__version__ = "{version}"\n')
    for path, (steps, table) in STEPS.items():
        statement = f"ALTER TABLE {table} ADD COLUMN since_{number} TEXT NOT NULL DEFAULT 'x'"
        with (code / path).open("a") as file:
            file.write(f"\nfrom rookery.storage.migrations import Migration  # noqa\n{steps} = (*{steps},")
            file.write(f" Migration({number}, ({statement!r},), {oldest!r}))\n")
    for path in SAID:
        text = with_more_fields((code / path).read_text(), number)
        (code / path).write_text(text.replace(VERSIONS, "OLDEST, NEWEST = 1, 2"))
    return folder


def with_more_fields(source: str, number: int) -> str:
    """The same with one more field, the last, of each Struct that is sent as an array."""
    lines = source.split("\n")
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.ClassDef) and any(one.arg == "array_like" for one in node.keywords):
            assert node.end_lineno is not None
            lines.insert(node.end_lineno, f'    since_{number}: str = "of a later release"')
    assert len(lines) > source.count("\n") + 1
    return "\n".join(lines)


class Releases(Cluster):
    """Backends are started one by one, each of a release of its own."""

    def __init__(self, folder: Path, database: server.Postgres) -> None:
        super().__init__(folder, database)  # type: ignore[arg-type]
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *, environment: dict[str, str] | None = None) -> None:
        self.serve("b1", TREE)

    def serve(self, name: str, tree: Path) -> None:
        """Raises RuntimeError, with the log, when it ends before it is ready."""
        self.log_file = self.folder.parent / f"{name}.log"
        with self.log_file.open("wb") as log:
            self.process = self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "rookery", "--site", str(self.folder), "serve", "--backend", name],
                stdout=subprocess.PIPE, stderr=log, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)},
            )  # fmt: skip
        self.wait_for_line("ready")

    def end(self, name: str, number: signal.Signals | None = None) -> int:
        """Without a signal it is to end by itself."""
        process = self.running.pop(name)
        if number is not None:
            process.send_signal(number)
        return process.wait(STOP_TIME)

    def kill(self) -> None:
        for name in list(self.running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.end(name, signal.SIGKILL)

    def log_of(self, name: str) -> str:
        return (self.folder.parent / f"{name}.log").read_text(errors="replace")

    def deliver(self, name: str, account: str, mark: str) -> None:
        """Through the queue of that backend."""
        with smtplib.SMTP(BACKENDS[name], self.ports["smtp"], timeout=20) as client:
            client.sendmail("sender@elsewhere.test", [account], f"Subject: {mark}\r\n\r\nx\r\n")

    def marks(self, account: str) -> Counter[str]:
        """The subjects of what is in INBOX, wherever it is opened."""
        client, _ = self.log_in(account)
        with contextlib.closing(client):
            client.ask("SELECT INBOX")
            lines = client.ask("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").lines
        return Counter(mark.decode() for line in lines for mark in re.findall(rb"Subject: (\S+)", line))


class Worker:
    """Appends to an account, wherever it is, one after the other until told to stop. `done`: what was acknowledged."""

    def __init__(self, cluster: Releases, account: str) -> None:
        self._cluster = cluster
        self._account = account
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.done: list[str] = []
        self._thread.start()

    def _work(self) -> None:
        number = 0
        while not self._stop.is_set():
            client, _ = self._cluster.log_in(self._account)
            with contextlib.closing(client), contextlib.suppress(OSError, EOFError, Refused):
                while not self._stop.wait(0.01):
                    number += 1
                    append(client, f"work-{number}")
                    self.done.append(f"work-{number}")

    def more(self) -> None:
        """Returns when some more were acknowledged."""
        before = len(self.done)
        wait_until(lambda: len(self.done) >= before + 5, "five more appends")

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)


def append(client: Client, mark: str) -> None:
    client.ask("APPEND INBOX", f"Subject: {mark}\r\n\r\nx\r\n".encode())


def use(cluster: Releases, name: str, mark: str) -> None:
    """Append, flag, copy and take away at this backend, on what is there."""
    with contextlib.closing(cluster.log_in(ALICE, name)[0]) as client:
        append(client, mark)
        append(client, "gone")
        client.ask("SELECT INBOX")
        client.ask("STORE *:* +FLAGS (\\Deleted)")
        client.ask("EXPUNGE")
        client.ask(f"STORE *:* +FLAGS (\\Flagged by-{mark})")
        client.ask("COPY *:* Archive")


@pytest.fixture
def cluster(postgres: str, tmp_path: Path) -> Iterator[Releases]:
    """Release 0.1.0 (this one) serves as b1."""
    fresh = server.Postgres(postgres)
    name = f"releases_{fresh.schema}"
    fresh.run(f"CREATE DATABASE {name}")
    made = Releases(tmp_path / "site", server.Postgres(make_conninfo(postgres, dbname=name)))
    try:
        made.set_up(2)
        yield made
    finally:
        made.kill()
        fresh.run(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_release_runs_beside_the_next_and_ends_when_one_comes_that_cannot(cluster: Releases, tmp_path: Path) -> None:
    following = make_release(tmp_path / "next", "0.2.0", 98, "0.1.0")
    worker = Worker(cluster, BOB)
    worker.more()
    use(cluster, "b1", "one")
    cluster.serve("b2", following)
    for schema in ("store", "directory", "spool"):
        assert cluster.database.run(f"SELECT version, written_by FROM {schema}.schema_version") == [(98, "0.2.0")]
    worker.more()

    use(cluster, "b1", "two")
    cluster.deliver("b2", ALICE, "queued-at-2-for-1")
    wait_until(lambda: cluster.marks(ALICE)["queued-at-2-for-1"], "mail from the queue of b2")
    cluster.rookery("backend", "drain", "b1")
    use(cluster, "b2", "three")
    cluster.deliver("b1", ALICE, "queued-at-1-for-2")
    wait_until(lambda: cluster.marks(ALICE)["queued-at-1-for-2"], "mail from the queue of b1")
    cluster.rookery("backend", "undrain", "b1")
    worker.more()
    cluster.deliver("b2", ALICE, "of-a-dead-one")
    cluster.end("b2", signal.SIGKILL)
    use(cluster, "b1", "four")
    worker.more()
    assert cluster.end("b1", signal.SIGTERM) == 0
    cluster.serve("b1", TREE)  # for the former release may also start again
    worker.more()
    use(cluster, "b1", "five")

    cluster.serve("b2", following)
    alone = make_release(tmp_path / "alone", "0.3.0", 99, "0.3.0")
    cluster.serve("b3", alone)
    for name, version in (("b1", "0.1.0"), ("b2", "0.2.0")):
        assert cluster.end(name) == 1
        refused = f"written by Rookery 0.3.0; this is Rookery {version}, which knows"
        assert refused in cluster.log_of(name)
        assert "Use Rookery 0.3.0 or newer, or restore a copy of before the upgrade" in cluster.log_of(name)
    worker.more()
    worker.stop()
    with pytest.raises(RuntimeError, match=r"ended with 1:\s.*written by Rookery 0\.3\.0; this is Rookery 0\.1\.0"):
        cluster.serve("b1", TREE)

    use(cluster, "b3", "six")
    wait_until(lambda: cluster.marks(ALICE)["of-a-dead-one"], "mail that a dead backend had taken in")
    expected = ("one", "two", "three", "four", "five", "six", "queued-at-2-for-1", "queued-at-1-for-2", "of-a-dead-one")
    assert cluster.marks(ALICE) == Counter(expected)
    found = cluster.marks(BOB)
    assert set(worker.done) <= set(found)
    assert max(found.values()) == 1, "stored twice"
    with contextlib.closing(cluster.log_in(ALICE)[0]) as client:
        client.ask("SELECT INBOX")
        for mark in ("one", "two", "three", "four", "five", "six"):
            (found_by,) = client.ask(f"SEARCH FLAGGED KEYWORD by-{mark}").lines
            assert re.fullmatch(rb"\* SEARCH [0-9]+\r\n", found_by), f"flagged by {mark}: {found_by!r}"
        (archived,) = client.ask("STATUS Archive (MESSAGES)").lines
        assert b"(MESSAGES 6)" in archived
