"""A cluster of static pools without PostgreSQL: one node has the directory, the others copies of it."""

import imaplib
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"
OWN = "second.example.test"  # the domain of the second node alone


class Cluster:
    """`first` has the primary and the pool `main`, `second` the pool `south` and a copy of the directory."""

    def __init__(self, folder: Path) -> None:
        self.first = RunningSite(folder / "first", hostname="first.example.test")
        self.first.init()
        self.first.rookery("cluster", "init")
        self.first.start()
        self.second = RunningSite(folder / "second", hostname=OWN)  # only now: its ports are others
        ports = self.first.ports
        address = ["--address", f"127.0.0.1:{ports['join']}"]
        roles = ["--role", "backend", "--role", "directory"]
        token = self.first.rookery("node", "add", "second", *roles, *address).stdout.strip()
        made = ["--hostname", self.second.hostname, "--port-offset", str(self.second.offset)]
        words = ["--domain", "example.test", "--pool", "south", "--directory", f"127.0.0.1:{ports['cluster']}"]
        self.second.rookery("node", "join", token, *made, *words, "--own-domain", OWN)
        self.second.start()

    def kill(self) -> None:
        self.second.kill()
        self.first.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.kill()


def login(site: RunningSite, address: str, password: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", site.ports["imap"], 30)
    client.login(address, password)
    return client


def deliver(site: RunningSite, to: str, subject: str) -> None:
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"], "client.example.com", 30) as client:
        client.sendmail("a@example.com", [to], f"From: a@example.com\r\nSubject: {subject}\r\n\r\nHello.\r\n")


def arrived(client: imaplib.IMAP4) -> int:
    client.select("INBOX")
    return len(client.search(None, "ALL")[1][0].split())


def test_pools_without_a_database(cluster: Cluster) -> None:
    """An account is made at either node in either pool, mail finds it, and who has its mail here gets in while the
    primary is away. So does the postmaster of the second node's own domain, whose accounts are in no other pool."""
    first, second = cluster.first, cluster.second
    postmaster = f"postmaster@{OWN}"
    first.rookery("account", "password", postmaster, "--password-file", "-", text="a secret\n")
    shown = {one["name"]: (one["local"], one["pool"]) for one in first.json("domain", "list")}
    assert shown == {"example.test": (False, ""), OWN: (True, "south")}
    said = first.rookery("account", "add", f"x@{OWN}", "--pool", "main", "--password-file", "-", text="x\n", code=1)
    assert "local to a pool" in said.stderr
    deliver(first, postmaster, "to the node")
    own = login(second, postmaster, "a secret")
    wait_until(lambda: arrived(own) == 1, "the node's postmaster has mail")
    second.add_account("alice", None, "--pool", "main")
    first.add_account("bob", None, "--pool", "south")
    found = first.json("cluster", "status")
    assert [(one["node"], one["answers"], one["copy"]) for one in found["nodes"]] == [
        ("first.example.test", True, False),
        ("second", True, True),
    ]
    first_client = login(first, ALICE, second.passwords[ALICE])
    second_client = login(second, BOB, first.passwords[BOB])
    deliver(second, ALICE, "to the other pool")
    deliver(first, BOB, "to the other pool")
    wait_until(lambda: arrived(first_client) == 1, "alice has mail")
    wait_until(lambda: arrived(second_client) == 1, "bob has mail")
    first.kill()
    again = login(second, BOB, first.passwords[BOB])
    assert arrived(again) == 1
    said = second.rookery("domain", "add", "other.test", code=1).stderr
    assert "does not answer" in said
    deliver(second, BOB, "the primary is away")
    wait_until(lambda: arrived(again) == 2, "bob has more mail")
    deliver(second, f"abuse@{OWN}", "the primary is away")
    own = login(second, postmaster, "a secret")
    wait_until(lambda: arrived(own) == 2, "the node's postmaster has more mail")


def test_a_copy_is_promoted_and_the_primary_comes_back(cluster: Cluster) -> None:
    first, second = cluster.first, cluster.second
    said = second.rookery("directory", "promote", code=1).stderr
    assert "the primary answers: first.example.test" in said
    second.stop()
    first.rookery("domain", "add", "lost.test")
    first.kill()
    second.start()
    second.rookery("directory", "promote")
    second.rookery("domain", "add", "kept.test")
    first.start()
    wait_until(lambda: first.json("directory", "status")["state"] == "fenced", "the one before is fenced")
    assert "was promoted" in first.rookery("domain", "add", "no.test", code=1).stderr
    status = first.json("directory", "status")
    assert [(one["kind"], one["verb"]) for one in status["lost"]] == [("domain", "created")]
    assert "directory.db.generation-1" in first.rookery("directory", "follow").stdout
    wait_until(lambda: "kept.test" in first.rookery("domain", "list").stdout, "it has what the promoted one has")
    assert "lost.test" not in first.rookery("domain", "list").stdout
    first.rookery("domain", "add", "through.test")
    assert "through.test" in second.rookery("domain", "list").stdout
    first.restart()
    assert first.json("directory", "status")["state"] == "replica"
