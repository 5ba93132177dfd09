"""A frontend before a node, as processes: clients come through it, and whoever steals it gains nothing."""

import asyncio
import imaplib
import re
import smtplib
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.cluster.certificates import member_of
from rookery.distribution.cluster.contexts import Contexts
from rookery.distribution.cluster.files import ClusterFiles
from rookery.distribution.service.calls import (
    AskStatus,
    Begin,
    Client,
    Expect,
    Expected,
    Granted,
    Recipient,
    Renew,
    Renewed,
    Verdict,
    decode_answer,
    encode,
)
from rookery.distribution.service.figures import Figures
from rookery.net.cluster.link import Link
from rookery.wire.cluster.values import Preface
from tests.journeys.site import RunningSite, run
from tests.journeys.thief import as_thief, opened, refused
from tests.journeys.waiting import wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"
FRONT = "front.example.test"


class Cluster:
    """A node that has everything, and a frontend."""

    def __init__(self, folder: Path) -> None:
        self.node = RunningSite(folder / "node")
        self.node.init()
        for name in ("alice", "bob"):
            self.node.add_account(name)
        self.node.rookery("cluster", "init")
        self.node.start()
        self.front = RunningSite(folder / "front", hostname=FRONT)  # only now: its ports are others
        self.join("f1")
        self.front.start()

    def join(self, name: str) -> None:
        address = f"127.0.0.1:{self.node.ports['join']}"
        token = self.node.rookery("node", "add", name, "--role", "frontend", "--address", address).stdout.strip()
        directory = ["--directory", f"127.0.0.1:{self.node.ports['cluster']}"]
        self.front.rookery(
            "node", "join", token, *directory, "--hostname", FRONT, "--port-offset", str(self.front.offset)
        )

    def login(self, address: str = ALICE, *, tls: bool = False) -> imaplib.IMAP4:
        """Through the frontend."""
        ports = self.front.ports
        client = (
            imaplib.IMAP4_SSL("127.0.0.1", ports["imaps"], ssl_context=_unverified(), timeout=30)
            if tls
            else imaplib.IMAP4("127.0.0.1", ports["imap"], 30)
        )
        client.login(address, self.node.passwords[address])
        return client

    def deliver(self, subject: str, to: str = ALICE) -> None:
        with smtplib.SMTP("127.0.0.1", self.node.ports["smtp"], "client.example.com", 30) as client:
            client.sendmail("a@example.com", [to], f"From: a@example.com\r\nSubject: {subject}\r\n\r\nHello.\r\n")

    def kill(self) -> None:
        self.front.kill()
        self.node.kill()


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("front"))
    yield made
    made.kill()


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.kill()


def _count(client: imaplib.IMAP4) -> int:
    answer, data = client.select("INBOX")
    assert answer == "OK"
    return int(data[0] or b"0")


# --- clients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_a_mail_program_works_through_it(cluster: Cluster, tls: bool) -> None:
    client = cluster.login(BOB, tls=tls)
    before = _count(client)
    letter = b"Subject: kept\r\n\r\n" + b"x" * 70 + b"\r\n" * 100_000
    assert client.append("INBOX", "", "", letter)[0] == "OK"  # type: ignore[arg-type]
    cluster.deliver("delivered", BOB)
    wait_until(lambda: _count(client) == before + 2, "the delivery")
    answer, data = client.fetch(str(before + 1), "(BODY.PEEK[])")
    assert answer == "OK"
    assert data[0][1] == letter  # type: ignore[index]
    assert client.store("1", "+FLAGS", "(\\Seen)")[0] == "OK"
    client.logout()
    wait_until(lambda: cluster.node.json("status")["connections"]["frontends"] == 0, "the end of the session")


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_a_mail_program_sends_through_it(cluster: Cluster, listener: str) -> None:
    port, password = cluster.front.ports[listener], cluster.node.passwords[BOB]
    client: smtplib.SMTP = (
        smtplib.SMTP_SSL("127.0.0.1", port, "pc.example.test", timeout=30, context=_unverified())
        if listener == "submissions"
        else smtplib.SMTP("127.0.0.1", port, "pc.example.test", 30)
    )
    with client:
        client.ehlo()
        with pytest.raises(smtplib.SMTPSenderRefused, match="530"):
            client.sendmail(BOB, [ALICE], "Subject: before login\r\n\r\n")
        if listener == "submission":
            client.starttls(context=_unverified())
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(BOB, "wrong")
        client.login(BOB, password)
        subject = f"through {listener}"
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail(ALICE, [ALICE], "Subject: not her\r\n\r\n")
        client.sendmail(BOB, [ALICE], f"From: {BOB}\r\nSubject: {subject}\r\n\r\nHello.\r\n")
    mailbox = cluster.login(ALICE)

    def arrived() -> bool:
        mailbox.select("INBOX")
        return bool(mailbox.search(None, "SUBJECT", f'"{subject}"')[1][0])

    wait_until(arrived, "what was sent")
    (number,) = mailbox.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
    header = mailbox.fetch(number, "(BODY.PEEK[HEADER])")[1][0][1].decode()  # type: ignore[index]
    assert "Received: from pc.example.test ([127.0.0.1])" in header
    assert "ESMTPSA" in header


