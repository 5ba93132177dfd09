"""Two pools under one directory, as real processes: a dynamic one of two backends, and a static one."""

import shutil
import smtplib
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests import postgres as server
from tests.journeys.imap import Client, Refused
from tests.journeys.site import STOP_TIME, RunningSite
from tests.journeys.waiting import wait_until

pytestmark = pytest.mark.postgres
postgres = server.postgres

BACKENDS = {"b1": "127.0.5.1", "b2": "127.0.5.2"}
STATIC = "127.0.5.3"
PATIENCE = 10.0  # seconds for an answer


class Pools:
    """`dynamic` is the first pool of the directory, big; `static` is called small."""

    def __init__(self, folder: Path, database: str) -> None:
        self.opened = ExitStack()
        self.database = database
        self.dynamic, self.static = RunningSite(folder / "big"), RunningSite(folder / "small")
        self.static.offset = self.dynamic.offset
        self.static.ports = self.dynamic.ports
        backends = ", ".join(f'{name} = "{address}"' for name, address in BACKENDS.items())
        for site in (self.dynamic, self.static):
            site.init()
            site.configure(directory__database=f'"{database}"', queue__retry='["1s"]', drain__time='"1s"')
        self.dynamic.configure(
            store__database=f'"{database}"', queue__database=f'"{database}"', store__pool='"big"',
            store__backends=f"{{ {backends} }}",
        )  # fmt: skip
        self.static.configure(store__pool='"small"', listen__addresses=f'["{STATIC}"]')

    def imap(self, address: str) -> Client:
        return Client(address, self.dynamic.ports["imap"], timeout=PATIENCE)

    def log_in(self, address: str, user: str, password: str) -> str:
        """Where the account is: there, or where that host sends its client."""
        with closing(self.imap(address)) as client:
            try:
                client.ask(f'LOGIN {user} "{password}"')
            except Refused as refused:
                text = refused.answer.decode()
                assert text.startswith("NO [REFERRAL imap://"), text
                return text.partition("@")[2].partition(":")[0]
            return address

    def messages(self, address: str, user: str, password: str) -> int:
        """In INBOX, where the account is in the end."""
        there = self.log_in(address, user, password)
        there = self.log_in(there, user, password)
        with closing(self.imap(there)) as client:
            client.ask(f'LOGIN {user} "{password}"')
            (line,) = client.ask("STATUS INBOX (MESSAGES)").lines
        return int(line.split(b"MESSAGES ")[1].split(b")")[0])

    def send(self, address: str, *recipients: str) -> None:
        """By MX."""
        with smtplib.SMTP(address, self.dynamic.ports["smtp"], timeout=PATIENCE) as client:
            client.sendmail("sender@elsewhere.test", recipients, "Subject: x\r\n\r\nx\r\n")


@pytest.fixture(scope="module")
def pools(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pools]:
    fresh = server.Postgres(postgres)
    name = f"pools_{fresh.schema}"
    fresh.run(f"CREATE DATABASE {name}")
    made = Pools(tmp_path_factory.mktemp("pools"), make_conninfo(postgres, dbname=name))
    with made.opened as opened:
        opened.callback(fresh.run, f"DROP DATABASE {name} WITH (FORCE)")
        for site in (made.dynamic, made.static):
            opened.callback(_end, site)
            site.start()
        made.dynamic.rookery("domain", "add", "example.test")
        made.dynamic.add_account("alice")
        made.dynamic.add_account("bob", None, "--pool", "small", "--quota", "1MB")
        yield made


def _end(site: RunningSite) -> None:
    with suppress(TimeoutError):
        site.stop()


ALICE, BOB = ("alice@example.test", "secret of alice"), ("bob@example.test", "secret of bob")


