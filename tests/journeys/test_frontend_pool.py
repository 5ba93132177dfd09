"""A frontend before a pool of three backends: clients find their accounts wherever these are, also after a death."""

import imaplib
import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests import postgres as server
from tests.journeys.site import RunningSite, run
from tests.journeys.waiting import wait_until

pytestmark = [pytest.mark.postgres, pytest.mark.crash]
postgres = server.postgres

BACKENDS = {f"b{number}": f"127.0.6.{number}" for number in (1, 2, 3)}
USERS = [f"user{number}@example.test" for number in range(6)]


class Pool:
    """Three backends under one `serve`, and a frontend. `settings`: of both, as of `configure`."""

    def __init__(self, folder: Path, database: str, **settings: str) -> None:
        self.site = RunningSite(folder / "pool")
        backends = [word for name, host in BACKENDS.items() for word in ("--backend", f"{name}={host}")]
        names = ["--domain", "example.test", "--hostname", "pool.example.test", "--database", database]
        run(["init", str(self.site.folder), *names, "--port-offset", str(self.site.offset), *backends])
        self.site.rookery("cluster", "init")
        self.site.configure(**settings)
        self.site.start()
        self.front = RunningSite(folder / "front", hostname="front.example.test")
        for user in USERS:
            self.site.add_account(user)
        token = self.site.rookery(
            "node", "add", "f1", "--role", "frontend", "--address", f"127.0.6.1:{self.site.ports['join']}"
        ).stdout.strip()
        directory = [
            word for host in BACKENDS.values() for word in ("--directory", f"{host}:{self.site.ports['cluster']}")
        ]
        self.front.rookery("node", "join", token, *directory, "--port-offset", str(self.front.offset))
        self.front.configure(**settings)
        self.front.start()

    def login(self, user: str) -> imaplib.IMAP4:
        """Through the frontend."""
        client = imaplib.IMAP4("127.0.0.1", self.front.ports["imap"], 30)
        client.login(user, self.site.passwords[user])
        return client

    def direct(self, host: str, user: str) -> imaplib.IMAP4:
        client = imaplib.IMAP4(host, self.site.ports["imap"], 30)
        client.login(user, self.site.passwords[user])
        return client

    def serves(self, host: str, user: str) -> bool:
        """False: a backend is late with its beats and says so, or sends the client elsewhere."""
        try:
            client = self.direct(host, user)
            client.select("INBOX")
            client.logout()
        except (imaplib.IMAP4.error, OSError):
            return False
        return True

    def host(self, user: str) -> str:
        found: str = json.loads(self.site.rookery("account", "host", user, "--json").stdout)["host"]
        return found

    def process_of(self, backend: str) -> int:
        """The process that serves it."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if backend.encode() in words and str(self.site.folder).encode() in words:
                    return int(entry.name)
        raise AssertionError(f"{backend} is not served")

    def kill(self) -> None:
        self.front.kill()
        self.site.stop()


@pytest.fixture
def pool(tmp_path: Path, postgres: str) -> Iterator[Pool]:
    with psycopg.connect(postgres, autocommit=True) as administrator:
        administrator.execute("CREATE DATABASE frontend_pool TEMPLATE template0 ENCODING 'UTF8'")
        made = Pool(tmp_path, make_conninfo(postgres, dbname="frontend_pool"))
        yield made
        made.kill()
        administrator.execute("DROP DATABASE frontend_pool WITH (FORCE)")


def test_accounts_are_found_wherever_they_are_and_again_when_their_host_is_killed(pool: Pool) -> None:
    for user, host in zip(USERS, [*BACKENDS.values()] * 2, strict=True):
        wait_until(partial(pool.serves, host, user), f"a session at {host}")
    hosts = {user: pool.host(user) for user in USERS}
    assert set(hosts.values()) == set(BACKENDS)
    for host in BACKENDS.values():  # whichever is asked, the host is found, without a frontend too
        wait_until(partial(pool.serves, host, USERS[0]), f"a session by way of {host}")
    sessions = {user: pool.login(user) for user in USERS}
    for user, client in sessions.items():
        assert client.append("INBOX", "", "", f"Subject: of {user}\r\n\r\n".encode())[0] == "OK"  # type: ignore[arg-type]
    victim = hosts[USERS[0]]
    os.kill(pool.process_of(victim), signal.SIGKILL)

    def again() -> bool:
        try:
            sessions[USERS[0]] = pool.login(USERS[0])
        except (imaplib.IMAP4.error, OSError):
            return False
        return True

    wait_until(again, "a login after the death of its host")
    for user, client in sessions.items():
        if hosts[user] != victim or user == USERS[0]:
            assert client.select("INBOX") == ("OK", [b"1"]), user  # the others have noticed nothing
    assert pool.host(USERS[0]) != victim
