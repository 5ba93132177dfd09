"""What happens when something dies: the rows on backends and on the database, with real processes.

The times are printed, and in the test's reason; they are not asserted, for a busy machine is not a slow cluster.
"""

import contextlib
import re
import smtplib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.journeys.cluster import BACKENDS, Cluster, running_cluster
from tests.journeys.imap import Client, Refused, append, marks
from tests.journeys.waiting import wait_until

pytestmark = pytest.mark.postgres

ACCOUNTS = 5
KILLS = 5
FROZEN, FROZEN_LONG = 5.0, 60.0  # seconds
PAUSED = 10.0  # seconds
TAKEN_OVER = 10.0  # seconds until another backend must have the accounts of one that is dead or frozen
LOST = (OSError, EOFError)


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster") / "site", ACCOUNTS) as made:
        yield made


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    yield shared_cluster
    shared_cluster.wait_until_steady()


def _others(name: str) -> list[str]:
    return [other for other in BACKENDS if other != name]


def _unused(client: Client, command: str, literal: bytes | None = None) -> str:
    """What came of a command that must not be answered with OK."""
    try:
        answer = client.ask(command, literal)
    except LOST as error:
        return f"{type(error).__name__} {client.bye.decode()}"
    except Refused as refused:
        return str(refused)
    raise AssertionError(f"{command} was answered: {answer}")


def test_killed_host(cluster: Cluster) -> None:
    """From SIGKILL to the next login that succeeds, elsewhere; everything acknowledged is there."""
    account = "user0@example.test"
    times = []
    for number in range(KILLS):
        client, host = cluster.log_in(account)
        append(client, f"killed-{number}")
        began = time.monotonic()
        cluster.backend(host).kill()
        again, there = cluster.log_in(account, *_others(host), within=TAKEN_OVER)
        times.append(time.monotonic() - began)
        assert there != host
        assert marks(again, f"killed-{number}") == 1
        again.close()
        client.close()
        cluster.wait_until_steady()
    print(f"SIGKILL to login elsewhere: median {statistics.median(times):.2f} s, maximum {max(times):.2f} s")


def _frozen(cluster: Cluster, seconds: float) -> None:
    account = "user1@example.test"
    zombie, host = cluster.log_in(account)
    reading, _ = cluster.log_in(account, host)
    append(zombie, "before")
    reading.ask("SELECT INBOX")
    process = cluster.backend(host)
    began = time.monotonic()
    process.suspend()
    try:
        client, there = cluster.log_in(account, *_others(host), within=TAKEN_OVER)
        print(f"SIGSTOP to login elsewhere: {time.monotonic() - began:.2f} s")
        assert there != host
        uid = append(client, "meanwhile")
        zombie.send("APPEND INBOX", b"Subject: zombie\r\n\r\nx\r\n")  # waits in its socket, and is read when it wakes
        reading.send("UID FETCH 1:* (FLAGS)")
        time.sleep(max(0.0, began + seconds - time.monotonic()))  # the very fault
    finally:
        process.resume()
    for one in (zombie, reading):
        said = one.rest()
        assert re.fullmatch(rb"\* BYE \[UNAVAILABLE\][^\r\n]*\r\n", said), said
        one.close()
    assert append(client, "after") > uid
    assert [marks(client, mark) for mark in ("before", "meanwhile", "zombie", "after")] == [1, 1, 0, 1]
    client.close()


def test_frozen_host_neither_writes_nor_reads(cluster: Cluster) -> None:
    _frozen(cluster, FROZEN)


