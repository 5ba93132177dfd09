"""A full disk and a read-only one: clear refusals, nothing lost; service returns with space. Needs root to mount."""

import imaplib
import os
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.ledger import Ledger, check, letter
from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until

pytestmark = [
    pytest.mark.journey,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root"),
]

DISK = 96 * 1024 * 1024
ALICE = "alice@example.test"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system of its own, which turns read-only on an error."""
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True, capture_output=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop,errors=remount-ro", str(image), str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no loop devices here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def site_on_disk(small_disk: Path) -> Iterator[RunningSite]:
    site = RunningSite(small_disk / "site")
    site.log_file = small_disk.parent / "site.log"
    site.init()
    site.start()
    site.add_account("alice")
    yield site
    site.kill()


def _deliver(site: RunningSite, ledger: Ledger) -> tuple[int, bytes]:
    """One LMTP delivery; the code and text of the answer."""
    mark = ledger.attempt(ALICE, "lmtp")
    try:
        with smtplib.LMTP("127.0.0.1", site.ports["lmtp"], local_hostname="client.test", timeout=30) as client:
            client.sendmail("sender@elsewhere.test", [ALICE], letter(mark, ALICE))
    except smtplib.SMTPRecipientsRefused as refused:
        return refused.recipients[ALICE]
    except smtplib.SMTPResponseException as refused:
        return refused.smtp_code, str(refused.smtp_error).encode()
    ledger.acknowledge(mark)
    return 250, b""


def _fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(b"\0" * 65536)
                file.flush()
        except OSError:
            pass
    return filler


def test_full_disk(site_on_disk: RunningSite, small_disk: Path) -> None:
    site, ledger = site_on_disk, Ledger()
    for _ in range(20):
        assert _deliver(site, ledger)[0] == 250
    filler = _fill(small_disk)
    answers: set[int] = set()
    for _ in range(400):
        code, _ = _deliver(site, ledger)
        answers.add(code)
        if code != 250:
            break
    assert answers <= {250, 452, 451}, answers
    assert answers & {452, 451}, "a full disk refused nothing"
    check(ledger, site.ports["imap"], site.passwords)  # reading goes on
    with imaplib.IMAP4("127.0.0.1", site.ports["imap"], timeout=30) as client:
        client.login(ALICE, site.passwords[ALICE])
        client.select("INBOX")
        assert client.uid("STORE", "1", "+FLAGS", r"(\Deleted)")[0] == "OK"
        assert client.uid("EXPUNGE", "1")[0] == "OK", "deleting must work on a full disk"
        assert client.append("INBOX", "", "", letter("never", ALICE))[0] == "NO"
    ledger.expunging.add(next(key for key in ledger.seen if key[2] == 1))
    filler.unlink()
    wait_until(lambda: _deliver(site, ledger)[0] == 250, "service to return with the space")
    check(ledger, site.ports["imap"], site.passwords)
    site.stop()
    site.start()
    check(ledger, site.ports["imap"], site.passwords)


def _device_of(folder: Path) -> str:
    for line in Path("/proc/mounts").read_text().splitlines():
        device, where, *_ = line.split()
        if where == str(folder):
            return Path(device).name
    raise RuntimeError(f"{folder} is not mounted")


def test_disk_turns_read_only(site_on_disk: RunningSite, small_disk: Path) -> None:
    site, ledger = site_on_disk, Ledger()
    for _ in range(20):
        assert _deliver(site, ledger)[0] == 250
    trigger = Path("/sys/fs/ext4") / _device_of(small_disk) / "trigger_fs_error"
    if not trigger.exists():
        pytest.skip("this kernel cannot make a file system fail on purpose")
    trigger.write_text("test of a read-only disk")
    for _ in range(3):
        code, _ = _deliver(site, ledger)
        assert code in (451, 452), code
    check(ledger, site.ports["imap"], site.passwords)  # reading goes on
    site.kill()
    subprocess.run(["umount", str(small_disk)], check=True)
    image = small_disk.parent / "image"
    subprocess.run(["e2fsck", "-p", "-f", str(image)], check=False, capture_output=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(small_disk)], check=True)
    site.start()
    check(ledger, site.ports["imap"], site.passwords)
    assert _deliver(site, ledger)[0] == 250
