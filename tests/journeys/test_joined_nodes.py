"""A cluster that grows by nodes of every kind, as real processes: each pool is reached through the frontend."""

import imaplib
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from tests import postgres as server
from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until

pytestmark = pytest.mark.postgres
postgres = server.postgres


class Cluster:
    """`first` has the authority and the pool `main`, `second` the pool `south`, `third` the directory only; `front` has
    nothing, and is told of `third`.
    """

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.database = database
        self.first = self._site("first")
        self.first.init()
        self.first.configure(directory__database=f'"{database}"')
        self.first.rookery("cluster", "init")
        self.first.start()
        self.first.rookery("domain", "add", "example.test")
        self.second = self._site("second")
        self.join(self.second, "backend", "--domain", "example.test", "--pool", "south", *self._shared)
        self.second.start()
        self.third = self._site("third")
        self.join(self.third, "directory", *self._shared)
        self.third.start()
        self.third.add_account("alice", None, "--pool", "main")
        self.third.add_account("bob", None, "--pool", "south")
        self.front = self._site("front")
        self.join(self.front, "frontend", "--directory", f"127.0.0.1:{self.third.ports['cluster']}")
        self.front.start()

    @property
    def _shared(self) -> tuple[str, str]:
        return "--directory-database", self.database

    def _site(self, name: str) -> RunningSite:
        return RunningSite(self.folder / name, hostname=f"{name}.example.test")

    def join(self, site: RunningSite, role: str, *words: str, code: int = 0) -> str:
        token = self.token(site.folder.name, role)
        name = ["--hostname", site.hostname, "--port-offset", str(site.offset)]
        return site.rookery("node", "join", token, *name, *words, code=code).stderr

    def token(self, name: str, role: str) -> str:
        address = f"127.0.0.1:{self.first.ports['join']}"
        roles = [word for one in role.split() for word in ("--role", one)]
        return self.first.rookery("node", "add", name, *roles, "--address", address).stdout.strip()

    def login(self, user: str) -> imaplib.IMAP4:
        """Through the frontend."""
        client = imaplib.IMAP4("127.0.0.1", self.front.ports["imap"], 30)
        address = f"{user}@example.test"
        client.login(address, self.third.passwords[address])
        return client

    def kill(self) -> None:
        for site in (self.front, self.third, self.second, self.first):
            site.kill()


@pytest.fixture(scope="module")
def cluster(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    fresh = server.Postgres(postgres)
    name = f"joined_{fresh.schema}"
    fresh.run(f"CREATE DATABASE {name}")
    made = Cluster(tmp_path_factory.mktemp("joined"), make_conninfo(postgres, dbname=name))
    try:
        yield made
    finally:
        made.kill()
        fresh.run(f"DROP DATABASE {name} WITH (FORCE)")


def test_each_pool_is_reached_through_the_frontend(cluster: Cluster) -> None:
    """The nodes have other cluster ports than each other, which only they can have told."""
    for user, node in (("alice", cluster.first), ("bob", cluster.second)):
        client = cluster.login(user)
        assert client.append("INBOX", "", "", b"Subject: kept\r\n\r\nx\r\n")[0] == "OK"  # type: ignore[arg-type]
        assert node.json("status")["connections"]["frontends"] == 1
        client.logout()


def test_a_token_for_another_kind_of_node_is_not_used_up(cluster: Cluster, tmp_path: Path) -> None:
    wrong = RunningSite(tmp_path / "wrong", hostname="wrong.example.test")
    said = cluster.join(wrong, "backend", "--directory", "127.0.0.1:1", code=1)
    assert "a node that keeps mail (backend), and this one is made to keep nothing" in said
    assert not wrong.folder.exists()


def test_what_needs_mail_is_refused_where_the_directory_is_alone(cluster: Cluster) -> None:
    third = cluster.third
    assert {row["address"] for row in third.json("account", "list")} >= {"alice@example.test", "bob@example.test"}
    assert {row["name"] for row in third.json("node", "list")} >= {"first.example.test", "second", "third", "front"}
    assert third.json("status")["accounts"] == 2
    assert third.json("health")["ok"]
    assert "this node has the directory only" in third.rookery("queue", "list", code=1).stderr
    assert (
        "the key of the cluster's authority is not on this node"
        in third.rookery("node", "add", "x", "--role", "frontend", code=1).stderr
    )


def test_the_frontend_finds_the_other_directory_nodes_by_itself(cluster: Cluster) -> None:
    known = cluster.front.folder / "cluster" / "known.json"
    wait_until(lambda: str(cluster.first.ports["cluster"]) in known.read_text(), "the frontend to learn")
    cluster.third.stop()
    cluster.login("alice").logout()
    cluster.front.restart()  # and remembers them
    cluster.login("bob").logout()
    assert any(row["address"] == "alice@example.test" for row in cluster.third.json("account", "list"))  # stopped
    cluster.third.start()


def test_the_whole_cluster_is_shown(cluster: Cluster) -> None:
    client = cluster.login("bob")

    def seen() -> bool:
        found = cluster.third.json("cluster", "status")
        return all(node["answers"] for node in found["nodes"]) and found["streams"]["now"] == 1

    wait_until(seen, "all nodes to answer")
    found = cluster.second.json("cluster", "status")
    nodes = {node["node"]: node for node in found["nodes"]}
    assert set(nodes) == {"first.example.test", "second", "third", "front"}
    assert found["node"] == "second"
    assert nodes["front"]["clients"] == 1
    assert nodes["second"]["sessions"] == 1
    assert (nodes["second"]["pool"], nodes["third"]["pool"]) == ("south", "")
    assert nodes["third"]["address"] == f"127.0.0.1:{cluster.third.ports['cluster']}"
    assert {one["node"] for one in nodes["front"]["links"] if one["up"]} >= {"second"}
    assert found["streams"]["expected"] == 1
    assert {pool["pool"]: pool["accounts"] for pool in found["pools"]} == {"main": 1, "south": 1}
    client.logout()
    cluster.front.kill()
    shown = cluster.third.rookery("cluster", "status").stdout
    assert "silent, " in next(line for line in shown.split("\n") if line.startswith("front"))
    cluster.front.start()
    assert "on a node with accounts" in cluster.front.rookery("cluster", "status", code=1).stderr


def test_a_node_with_mail_that_is_revoked_has_no_accounts_any_more(cluster: Cluster) -> None:
    client = cluster.login("bob")
    cluster.first.rookery("node", "revoke", "second")

    def ended() -> bool:
        try:
            client.noop()
        except (imaplib.IMAP4.abort, OSError):
            return True
        return False

    wait_until(ended, "the end of the session on the revoked node")

    def refused() -> bool:
        """By all: a node that has not heard of it yet passes the session on."""
        try:
            cluster.login("bob").shutdown()
        except imaplib.IMAP4.error as error:
            return "UNAVAILABLE" in str(error)
        return False

    wait_until(refused, "the last node to hear of it")
    cluster.login("alice").logout()
