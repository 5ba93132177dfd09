"""Real SMTP clients: curl, swaks, smtp-source. What each sends is read back through IMAP."""

import imaplib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until

pytestmark = pytest.mark.journey

ALICE, BOB = "alice@example.test", "bob@example.test"
MANY = 20_000
LETTER = "From: bob@example.test\r\nTo: alice@example.test\r\nSubject: {subject}\r\n\r\nGood morning.\r\n"


def program(name: str) -> str:
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str, text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def subjects(site: RunningSite, address: str) -> list[str]:
    with imaplib.IMAP4("127.0.0.1", site.ports["imap"], timeout=60) as client:
        client.login(address, site.passwords[address])
        client.select("INBOX", readonly=True)
        _, data = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return [part[1].decode().strip().removeprefix("Subject: ") for part in data if isinstance(part, tuple)]


def count(site: RunningSite, address: str) -> int:
    with imaplib.IMAP4("127.0.0.1", site.ports["imap"], timeout=60) as client:
        client.login(address, site.passwords[address])
        return int(client.select("INBOX", readonly=True)[1][0] or b"0")


def test_curl_through_submission(shared_site: RunningSite, tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_text(LETTER.format(subject="by curl"), newline="")
    run(
        program("curl"), "-sS", "--ssl-reqd", "-k", f"smtps://127.0.0.1:{shared_site.ports['submissions']}",
        "--mail-from", BOB, "--mail-rcpt", ALICE, "--user", f"{BOB}:{shared_site.passwords[BOB]}",
        "--upload-file", str(letter),
    )  # fmt: skip
    wait_until(lambda: "by curl" in subjects(shared_site, ALICE), "curl's message")


def test_swaks_through_submission_with_starttls(shared_site: RunningSite) -> None:
    run(
        program("swaks"), "--server", "127.0.0.1", "--port", str(shared_site.ports["submission"]), "--tls",
        "--auth", "PLAIN", "--auth-user", BOB, "--auth-password", shared_site.passwords[BOB],
        "--from", BOB, "--to", ALICE, "--header", "Subject: by swaks", "--h-X-Test", "1",
    )  # fmt: skip
    wait_until(lambda: "by swaks" in subjects(shared_site, ALICE), "swaks's message")


def test_swaks_is_refused_what_an_open_relay_would_do(shared_site: RunningSite) -> None:
    done = subprocess.run(
        [program("swaks"), "--server", "127.0.0.1", "--port", str(shared_site.ports["smtp"]),
         "--from", "a@elsewhere.test", "--to", "b@elsewhere.test"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 24, done.stdout  # swaks: no recipients accepted
    assert " 550 5.7.1 " in done.stdout or " 554 5.7.1 " in done.stdout, done.stdout


def test_swaks_pipelines_and_speaks_lmtp(shared_site: RunningSite) -> None:
    run(
        program("swaks"), "--server", "127.0.0.1", "--port", str(shared_site.ports["lmtp"]), "--protocol", "LMTP",
        "--from", "a@elsewhere.test", "--to", f"{ALICE},{BOB}", "--header", "Subject: by lmtp", "--pipeline",
    )  # fmt: skip
    assert "by lmtp" in subjects(shared_site, ALICE)
    assert "by lmtp" in subjects(shared_site, BOB)


def test_smtp_source_with_twenty_thousand_messages(shared_site: RunningSite) -> None:
    before = count(shared_site, BOB)
    run(
        program("smtp-source"), "-s", "20", "-m", str(MANY), "-l", "1000", "-f", "load@elsewhere.test",
        "-t", BOB, f"127.0.0.1:{shared_site.ports['smtp']}",
    )  # fmt: skip
    wait_until(lambda: count(shared_site, BOB) == before + MANY, "all of them in the mailbox")
    assert json.loads(shared_site.rookery("queue", "list", "--json").stdout) == []
