"""Mail through nodes that have no mailboxes, as processes: frontends for MX and LMTP, and an MX at the perimeter."""

import imaplib
import smtplib
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from rookery.base.errors import Cause
from rookery.distribution.service.calls import (
    Begin,
    Client,
    Expect,
    Expected,
    Granted,
    Recipient,
    Verdict,
    decode_answer,
    encode,
)
from rookery.net.cluster.link import Link
from rookery.wire.cluster.values import Preface
from tests.journeys.site import RunningSite
from tests.journeys.thief import as_thief, opened, refused
from tests.journeys.waiting import wait_until

ALICE, BOB, CAROL = "alice@example.test", "bob@example.test", "carol@example.test"
FRONT = "mx.example.test"


class Cluster:
    """A node that has everything, and one that only takes mail in."""

    def __init__(self, folder: Path, *roles: str) -> None:
        self.node = RunningSite(folder / "node")
        self.node.init()
        for name in ("alice", "bob"):
            self.node.add_account(name)
        self.node.rookery("group", "add", "staff@example.test", ALICE, BOB)
        self.node.rookery("cluster", "init")
        self.node.start()
        self.mx = RunningSite(folder / "mx", hostname=FRONT)  # only now: its ports are others
        address = f"127.0.0.1:{self.node.ports['join']}"
        words = [word for role in roles for word in ("--role", role)]
        token = self.node.rookery("node", "add", "mx1", *words, "--address", address).stdout.strip()
        directory = ["--directory", f"127.0.0.1:{self.node.ports['cluster']}"]
        self.mx.rookery("node", "join", token, *directory, "--hostname", FRONT, "--port-offset", str(self.mx.offset))
        self.mx.start()
        self.hosts: dict[str, RunningSite] = {}  # of accounts that are not at the node

    def subjects(self, address: str) -> list[str]:
        """Of everything in the inbox."""
        client = imaplib.IMAP4("127.0.0.1", self.hosts.get(address, self.node).ports["imap"], 30)
        client.login(address, self.node.passwords[address])
        try:
            client.select("INBOX", readonly=True)
            _, data = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            texts = [part[1].decode() for part in data if isinstance(part, tuple)]
            return sorted(text.partition(":")[2].strip() for text in texts)
        finally:
            client.logout()

    def has(self, address: str, subject: str) -> bool:
        return subject in self.subjects(address)

    def delivered(self, sender: RunningSite, address: str, subject: str) -> bool:
        """What a queue has put off meanwhile is tried again."""
        sender.rookery("queue", "retry", "all")
        return self.has(address, subject)

    def kill(self) -> None:
        self.mx.kill()
        self.node.kill()


