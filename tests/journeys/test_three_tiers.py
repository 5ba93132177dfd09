"""A frontend that knows only another frontend, as processes: clients reach their accounts, and the outer one nobody."""

import imaplib
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until


class Tiers:
    """outer -> inner -> node."""

    def __init__(self, folder: Path) -> None:
        self.node = RunningSite(folder / "node")
        self.node.init()
        self.alice = self.node.add_account("alice")
        self.node.rookery("cluster", "init")
        self.node.start()
        self.inner = self.join(folder, "inner", "--inner", "--directory", self.cluster_port(self.node))
        self.outer = self.join(folder, "outer", "--upstream", self.cluster_port(self.inner))

    def cluster_port(self, site: RunningSite) -> str:
        return f"127.0.0.1:{site.ports['cluster']}"

    def join(self, folder: Path, name: str, *options: str) -> RunningSite:
        desk = f"127.0.0.1:{self.node.ports['join']}"
        token = self.node.rookery("node", "add", name, "--role", "frontend", "--address", desk).stdout.strip()
        site = RunningSite(folder / name, hostname=f"{name}.example.test")
        site.rookery("node", "join", token, *options, "--port-offset", str(site.offset))
        site.start()
        return site

    def login(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.outer.ports["imap"], 30)
        client.login(self.alice, self.node.passwords[self.alice])
        return client

    def kill(self) -> None:
        for site in (self.outer, self.inner, self.node):
            site.kill()


@pytest.fixture
def tiers(tmp_path: Path) -> Iterator[Tiers]:
    made = Tiers(tmp_path)
    yield made
    made.kill()


def test_a_mail_program_works_through_two_frontends(tiers: Tiers) -> None:
    mailbox = tiers.login()
    assert mailbox.append("INBOX", "", "", b"Subject: kept\r\n\r\nx\r\n")[0] == "OK"  # type: ignore[arg-type]
    with smtplib.SMTP("127.0.0.1", tiers.outer.ports["submission"], "pc.example.test", 30) as client:
        client.login(tiers.alice, tiers.node.passwords[tiers.alice])
        client.sendmail(tiers.alice, [tiers.alice], f"From: {tiers.alice}\r\nSubject: sent\r\n\r\nHello.\r\n")
    wait_until(lambda: mailbox.select("INBOX")[1] == [b"2"], "what was sent")
    assert "link-up node=inner" in tiers.node.log_text()
    assert "link-up node=outer" not in tiers.node.log_text()
    tiers.node.rookery("node", "revoke", "outer")
    assert mailbox.sock.recv(1) == b""  # within the time-out of the socket
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        tiers.login()
