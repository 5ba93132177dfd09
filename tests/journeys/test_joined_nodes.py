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
    """`first` has the authority and the pool `main`, `second` the pool `south`; `front` has nothing."""

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
        self.front = self._site("front")
        self.join(self.front, "frontend", "--directory", f"127.0.0.1:{self.first.ports['cluster']}")
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

    def login(self, user: str, password: str) -> imaplib.IMAP4:
        """Through the frontend."""
        client = imaplib.IMAP4("127.0.0.1", self.front.ports["imap"], 30)
        client.login(user, password)
        return client

    def kill(self) -> None:
        for site in (self.front, self.second, self.first):
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
    cluster.first.add_account("alice", None, "--pool", "main")
    cluster.first.add_account("bob", None, "--pool", "south")
    passwords = cluster.first.passwords
    for user, node in (("alice", cluster.first), ("bob", cluster.second)):
        address = f"{user}@example.test"
        client = cluster.login(address, passwords[address])
        assert client.append("INBOX", "", "", b"Subject: kept\r\n\r\nx\r\n")[0] == "OK"  # type: ignore[arg-type]
        assert node.json("status")["connections"]["frontends"] == 1
        client.logout()


def test_a_token_for_another_kind_of_node_is_not_used_up(cluster: Cluster, tmp_path: Path) -> None:
    wrong = RunningSite(tmp_path / "wrong", hostname="wrong.example.test")
    said = cluster.join(wrong, "backend", "--directory", "127.0.0.1:1", code=1)
    assert "a node that keeps mail (backend), and this one is made to keep nothing" in said
    assert not wrong.folder.exists()


def test_a_node_with_mail_that_is_revoked_has_no_accounts_any_more(cluster: Cluster) -> None:
    address = "bob@example.test"
    client = cluster.login(address, cluster.first.passwords[address])
    cluster.first.rookery("node", "revoke", "second")

    def ended() -> bool:
        try:
            client.noop()
        except (imaplib.IMAP4.abort, OSError):
            return True
        return False

    wait_until(ended, "the end of the session on the revoked node")
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        cluster.login(address, cluster.first.passwords[address])