def test_a_wrong_password_is_wrong_there_too_and_logged_with_the_clients_address(cluster: Cluster) -> None:
    client = imaplib.IMAP4("127.0.0.1", cluster.front.ports["imap"], 30)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        client.login(ALICE, "wrong")
    client.login(ALICE, cluster.node.passwords[ALICE])
    client.logout()
    assert "login-failed address=127.0.0.1 protocol=imap" in cluster.node.log_text()


def test_the_nodes_are_listed(cluster: Cluster) -> None:
    listed = {row["name"]: row for row in cluster.node.json("node", "list")}
    assert listed["f1"]["roles"] == ["frontend"]
    assert not listed["f1"]["revoked"]
    assert {"authority", "backend", "directory"} <= set(listed["mail.example.test"]["roles"])
    done = cluster.node.rookery("node", "add", "f1", "--role", "frontend", code=1)
    assert "f1" in done.stderr
    assert "one of frontend" in cluster.node.rookery("node", "add", "f2", "--role", "king", code=1).stderr
    assert cluster.node.rookery("cluster", "init", code=1).stderr == "rookery: this directory has a cluster already\n"


def _metric(site: RunningSite, name: str) -> float:
    """Its one line on /metrics, of which `name` is the beginning."""
    with urlopen(f"http://127.0.0.1:{site.ports['http']}/metrics", timeout=30) as page:
        lines = [line for line in page.read().decode().splitlines() if line.startswith(f"rookery_{name} ")]
    assert len(lines) == 1, (name, lines)
    return float(lines[0].split()[-1])


def test_an_administrator_asks_a_frontend_as_any_node(cluster: Cluster) -> None:
    front = cluster.front
    client = cluster.login()
    status = front.json("status")
    assert (status["member"]["node"], status["member"]["roles"]) == ("f1", ["frontend"])
    assert status["running"]
    assert status["accounts"] is status["queue"] is None
    assert status["connections"]["imap"] >= 1
    assert status["member"]["streams"] >= 1
    assert "f1: frontend; certificate ends 20" in front.rookery("status").stdout
    assert front.rookery("health").stdout == "healthy\n"
    with urlopen(f"http://127.0.0.1:{front.ports['http']}/healthz", timeout=30) as page:
        assert page.read() == b"ok\n"
    assert _metric(front, 'connections{name="imap"}') >= 1
    assert _metric(front, 'cluster_links{name="dialled"}') >= 1
    assert _metric(front, "directory_questions_total") >= 1
    assert _metric(front, "cluster_certificate_end_seconds") == status["member"]["ends"]
    assert _metric(front, "certificate_end_seconds") > status["member"]["ends"]
    assert _metric(front, "cluster_revoked_age_seconds") < 30
    session = re.findall(r"handed-over session=(\w+)", front.log_text())[-1]
    for site in (front, cluster.node):
        assert session in site.rookery("trace", session).stdout
    front.rookery("log", "level", "frontend", "debug")
    assert {"component": "frontend", "level": "debug"} in front.json("log", "level")
    front.rookery("check")
    refused = front.rookery("account", "list", code=1).stderr
    assert refused.startswith("rookery: this node is no more than frontend: run `rookery account list` on a node with")
    client.logout()


