"""Two PostgreSQL nodes and a witness on a `Network`, made from the files and commands that docs/hosting.md prints."""

import json
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.docs.markdown import DOCS, blocks
from tests.journeys.network import Network, Node, needs_network
from tests.journeys.waiting import wait_until

USER = "postgres"
NODES = ("pg1", "pg2")
MACHINES = (*NODES, "witness")
PRINTED = {"pg1": "192.0.2.21", "pg2": "192.0.2.22", "witness": "192.0.2.23"}  # the addresses of the page
# What Debian's packages bring and start by themselves; Rookery's own commands; and what is typed later.
SKIPPED = r"apt-get |rm -rf |systemctl stop |pg_dropcluster |rookery |patronictl .* switchover"
PASSWORD = "SECRET-3"
_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian's

needs_patroni = [
    *needs_network,
    pytest.mark.skipif(
        not (_BINARIES and shutil.which("patroni") and shutil.which("etcd")),
        reason="no Patroni, etcd or PostgreSQL of the system (Debian: patroni, etcd-server, postgresql)",
    ),
]


def printed(language: str) -> list[str]:
    """The blocks of the page in that language, in order."""
    return [block.text + "\n" for block in blocks((DOCS / "hosting.md").read_text(), language)]


def typed() -> list[str]:
    """Every line that the page tells to type, in order."""
    return [line for text in printed("sh") for line in text.splitlines()]


class Machine:
    """One of the three. `folder` holds what the page has below /var/lib, /etc and /run."""

    def __init__(self, name: str, node: Node, folder: Path, addresses: Mapping[str, str]) -> None:
        self.name = name
        self.node = node
        self._folder = folder
        self._addresses = addresses
        self._children: list[subprocess.Popen[bytes]] = []
        owner = pwd.getpwnam(USER)
        self._ids = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        for place in (folder, folder / "run", folder / "etcd"):
            place.mkdir()
            os.chown(place, owner.pw_uid, owner.pw_gid)
        (settings,), (patroni,) = printed("ini"), printed("yaml")
        self._etcd = dict(line.split("=", 1) for line in self.fill(settings).splitlines())
        (folder / "config.yml").write_text(self.fill(patroni))

    def fill(self, text: str) -> str:
        """As the page says, and our places for the system's."""
        text = re.sub(r"\bADDRESS\b", self.node.address, re.sub(r"\bNAME\b", self.name, text))
        places = {
            "192.0.2.0/24": self.node.address.rpartition(".")[0] + ".0/24",
            **{address: self._addresses[name] for name, address in PRINTED.items()},
            "/run/postgresql": f"{self._folder}/run",
            "/usr/lib/postgresql/15/bin": str(_BINARIES[-1]),
            "/var/lib/postgresql": str(self._folder),
            "/var/lib/etcd": f"{self._folder}/etcd",
            "/etc/patroni": str(self._folder),
        }
        for place, ours in places.items():
            text = text.replace(place, ours)
        return text

    def log(self, service: str) -> str:
        file = self._folder / f"{service}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def type(self, line: str) -> str:
        """What the page tells to type, as the user `postgres`; what it prints. Passwords are those of the page."""
        if service := re.fullmatch(r"systemctl enable --now (etcd|patroni)", line):
            self.start(service[1])
            return ""
        done = subprocess.run(
            self._as_user(*shlex.split(self.fill(line))), env=self._environment(), cwd=self._folder, text=True,
            input=f"{PASSWORD}\n{PASSWORD}\n", capture_output=True, timeout=60, check=False, start_new_session=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{line} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, service: str) -> None:
        command = {"etcd": ["etcd"], "patroni": ["patroni", str(self._folder / "config.yml")]}[service]
        with (self._folder / f"{service}.log").open("ab") as log:
            child = subprocess.Popen(self._as_user(*command), env=self._environment(), stdout=log, stderr=log)
        self._children.append(child)

    def boot(self) -> None:
        self.start("etcd")
        if self.name in NODES:
            self.start("patroni")

    def kill(self) -> None:
        """Every process there, as when the power goes."""
        while pids := self.node.pids():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for child in self._children:
                child.wait()
            self._children.clear()

    def _as_user(self, *command: str) -> list[str]:
        return self.node.command(["setpriv", *self._ids, *command])

    def _environment(self) -> dict[str, str]:
        """Nothing of a virtual environment: these are programs of the system."""
        path = f"{_BINARIES[-1]}:/usr/bin:/bin:/usr/sbin:/sbin"
        return self._etcd | {"PATH": path, "LANG": "C.UTF-8", "PGHOST": f"{self._folder}/run"}


class Trio:
    """The three machines."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.folder = folder
        addresses = {name: network[name].address for name in MACHINES}
        self.machines = {name: Machine(name, network[name], folder / name, addresses) for name in MACHINES}
        self.conninfo = ""

    def set_up(self) -> None:
        """Everything that the page tells to type, in its order."""
        for line in typed():
            if line.startswith("rookery init"):
                self._password_file(re.search(r'--database "([^"]+)"', line)[1])  # type: ignore[index]
            elif line.endswith("--now etcd"):
                for machine in self.machines.values():
                    machine.type(line)
            elif line.startswith("curl "):
                wait_until(lambda: self._healthy(line.split()[-1]), "etcd to elect")  # noqa: B023  called at once
            elif line.endswith("--now patroni"):
                for name in NODES:
                    self.machines[name].type(line)
                wait_until(self.whole, "a leader and a synchronous standby", 120)
            elif not re.match(SKIPPED, line):
                print(self.machines[self.leader()].type(line))

    def _healthy(self, url: str) -> bool:
        with suppress(OSError), urllib.request.urlopen(self.machines["pg1"].fill(url), timeout=2) as answer:
            return b'"health":"true"' in answer.read()
        return False

    def _password_file(self, conninfo: str) -> None:
        (line,) = [text for text in printed("") if text.startswith("*:")]
        file = self.folder / "pgpass"
        file.write_text(line)
        file.chmod(0o600)
        self.conninfo = self.machines["pg1"].fill(conninfo.replace("/etc/rookery/pgpass", str(file)))

    def roles(self, asked: str = "") -> dict[str, str]:
        """Of each node, as one of them knows it: leader, sync_standby, replica; or its state, if that is odd."""
        for name in [asked] if asked else NODES:
            with suppress(OSError, ValueError):
                with urllib.request.urlopen(f"http://{self.network[name].address}:8008/cluster", timeout=2) as answer:
                    members = json.load(answer)["members"]
                sound = ("running", "streaming")
                return {one["name"]: one["role"] if one["state"] in sound else one["state"] for one in members}
        return {}

    def whole(self) -> bool:
        """Both say so."""
        known = [self.roles(name) for name in NODES]
        return known[0] == known[1] and sorted(known[0].values()) == ["leader", "sync_standby"]

    def leader(self) -> str:
        (name,) = [name for name, role in self.roles().items() if role == "leader"]
        return name

    def other(self, name: str) -> str:
        return NODES[1 - NODES.index(name)]


@contextmanager
def patroni(network: Network) -> Iterator[Trio]:
    """All three, from nothing."""
    with tempfile.TemporaryDirectory(prefix="rookery-pg-") as folder:
        Path(folder).chmod(0o711)
        trio = Trio(network, Path(folder))
        try:
            trio.set_up()
            yield trio
        except BaseException:
            for machine in trio.machines.values():
                for service in ("etcd", "patroni"):
                    print(f"--- {service} on {machine.name}", machine.log(service)[-4000:], sep="\n")
            raise
        finally:
            for machine in trio.machines.values():
                machine.kill()