def test_pools_are_listed_wherever_one_asks(pools: Pools) -> None:
    for site in (pools.dynamic, pools.static):
        found = {one["pool"]: one for one in site.json("pool", "list")}
        assert {name: (one["kind"], one["accounts"]) for name, one in found.items()} == {
            "big": ("dynamic", 1),
            "small": ("static", 1),
        }
        assert found["small"]["free"] > 0
        imap = pools.dynamic.ports["imap"]
        assert found["big"]["addresses"] == [f"{address}:{imap}" for address in BACKENDS.values()]
    shown = pools.static.json("pool", "show", "small")
    assert (shown["here"], shown["lmtp"]) == (True, [f"{STATIC}:{pools.dynamic.ports['lmtp']}"])
    assert pools.dynamic.json("account", "show", BOB[0])["pool"] == "small"
    assert pools.dynamic.json("account", "host", BOB[0])["pool"] == "small"
    assert "still has 1 accounts" in pools.dynamic.rookery("pool", "remove", "small", code=1).stderr


def test_a_login_is_sent_to_the_pool(pools: Pools) -> None:
    assert pools.log_in(STATIC, *BOB) == STATIC
    assert pools.log_in(BACKENDS["b1"], *BOB) == STATIC
    assert {pools.log_in(STATIC, *ALICE) for _ in range(2)} == set(BACKENDS.values())


def test_mail_arrives_in_either_pool_through_either(pools: Pools) -> None:
    before = [pools.messages(STATIC, *who) for who in (ALICE, BOB)]
    pools.send(STATIC, ALICE[0], BOB[0])
    pools.send(BACKENDS["b1"], ALICE[0], BOB[0])
    pools.send(BACKENDS["b2"], BOB[0], ALICE[0])
    expected = [number + 3 for number in before]
    wait_until(lambda: [pools.messages(STATIC, *who) for who in (ALICE, BOB)] == expected, "three messages for each")


def test_a_delivery_to_the_wrong_pool_is_told_which(pools: Pools) -> None:
    with smtplib.LMTP(STATIC, pools.dynamic.ports["lmtp"], local_hostname="client.test", timeout=PATIENCE) as client:
        client.ehlo()
        client.mail("sender@elsewhere.test")
        assert client.rcpt(ALICE[0]) == (451, b"4.3.2 The mailbox is in pool big")


def test_an_account_of_another_pool_is_changed_and_removed_there(pools: Pools) -> None:
    pools.dynamic.add_account("carol", None, "--pool", "small")
    carol = ("carol@example.test", "secret of carol")
    pools.send(BACKENDS["b1"], carol[0])
    wait_until(lambda: pools.messages(STATIC, *carol) == 1, "the message")
    pools.dynamic.rookery("account", "change", carol[0], "--messages", "1")
    with closing(pools.imap(STATIC)) as client:
        client.ask(f'LOGIN {carol[0]} "{carol[1]}"')

        def full() -> bool:
            try:
                client.ask("APPEND INBOX", b"Subject: y\r\n\r\ny\r\n")
            except Refused as refused:
                return refused.answer.startswith(b"NO [OVERQUOTA]")
            return False

        wait_until(full, "the limit to hold in its pool")
    pools.dynamic.rookery("account", "remove", carol[0], "--now")
    with pytest.raises(AssertionError, match="AUTHENTICATIONFAILED"):
        wait_until(lambda: pools.log_in(STATIC, *carol) != STATIC, "a login to be refused")
    wait_until(lambda: carol[0] not in str(pools.dynamic.json("account", "list")), "it to be gone for good")


def test_the_row_of_an_account_that_has_moved_refers_whatever_the_directory_says(pools: Pools) -> None:
    erin = (pools.dynamic.add_account("erin"), "secret of erin")
    assert pools.messages(BACKENDS["b1"], *erin) == 0
    there = pools.log_in(BACKENDS["b1"], *erin)
    name = pools.dynamic.json("account", "show", erin[0])["account"]
    with closing(pools.imap(there)) as client, psycopg.connect(pools.database, autocommit=True) as connection:
        client.ask(f'LOGIN {erin[0]} "{erin[1]}"')
        (small,) = connection.execute("SELECT pool FROM directory.pool WHERE name = 'small'").fetchall()[0]
        changed = connection.execute("UPDATE store.account SET state = 4 WHERE id = decode(%s, 'hex')", (name,))
        assert changed.rowcount == 1
        connection.execute("INSERT INTO store.moved VALUES (decode(%s, 'hex'), %s)", (name, small))
        with pytest.raises(EOFError, match="BYE"):
            client.ask("APPEND INBOX", b"Subject: late\r\n\r\nx\r\n")
    for address in BACKENDS.values():
        assert pools.log_in(address, *erin) == STATIC
        with smtplib.LMTP(address, pools.dynamic.ports["lmtp"], local_hostname="c.test", timeout=PATIENCE) as lmtp:
            lmtp.ehlo()
            lmtp.mail("sender@elsewhere.test")
            assert lmtp.rcpt(erin[0]) == (451, b"4.3.2 The mailbox is in pool small")