def test_logins_that_fail_are_counted_at_the_directory_for_each_frontend(cluster: Cluster) -> None:
    with imaplib.IMAP4("127.0.0.1", cluster.front.ports["imap"], 30) as client, pytest.raises(imaplib.IMAP4.error):
        client.login(BOB, "wrong")
    assert _metric(cluster.node, 'failed_logins{name="f1"}') >= 1


def test_the_key_of_the_authority_is_changed_and_nobody_is_cut_off(cluster: Cluster) -> None:
    node, front = cluster.node, cluster.front
    client = cluster.login()
    (former,) = node.json("cluster", "authority")
    assert former["signs"]
    assert former["here"]
    node.rookery("cluster", "roll")
    now = {row["authority"]: row for row in node.json("cluster", "authority")}
    assert [row["signs"] for row in now.values()] == [False, True]
    assert not now[former["authority"]]["here"]
    cluster.login().logout()  # nobody needs to know of it before

    def known(site: RunningSite) -> bool:
        return (site.folder / "cluster" / "authorities.pem").read_bytes().count(b"BEGIN CERTIFICATE") == 2

    wait_until(lambda: known(front) and known(node), "certificates of the new authority")
    client.noop()  # on the link of before
    cluster.login().logout()
    assert "can be dropped yet" in node.rookery("cluster", "retire").stdout
    assert "not over" in node.rookery("cluster", "roll", code=1).stderr
    assert "signs" in node.rookery("cluster", "authority").stdout
    client.logout()


def test_a_token_works_once(cluster: Cluster, tmp_path: Path) -> None:
    address = f"127.0.0.1:{cluster.node.ports['join']}"
    token = cluster.node.rookery("node", "add", "once", "--role", "frontend", "--address", address).stdout.strip()
    words = ["node", "join", token, "--directory", "127.0.0.1:1"]
    run(["--site", str(tmp_path / "one"), *words])
    assert "token" in run(["--site", str(tmp_path / "two"), *words], code=1).stderr
    assert (
        "wrong character"
        in run(["--site", str(tmp_path / "three"), "node", "join", token[:-9] + "aaaaaaaaa", *words[3:]], code=1).stderr
    )


def test_when_the_node_is_killed_the_frontend_says_so_and_goes_on_afterwards(own_cluster: Cluster) -> None:
    cluster = own_cluster
    client = cluster.login()
    cluster.node.kill()
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        client.noop()
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        cluster.login()
    cluster.node.start()

    def again() -> bool:
        try:
            cluster.login().logout()
        except imaplib.IMAP4.error:
            return False
        return True

    wait_until(again, "a login through the frontend")
    cluster.front.kill()
    status = cluster.front.json("status")
    assert not status["running"]
    assert status["member"]["node"] == "f1"
    assert "frontend" in cluster.front.rookery("account", "list", code=1).stderr
    assert not (cluster.front.folder / "store").exists()
    cluster.front.start()
    assert again()


# --- a thief ---------------------------------------------------------------------------------------------------------


def _as_thief(cluster: Cluster, work: Callable[[Link], Awaitable[None]]) -> None:
    """With the disk and the key of the frontend."""

    as_thief(cluster.front.folder, cluster.node.ports["cluster"], work)


def test_the_disk_of_a_frontend_has_nothing_but_its_own_certificates(cluster: Cluster) -> None:
    files = {str(path.relative_to(cluster.front.folder)) for path in cluster.front.folder.rglob("*") if path.is_file()}
    files -= {"control.sock", "cluster/known.json"}  # where other nodes are
    assert files == {"rookery.toml", "cluster/authorities.pem", "cluster/node.pem", "tls/cert.pem", "tls/key.pem"}