@pytest.mark.soak
def test_host_frozen_for_long(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_cluster(tmp_path_factory.mktemp("cluster") / "site", ACCOUNTS) as made:
        _frozen(made, FROZEN_LONG)
        made.wait_until_steady()


@pytest.mark.parametrize("survivor", BACKENDS)
def test_one_backend_left(cluster: Cluster, survivor: str) -> None:
    """Every account opens there, and takes mail."""
    with cluster.unsupervised():
        for name in _others(survivor):
            cluster.backend(name).kill()
        began = time.monotonic()
        for account in cluster.passwords:
            client, there = cluster.log_in(account, survivor, within=TAKEN_OVER)
            assert there == survivor
            append(client, f"{account} at {survivor}")
            client.close()
        print(f"all but {survivor} killed: {ACCOUNTS} accounts open there after {time.monotonic() - began:.2f} s")


def _deliver(cluster: Cluster, name: str, account: str, subject: str) -> int:
    """By SMTP: the last reply's code, 0 when there was none."""
    try:
        with smtplib.SMTP(BACKENDS[name], cluster.ports["smtp"], timeout=15.0) as client:
            client.sendmail("sender@elsewhere.test", [account], f"Subject: {subject}\r\n\r\nx\r\n")
            return 250
    except smtplib.SMTPRecipientsRefused as refused:
        return next(iter(refused.recipients.values()))[0]
    except smtplib.SMTPResponseException as error:
        return int(error.smtp_code)
    except (OSError, smtplib.SMTPException):
        return 0


def _recovers(cluster: Cluster, account: str, mark: str) -> float:
    """Seconds until writes are acknowledged again, by whoever is asked as a client would."""
    began = time.monotonic()

    def written() -> bool:
        client, _ = cluster.log_in(account)
        with contextlib.suppress(Refused, *LOST):
            append(client, mark)
            return True
        return False

    wait_until(written, "a write to be acknowledged")
    return time.monotonic() - began


def test_database_restarted(cluster: Cluster) -> None:
    """As after its crash; nobody starts anything again."""
    account = "user2@example.test"
    client, _ = cluster.log_in(account)
    append(client, "acknowledged")
    processes = cluster.backends()
    cluster.database.restart()
    print(f"PostgreSQL restarted: writes again after {_recovers(cluster, account, 'afterwards'):.2f} s")
    client.close()
    client, _ = cluster.log_in(account)
    assert marks(client, "acknowledged") == 1
    client.close()
    assert cluster.backends() == processes, "a backend died of it"


def test_database_away(cluster: Cluster) -> None:
    """Nobody answers there: writes are refused or sessions end, mail is deferred; then everything is as before."""
    with _without_database(cluster, "user4@example.test", "away") as said:
        cluster.database.stop()
        try:
            said.ask()
        finally:
            cluster.database.start()
    assert "UNAVAILABLE" in said.writing, said
    assert all(400 <= code < 500 for code in said.codes), said
    assert said.found == (1, 0, 0)


def test_database_paused(cluster: Cluster) -> None:
    """No write is acknowledged, no session left without an end, no mail lost; then everything is as before."""
    with _without_database(cluster, "user3@example.test", "paused") as said:
        cluster.database.pause()
        began = time.monotonic()
        try:
            said.ask()
            time.sleep(max(0.0, began + PAUSED - time.monotonic()))  # the very fault
        finally:
            cluster.database.go_on()
    assert not any(code >= 500 for code in said.codes), said
    acknowledged, tried, mailed = said.found
    assert acknowledged == 1
    assert tried <= 1
    assert said.codes.count(250) <= mailed <= len(BACKENDS)


@dataclass
class _Said:
    """What came of a write, a read and mail (the codes of SMTP) while the database was away, and in the end, how often
    the mailbox has the message acknowledged before it, the one that was refused, and the mail.
    """

    ask: Callable[[], None]
    writing: str = ""
    reading: str = ""
    codes: list[int] = field(default_factory=list)
    found: tuple[int, int, int] = (0, 0, 0)


@contextlib.contextmanager
def _without_database(cluster: Cluster, account: str, what: str) -> Iterator[_Said]:
    """Two sessions at the host, asked meanwhile; then everything recovers, and no process has died of it."""
    writing, host = cluster.log_in(account)
    reading, _ = cluster.log_in(account, host)
    append(writing, "acknowledged")
    reading.ask("SELECT INBOX")
    processes = cluster.backends()

    def ask() -> None:
        said.writing = _unused(writing, "APPEND INBOX", f"Subject: {what}\r\n\r\nx\r\n".encode())
        said.reading = _read(reading)
        said.codes = [_deliver(cluster, name, account, f"mail while {what}") for name in BACKENDS]

    said = _Said(ask)
    yield said
    print(f"PostgreSQL {what}: a write {said.writing!r}, a read {said.reading!r}, SMTP {said.codes}")
    print(f"writes again after {_recovers(cluster, account, 'afterwards'):.2f} s")
    for one in (writing, reading):
        one.close()
    cluster.wait_until_steady()
    client, _ = cluster.log_in(account)
    acknowledged, tried, mailed = (marks(client, mark) for mark in ("acknowledged", what, f"mail while {what}"))
    said.found = acknowledged, tried, mailed
    client.close()
    assert cluster.backends() == processes, "a backend died of it"


def _read(client: Client) -> str:
    """Whether a session that is open still reads, or how it ended."""
    try:
        return client.ask("UID FETCH 1:* (FLAGS)").text.decode()
    except Refused as refused:
        return str(refused)
    except LOST as error:
        return f"{type(error).__name__} {client.bye.decode()}"


def test_cold_start(cluster: Cluster) -> None:
    """Everything ends at once, the database too; started again, every account opens with all that was acknowledged."""
    for account in cluster.passwords:
        client, _ = cluster.log_in(account)
        append(client, "cold")
        client.close()
    cluster.database.stop()
    cluster.kill()
    began = time.monotonic()
    cluster.database.start()
    cluster.start()
    for account in cluster.passwords:
        client, _ = cluster.log_in(account)
        assert marks(client, "cold") == 1
        client.close()
    print(f"cold start: {ACCOUNTS} accounts open after {time.monotonic() - began:.2f} s")