def test_a_domain_is_assigned_to_a_pool(pools: Pools) -> None:
    pools.dynamic.rookery("domain", "add", "small.test")
    pools.dynamic.rookery("domain", "change", "small.test", "--pool", "small")
    added = pools.dynamic.add_account("dave@small.test")
    assert pools.static.json("account", "show", added)["pool"] == "small"
    assert pools.dynamic.json("domain", "show", "small.test")["pool"] == "small"
    assert pools.log_in(BACKENDS["b2"], added, "secret of dave@small.test") == STATIC


def test_a_dead_backend_of_another_pool_is_passed_over(pools: Pools) -> None:
    before = pools.messages(STATIC, *ALICE)
    pools.dynamic.rookery("backend", "drain", "b1")
    for _ in range(4):
        pools.send(STATIC, ALICE[0])
    wait_until(lambda: pools.messages(BACKENDS["b2"], *ALICE) == before + 4, "all four, at the backend that serves")
    pools.dynamic.rookery("backend", "undrain", "b1")


def test_a_promoted_copy_of_a_folder_serves_and_the_other_does_not(pools: Pools) -> None:
    old, new = pools.static, RunningSite(pools.static.folder.with_name("copy"))
    before = pools.messages(STATIC, *BOB)
    old.stop()
    shutil.copytree(old.folder, new.folder)
    new.ports = old.ports
    old.start()
    assert old.process is not None
    new.rookery("pool", "promote")
    assert old.process.wait(STOP_TIME) == 1, "a running node ends when it hears of it"
    old.process = None
    assert "another copy of this store was promoted, and serves pool small" in old.log_text()
    with pytest.raises(RuntimeError, match="the directory has generation 2, this folder 1"):
        old.start()
    new.start()
    pools.static = new  # for the tests that follow
    pools.opened.callback(_end, new)
    assert pools.messages(BACKENDS["b1"], *BOB) == before
    with closing(pools.imap(STATIC)) as client:
        client.ask(f'LOGIN {BOB[0]} "{BOB[1]}"')
        ((_, (uid,)),) = [client.ask("APPEND INBOX", b"Subject: z\r\n\r\nz\r\n").numbers("APPENDUID")]
        assert uid > 1 << 20, "the copy may lack what clients have seen"
    assert pools.dynamic.json("pool", "show", "small")["generation"] == 2
    assert "a node serves this folder" in new.rookery("pool", "promote", code=1).stderr
    assert "is a database, not a folder" in pools.dynamic.rookery("pool", "promote", code=1).stderr


def test_without_the_directory_a_node_does_not_start(tmp_path: Path) -> None:
    """It could not know that its folder is the one that serves."""
    site = RunningSite(tmp_path / "cut-off")
    site.init()
    site.configure(directory__database=f'"host={tmp_path} dbname=none"')
    with pytest.raises(RuntimeError, match="cannot be"):
        site.start()


def test_another_store_does_not_get_a_name_that_is_taken(pools: Pools, tmp_path: Path) -> None:
    third = RunningSite(tmp_path / "third")
    third.init()
    file = (pools.static.folder / "rookery.toml").read_text()
    line = next(line for line in file.split("\n") if line.startswith("database = "))
    third.configure(directory__database=line.removeprefix("database = "), store__pool='"small"')
    with pytest.raises(RuntimeError, match='"small" is the pool of another store'):
        third.start()
