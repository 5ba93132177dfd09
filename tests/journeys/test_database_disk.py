"""The disk under PostgreSQL hangs, and is full: nothing acknowledged is lost, no account moves for it, clear refusals,
and service returns with the disk.
"""

import smtplib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.journeys.ledger import LOST
from tests.journeys.network import Network, needs_network
from tests.journeys.pool_site import PoolSite, hang_up, read_marks, serving
from tests.journeys.postgres_node import PostgresNode, running
from tests.journeys.waiting import wait_until

pytestmark = needs_network

BACKENDS = ("b1", "b2")
DISK = 400 * 1024 * 1024
HANG = 4.0  # seconds: many times what finds a backend dead


@contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rookery-disk-") as place, ExitStack() as opened:
        image, folder = Path(place) / "image", Path(place) / "disk"
        Path(place).chmod(0o711)
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(DISK)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True, capture_output=True)
        mounted = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"no loop devices here: {mounted.stderr.decode().strip()}")
        opened.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)
        yield folder


class Pool:
    def __init__(self, disk: Path, database: PostgresNode, site: PoolSite, accounts: list[str]) -> None:
        self.disk = disk
        self.database = database
        self.site = site
        self.accounts = accounts


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp("disk")
    with (
        _small_disk() as disk,
        Network(*BACKENDS, "db") as network,
        running(network["db"], folder=disk, settings="max_wal_size = '48MB'\n") as database,
        serving(folder / "site", network, BACKENDS, database.uri) as site,
    ):
        accounts = site.add_accounts(4)
        for session in site.open_at("b1", accounts[:2]) + site.open_at("b2", accounts[2:]):
            hang_up(session)
        yield Pool(disk, database, site, accounts)


def test_hung_disk(pool: Pool) -> None:
    """All wait for it, none is found dead: whoever was first back would else take everybody's accounts."""
    site, before = pool.site, pool.site.epochs(pool.accounts)
    began = time.monotonic()
    with site.workers(pool.accounts):
        wait_until(lambda: _served(site, pool.accounts, began), "work to begin")
        subprocess.run(["fsfreeze", "--freeze", str(pool.disk)], check=True)
        try:
            time.sleep(HANG)  # the very fault
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(pool.disk)], check=True)
        thawed = time.monotonic()
        wait_until(lambda: _served(site, pool.accounts, thawed), "every account to be served again", 15)
        print(f"all served {time.monotonic() - thawed:.2f} s after the disk was back")
    assert site.epochs(pool.accounts) == before
    site.check(pool.accounts)


def _served(site: PoolSite, accounts: list[str], since: float) -> bool:
    return {account for when, _, account, _ in site.acknowledged if when > since} == set(accounts)


def test_full_disk(pool: Pool) -> None:
    site = pool.site
    filler = _fill(pool.disk)
    answers = _until_refused(site, pool.accounts)
    assert answers - {250} <= {451, 452}, answers
    assert answers & {451, 452}, "a full disk refused nothing"
    reading = 0
    for account in pool.accounts:
        with suppress(*LOST):  # the server itself stops when it cannot write its log, and takes reading with it
            _, client = site.open_anywhere(account)
            reading += len(read_marks(client, account)) > 0
            hang_up(client)
    print(f"answers {sorted(answers)}, {reading} of {len(pool.accounts)} accounts could be read meanwhile")
    filler.unlink()
    pool.database.start_again()
    wait_until(lambda: _code(site, "b1", pool.accounts[0]) == 250, "service to return with the space", 30)
    site.check(pool.accounts)


def _until_refused(site: PoolSite, accounts: list[str]) -> set[int]:
    """The codes of deliveries to the accounts' hosts, a few beyond the first refusal."""
    answers: list[int] = []
    hosts = {account: site.host(account)["host"] for account in accounts}
    for number in range(4000):
        account = accounts[number % len(accounts)]
        answers.append(_code(site, hosts[account], account))
        if any(code != 250 for code in answers[:-5]):
            break
    return set(answers)


def _code(site: PoolSite, backend: str, account: str) -> int:
    try:
        site.deliver(backend, account, patience=15)
    except smtplib.SMTPRecipientsRefused as refused:
        return refused.recipients[account][0]
    except smtplib.SMTPResponseException as refused:
        return refused.smtp_code
    return 250


def _fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb") as file, suppress(OSError):
        while True:
            file.write(b"\0" * 65536)
            file.flush()
    return filler
