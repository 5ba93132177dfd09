"""Snapshots under load: what was acknowledged before one began is in it once, and a restored site goes on."""

import imaplib
import smtplib
import threading
from pathlib import Path

from tests.journeys.site import RunningSite, run
from tests.journeys.waiting import wait_until

ALICE = "alice@example.test"


def _deliver(site: RunningSite, sent: list[str], stop: threading.Event, name: str) -> None:
    """Acknowledged messages are added to `sent` after their 250."""
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"], "client.example.com", 30) as client:
        for number in range(100_000):
            if stop.is_set():
                return
            subject = f"{name}-{number}"
            client.sendmail("a@example.com", [ALICE], f"Subject: {subject}\r\n\r\n{'x' * 2000}\r\n")
            sent.append(subject)


def _subjects(site: RunningSite) -> list[str]:
    client = imaplib.IMAP4("127.0.0.1", site.ports["imap"], timeout=60)
    client.login(ALICE, site.passwords[ALICE])
    client.select("INBOX")
    _, found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    client.logout()
    return [part[1].decode().strip().removeprefix("Subject: ") for part in found if isinstance(part, tuple)]


def test_a_snapshot_under_load_is_whole(site: RunningSite, tmp_path: Path) -> None:
    sent: list[list[str]] = [[] for _ in range(4)]
    stop = threading.Event()
    threads = [threading.Thread(target=_deliver, args=(site, sent[n], stop, f"t{n}")) for n in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(len(some) > 50 for some in sent), "some messages")
    for number in range(3):
        before = {subject for some in sent for subject in list(some)}
        site.rookery("snapshot", str(tmp_path / f"snapshot-{number}"))
    stop.set()
    for thread in threads:
        thread.join()
    site.kill()
    _check(site, tmp_path / "snapshot-2", before)


def _check(site: RunningSite, snapshot: Path, before: set[str]) -> None:
    assert "in use" in run(["restore", str(snapshot), str(site.folder)], code=1).stderr
    restored = RunningSite.__new__(RunningSite)
    restored.__dict__.update(site.__dict__, folder=site.folder.parent / "restored", process=None)
    run(["restore", str(snapshot), str(restored.folder)])
    assert "Nothing is wrong." in restored.rookery("store", "verify").stdout
    restored.start()
    try:
        wait_until(lambda: not restored.json("queue", "list"), "the restored queue to be empty")
        found = _subjects(restored)
        assert len(found) == len(set(found)), "every message once"
        assert before <= set(found), "everything acknowledged before the snapshot"
        restored.add_account("dave")
    finally:
        assert restored.stop() == 0
    assert "Nothing is wrong." in restored.rookery("store", "verify").stdout


def test_a_snapshot_of_a_stopped_site(site: RunningSite, tmp_path: Path) -> None:
    site.stop()
    site.rookery("snapshot", str(tmp_path / "snapshot"))
    assert "is in use" in site.rookery("snapshot", str(tmp_path / "snapshot"), code=1).stderr
    assert "no whole snapshot" in run(["restore", str(tmp_path), str(tmp_path / "x")], code=1).stderr
    (tmp_path / "snapshot" / "SNAPSHOT.json").unlink()
    assert "no whole snapshot" in run(["restore", str(tmp_path / "snapshot"), str(tmp_path / "x")], code=1).stderr