def test_a_stolen_frontend_opens_no_account(cluster: Cluster) -> None:
    """It may relay what a client proves, and nothing else."""
    password = cluster.node.passwords
    client = Client("imap", "198.51.100.7", "thief", True)

    async def work(link: Link) -> None:
        granted = decode_answer(
            await link.call(encode(Begin(client, "PLAIN", f"\0{ALICE}\0{password[ALICE]}".encode())), 30), Granted
        )
        assert isinstance(granted, Granted)
        other = decode_answer(
            await link.call(encode(Begin(client, "PLAIN", f"\0{BOB}\0{password[BOB]}".encode())), 30), Granted
        )
        assert isinstance(other, Granted)
        alice, bob = granted.account, other.account
        # choose an account, by a handle of another, of nobody, or of none
        assert await opened(link, Preface("imap", bob, session="thief", handle=granted.handle)) is Cause.DENIED
        assert await opened(link, Preface("imap", bob, session="thief", handle=b"x" * 16)) is Cause.DENIED
        assert await opened(link, Preface("imap", bob, session="thief")) is Cause.DENIED
        # use the one that was tried, and one that is right, twice
        assert await opened(link, Preface("imap", alice, session="thief", handle=granted.handle)) is Cause.DENIED
        right = Preface("imap", bob, session="thief", handle=other.handle, resume=b"a")
        assert await opened(link, right) is None
        assert await opened(link, right) is Cause.DENIED
        # roles that it lacks: hand mail in, say who has logged in, ask for addresses one by one
        for protocol in ("lmtp", "smtp", "submission", "pop3"):
            assert await opened(link, Preface(protocol, bob, session="thief")) is Cause.DENIED
        assert await refused(link, Expect(bob, "imap", "f1", "thief"), Expected) is Cause.DENIED
        assert await refused(link, Recipient(BOB), Verdict) is Cause.DENIED
        # see who is here
        assert await refused(link, AskStatus(), Figures) is Cause.DENIED
        assert await refused(link, AskStatus("f1"), Figures) is Cause.DENIED
        # guess without an end, or without an address
        nobody = Begin(Client("imap", "", "thief", True), "PLAIN", f"\0{ALICE}\0{password[ALICE]}".encode())
        assert await refused(link, nobody, Granted) is Cause.INVALID
        guesses = [f"\0{ALICE}\0guess {number}".encode() for number in range(3)]
        causes = [
            await refused(link, Begin(Client("imap", f"203.0.113.{n}", "thief", True), "PLAIN", guess), Granted)
            for n, guess in enumerate(guesses)
        ]
        assert set(causes) <= {Cause.BAD_CREDENTIALS, Cause.TOO_MANY}

    _as_thief(cluster, work)


def test_a_revoked_frontend_is_out_within_a_second_and_stays_out(own_cluster: Cluster) -> None:
    cluster = own_cluster
    client = cluster.login()

    async def before(link: Link) -> None:
        cluster.node.rookery("node", "revoke", "f1")
        await asyncio.to_thread(wait_until, lambda: link.closed, "the end of its link")

    _as_thief(cluster, before)
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        client.noop()
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        cluster.login()

    async def renewed(link: Link) -> None:
        raise AssertionError("it is no member")

    with pytest.raises(RookeryError):
        _as_thief(cluster, renewed)
    cluster.front.restart()
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        cluster.login()
    cluster.node.restart()
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
        cluster.login()


def test_a_certificate_is_renewed_for_who_holds_it(cluster: Cluster) -> None:
    from rookery.distribution.cluster.certificates import make_request, new_key
    from rookery.management.membership import issued

    async def work(link: Link) -> None:
        answer = decode_answer(await link.call(encode(Renew(make_request(new_key()))), 30), Renewed)
        assert isinstance(answer, Renewed)
        made = member_of(
            issued(answer.issued).certificate, Contexts(ClusterFiles(cluster.front.folder / "cluster")).state.cluster
        )
        assert (made.name, [role.value for role in made.roles]) == ("f1", ["frontend"])

    _as_thief(cluster, work)
