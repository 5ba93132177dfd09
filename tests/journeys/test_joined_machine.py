"""A dynamic pool gets a second machine by a token: its backends serve the same accounts, under one directory."""

import imaplib
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from tests import postgres as server
from tests.journeys.site import RunningSite, run
from tests.journeys.waiting import wait_until

pytestmark = pytest.mark.postgres
postgres = server.postgres

B1, B2 = "127.0.7.1", "127.0.7.2"
ALICE = "alice@example.test"


class Pool:
    """`first` has the authority and the backend b1, `second` the backend b2; the pool is called `big`."""

    def __init__(self, folder: Path, database: str) -> None:
        self.first = RunningSite(folder / "first", hostname="first.example.test")
        names = ["--domain", "example.test", "--hostname", self.first.hostname, "--port-offset", str(self.first.offset)]
        run(["init", str(self.first.folder), *names, "--database", database, "--backend", f"b1={B1}"])
        self.first.configure(store__pool='"big"', queue__retry='["1s"]')
        self.first.rookery("cluster", "init")
        self.first.start()
        self.first.add_account("alice")
        self.second = RunningSite(folder / "second", hostname="second.example.test")
        roles = [word for role in ("backend", "directory") for word in ("--role", role)]
        join = f"{B1}:{self.first.ports['join']}"
        token = self.first.rookery("node", "add", "second", *roles, "--address", join).stdout.strip()
        made = ["--domain", "example.test", "--hostname", self.second.hostname]
        made += ["--port-offset", str(self.second.offset), "--database", database, "--backend", f"b2={B2}"]
        self.second.rookery("node", "join", token, *made)
        self.second.configure(queue__retry='["1s"]')
        self.second.start()

    def kill(self) -> None:
        self.second.stop()
        self.first.stop()


@pytest.fixture
def pool(postgres: str, tmp_path: Path) -> Iterator[Pool]:
    fresh = server.Postgres(postgres)
    name = f"machine_{fresh.schema}"
    fresh.run(f"CREATE DATABASE {name}")
    made = Pool(tmp_path, make_conninfo(postgres, dbname=name))
    try:
        yield made
    finally:
        made.kill()
        fresh.run(f"DROP DATABASE {name} WITH (FORCE)")


def test_both_machines_serve_the_accounts_of_the_pool(pool: Pool) -> None:
    first, second = pool.first, pool.second
    with imaplib.IMAP4(B1, first.ports["imap"], 30) as here:
        here.login(ALICE, first.passwords[ALICE])  # b1 hosts it from now on
        found = second.json("cluster", "status")
        lines = {one["backend"]: one for one in found["nodes"]}
        assert {name: (one["node"], one["answers"], one["pool"]) for name, one in lines.items()} == {
            "b1": (first.hostname, True, "big"),
            "b2": ("second", True, "big"),
        }
        assert lines["b1"]["accounts"] == 1
        assert lines["b1"]["epoch"] > 0
        assert lines["b1"]["incarnation"] != lines["b2"]["incarnation"]
        assert [(one["pool"], one["kind"], one["open"]) for one in found["pools"]] == [("big", "dynamic", 1)]
        with smtplib.SMTP(B2, second.ports["smtp"], "client.example.com", 30) as client:
            client.sendmail("a@example.com", [ALICE], "Subject: by the other machine\r\n\r\nHello.\r\n")
        wait_until(lambda: here.select()[1] == [b"1"], "the delivery")
    first.stop()

    def open_there() -> bool:
        try:
            with imaplib.IMAP4(B2, second.ports["imap"], 30) as there:
                there.login(ALICE, first.passwords[ALICE])
                return there.select()[1] == [b"1"]
        except imaplib.IMAP4.error:
            return False

    wait_until(open_there, "the account on the other machine")
