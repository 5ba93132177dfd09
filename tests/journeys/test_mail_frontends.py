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

from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"
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

    def subjects(self, address: str) -> list[str]:
        """Of everything in the inbox."""
        client = imaplib.IMAP4("127.0.0.1", self.node.ports["imap"], 30)
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

    def kill(self) -> None:
        self.mx.kill()
        self.node.kill()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("front"), "frontend", "mx-in")
    yield made
    made.kill()


def _swaks(port: int, *words: str) -> str:
    command = ["swaks", "--server", f"127.0.0.1:{port}", "--from", "a@example.com", "--ehlo", "c.example.com", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


def test_mail_from_other_servers_comes_through(front: Cluster) -> None:
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


def test_lmtp_is_answered_for_each_recipient(front: Cluster) -> None:
    for size in (0, 500_000):
        subject = f"by LMTP {size}"
        answers = _lmtp(front.mx.ports["lmtp"], [ALICE, "nobody@example.test", "staff@example.test"], subject, size)
        assert [answer[:9] for answer in answers] == ["250 2.0.0", "550 5.1.1", "250 2.0.0"]
        assert subject in front.subjects(ALICE)  # once it was answered
        wait_until(partial(front.has, BOB, subject), "the group's mail")


def test_when_the_node_is_away_senders_are_told_to_come_again(front: Cluster) -> None:
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
    wait_until(partial(perimeter.has, ALICE, "first"), "the first message")
    perimeter.node.kill()
    assert _send(perimeter, "second")  # she is known
    assert "451" in _swaks(perimeter.mx.ports["smtp"], "--to", BOB)  # he is not
    (waiting,) = perimeter.mx.json("queue", "list")
    assert [recipient["address"] for recipient in waiting["recipients"]] == [ALICE]
    perimeter.mx.kill()
    perimeter.mx.start()
    assert perimeter.mx.json("status")["queue"]["messages"] == 1
    perimeter.node.start()

    def came() -> bool:
        perimeter.mx.rookery("queue", "retry", "all")
        return "second" in perimeter.subjects(ALICE)

    wait_until(came, "the second message")
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