class Pools(Cluster):
    """A frontend before two static pools: alice and bob are in one, carol is in the other."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "frontend", "mx-in")
        self.second = RunningSite(folder / "second", hostname="second.example.test")
        ports = self.node.ports
        roles = ["--role", "backend", "--role", "directory", "--address", f"127.0.0.1:{ports['join']}"]
        token = self.node.rookery("node", "add", "second", *roles).stdout.strip()
        words = ["--domain", "example.test", "--pool", "south", "--directory", f"127.0.0.1:{ports['cluster']}"]
        self.second.rookery(
            "node", "join", token, "--hostname", self.second.hostname, "--port-offset", str(self.second.offset), *words
        )
        self.second.start()
        self.node.add_account("carol", None, "--pool", "south")
        self.hosts = {CAROL: self.second}

    def kill(self) -> None:
        self.second.kill()
        super().kill()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pools]:
    made = Pools(tmp_path_factory.mktemp("front"))
    yield made
    made.kill()


def _swaks(port: int, *words: str) -> str:
    command = ["swaks", "--server", f"127.0.0.1:{port}", "--from", "a@example.com", "--ehlo", "c.example.com", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


def test_mail_from_other_servers_comes_through(front: Pools) -> None:
    said = _swaks(front.mx.ports["smtp"], "--to", ALICE, "--h-Subject", "by swaks", "-tls")
    assert "250 2.0.0 Queued as" in said
    wait_until(lambda: "by swaks" in front.subjects(ALICE), "the message")
    refused = _swaks(front.mx.ports["smtp"], "--to", "somebody@example.org")
    assert "550 5.7.1 Relaying denied" in refused
    subprocess.run(
        ["smtp-source", "-m", "20", "-s", "4", "-f", "a@example.com", "-t", BOB, f"127.0.0.1:{front.mx.ports['smtp']}"],
        timeout=60,
        check=True,
    )
    wait_until(lambda: len(front.subjects(BOB)) == 20, "twenty messages")


def _lmtp(port: int, recipients: Sequence[str], subject: str, size: int = 0) -> list[str]:
    """The replies of a whole transaction: for each recipient that to RCPT when it is refused, else that at the end."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection, connection.makefile("rwb") as stream:

        def say(line: str) -> str:
            stream.write(line.encode() + b"\r\n")
            stream.flush()
            return heard()

        def heard() -> str:
            while (line := stream.readline().decode().rstrip())[3:4] == "-":
                continue
            return line

        heard()
        say("LHLO mta.example.test")
        say("MAIL FROM:<a@example.com>")
        answers = [say(f"RCPT TO:<{recipient}>") for recipient in recipients]
        if any(answer.startswith("250") for answer in answers):
            assert say("DATA").startswith("354")
            body = "\r\n".join(["x" * 70] * (size // 70))
            stream.write(f"Subject: {subject}\r\n\r\n{body}\r\n.\r\n".encode())
            stream.flush()
        answers = [heard() if answer.startswith("250") else answer for answer in answers]
        assert say("QUIT").startswith("221")
        return answers


def test_lmtp_is_answered_for_each_recipient_by_its_host(front: Pools) -> None:
    recipients = [ALICE, "nobody@example.test", CAROL, "staff@example.test"]
    for size in (0, 500_000):
        subject = f"by LMTP {size}"
        answers = _lmtp(front.mx.ports["lmtp"], recipients, subject, size)
        assert [answer[:9] for answer in answers] == ["250 2.0.0", "550 5.1.1", "250 2.0.0", "250 2.0.0"]
        assert subject in front.subjects(ALICE)  # once it was answered
        assert subject in front.subjects(CAROL)
        wait_until(partial(front.has, BOB, subject), "the group's mail")
    front.second.kill()
    answers = _lmtp(front.mx.ports["lmtp"], [ALICE, CAROL], "half", 500_000)
    assert [answer[:3] for answer in answers] == ["250", "451"]
    front.second.start()
    wait_until(lambda: _lmtp(front.mx.ports["lmtp"], [CAROL], "whole")[0].startswith("250"), "the other pool")
    assert "half" not in front.subjects(CAROL)


def test_a_queue_delivers_to_the_other_pool_over_the_cluster_port(front: Pools) -> None:
    assert "250 2.0.0 Queued as" in _swaks(front.node.ports["smtp"], "--to", CAROL, "--h-Subject", "from the first")
    wait_until(partial(front.delivered, front.node, CAROL, "from the first"), "the message")
    assert "Queued as" in _swaks(front.second.ports["smtp"], "--to", ALICE, "--h-Subject", "from the second")
    wait_until(partial(front.delivered, front.second, ALICE, "from the second"), "the message")


def test_when_the_node_is_away_senders_are_told_to_come_again(front: Pools) -> None:
    front.node.stop()
    try:
        said = _swaks(front.mx.ports["smtp"], "--to", ALICE)
        assert "421 4.3.2 No server of this site can take mail now" in said
        assert _lmtp(front.mx.ports["lmtp"], [ALICE], "deferred")[0].startswith("451")
    finally:
        front.node.start()

    wait_until(lambda: _lmtp(front.mx.ports["lmtp"], [ALICE], "again")[0].startswith("250"), "the node")


# --- an MX at the perimeter ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def perimeter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("perimeter"), "mx-in")
    yield made
    made.kill()


def _send(cluster: Cluster, subject: str, to: str = ALICE) -> bool:
    """Whether it was accepted, for good."""
    try:
        with smtplib.SMTP("127.0.0.1", cluster.mx.ports["smtp"], "client.example.com", 30) as client:
            client.sendmail("a@example.com", [to], f"From: a@example.com\r\nSubject: {subject}\r\n\r\nHello.\r\n")
    except (smtplib.SMTPException, OSError):
        return False
    return True


def test_its_mail_waits_while_nobody_is_inside_and_survives_it(perimeter: Cluster) -> None:
    assert _send(perimeter, "first")
    wait_until(partial(perimeter.delivered, perimeter.mx, ALICE, "first"), "the first message")
    perimeter.node.kill()
    assert _send(perimeter, "second")  # she is known
    assert "451" in _swaks(perimeter.mx.ports["smtp"], "--to", BOB)  # he is not
    (waiting,) = perimeter.mx.json("queue", "list")
    assert [recipient["address"] for recipient in waiting["recipients"]] == [ALICE]
    perimeter.mx.kill()
    assert perimeter.mx.json("queue", "list")[0]["message"] == waiting["message"]  # its administrator sees it
    perimeter.mx.start()
    assert perimeter.mx.json("status")["queue"]["messages"] == 1
    perimeter.node.start()

    wait_until(partial(perimeter.delivered, perimeter.mx, ALICE, "second"), "the second message")
    assert perimeter.subjects(ALICE) == ["first", "second"]
    assert "550 5.7.1" in _swaks(perimeter.mx.ports["smtp"], "--to", "somebody@example.org")
    assert "550 5.1.1" in _swaks(perimeter.mx.ports["smtp"], "--to", "nobody@example.test")


def test_what_it_has_accepted_arrives_once_whoever_is_killed(perimeter: Cluster) -> None:
    accepted: list[str] = []
    sent, over = 0, threading.Event()

    def send() -> None:
        nonlocal sent
        while not over.is_set():
            sent += 1
            if _send(perimeter, f"number {sent}", BOB):
                accepted.append(f"number {sent}")
            else:
                over.wait(0.05)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        for victim in (perimeter.mx, perimeter.node, perimeter.mx):
            before = len(accepted)
            wait_until(lambda before=before: len(accepted) >= before + 5, "mail under way")  # type: ignore[misc]
            victim.kill()
            victim.start()
    finally:
        over.set()
        sending.join()

    def all_there() -> bool:
        perimeter.mx.rookery("queue", "retry", "all")
        return set(accepted) <= set(perimeter.subjects(BOB))

    wait_until(all_there, "everything that was accepted")
    wait_until(lambda: not perimeter.mx.json("queue", "list"), "an empty queue")
    arrived = Counter(perimeter.subjects(BOB))
    assert [subject for subject, count in arrived.items() if count > 1] == []


def test_it_holds_no_secret_but_its_certificate(perimeter: Cluster) -> None:
    folder = perimeter.mx.folder
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    outside_the_queue = {name for name in files if not name.startswith("spool/")}
    assert outside_the_queue <= {
        "rookery.toml", "cluster/authorities.pem", "cluster/node.pem", "cluster/known.json", "tls/cert.pem",
        "tls/key.pem",
    }  # fmt: skip


def test_a_stolen_one_hands_in_mail_and_nothing_else(perimeter: Cluster) -> None:
    client = Client("imap", "198.51.100.7", "thief", True)
    login = f"\0{ALICE}\0{perimeter.node.passwords[ALICE]}".encode()

    async def dialogue(link: Link, protocol: str, *lines: str) -> list[str]:
        stream = await link.open(Preface(protocol))
        said = [(await stream.read()).decode()]
        for line in lines:
            stream.write(line.encode() + b"\r\n")
            said.append((await stream.read()).decode())
        stream.abort()
        return said

    async def work(link: Link) -> None:
        for protocol in ("imap", "submission", "pop3", "managesieve", "http"):
            assert await opened(link, Preface(protocol, b"a" * 16, session="thief", handle=b"x" * 16)) is Cause.DENIED
        assert await refused(link, Begin(client, "PLAIN", login), Granted) is Cause.DENIED
        assert await refused(link, Expect(b"a" * 16, "imap", "mx1", "thief"), Expected) is Cause.DENIED
        answer = decode_answer(await link.call(encode(Recipient(ALICE)), 30), Verdict)
        assert isinstance(answer, Verdict)
        assert (answer.exists, answer.host) == (True, None)
        said = await dialogue(link, "smtp", "EHLO thief", "MAIL FROM:<a@example.com>", "RCPT TO:<a@example.org>")
        assert said[-1].startswith("550 5.7.1")
        said = await dialogue(link, "lmtp", "LHLO thief", "MAIL FROM:<>", f"RCPT TO:<{ALICE}> XDELIVERY=c0123456789a/x")
        assert "XDELIVERY" not in said[1]
        assert said[-1].startswith("555")

    as_thief(perimeter.mx.folder, perimeter.node.ports["cluster"], work)
