"""Real IMAP clients against a real node: mbsync both ways with 1,000 messages, neomutt on a terminal, curl."""

import imaplib
import mailbox
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until

pytestmark = pytest.mark.journey

ALICE = "alice@example.test"
MANY = 1000
PATIENCE = 60.0


def program(name: str) -> str:
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str, home: Path, text: str = "") -> str:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=240, check=False, env=environment
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def letter(number: int) -> bytes:
    text = (
        f"From: sender@elsewhere.test\r\nTo: {ALICE}\r\nSubject: letter {number}\r\n"
        f"Message-ID: <{number}@elsewhere.test>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\n"
        f"Letter number {number}.\r\n"
    )
    return text.encode()


@contextmanager
def connection(site: RunningSite) -> Iterator[imaplib.IMAP4]:
    with imaplib.IMAP4("127.0.0.1", site.ports["imap"], timeout=60) as client:
        client.login(ALICE, site.passwords[ALICE])
        yield client


def fill(site: RunningSite, letters: list[bytes]) -> None:
    """APPEND them all in one breath."""
    commands = [f"login LOGIN {ALICE} {{{len(site.passwords[ALICE])}+}}\r\n{site.passwords[ALICE]}\r\n".encode()]
    commands += [b"a%d APPEND INBOX {%d+}\r\n%b\r\n" % (n, len(data), data) for n, data in enumerate(letters)]
    with socket.create_connection(("127.0.0.1", site.ports["imap"]), timeout=60) as raw:
        sender = threading.Thread(target=raw.sendall, args=(b"".join(commands) + b"bye LOGOUT\r\n",))
        sender.start()
        with raw.makefile("rb") as lines:
            answers = [line for line in lines if line.startswith(b"a")]
        sender.join()
    assert len(answers) == len(letters)
    assert all(b" OK [APPENDUID " in line for line in answers), answers[-1]


def subjects(site: RunningSite, name: str) -> list[str]:
    with connection(site) as client:
        status, data = client.select(name, readonly=True)
        assert status == "OK", data
        if data == [b"0"]:
            return []
        _, found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return [part[1].decode().strip().removeprefix("Subject: ") for part in found if isinstance(part, tuple)]


# --- mbsync ----------------------------------------------------------------------------------------------------------

MBSYNC = """
IMAPStore far
Host 127.0.0.1
Port {port}
User {user}
Pass "{password}"
SSLType None
AuthMechs *

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
"""


def test_mbsync_both_ways(site: RunningSite, tmp_path: Path) -> None:
    mbsync = program("mbsync")
    local = tmp_path / "maildir"
    local.mkdir()
    config = tmp_path / "mbsyncrc"
    config.write_text(MBSYNC.format(port=site.ports["imap"], user=ALICE, password=site.passwords[ALICE], folder=local))

    def sync() -> None:
        run(mbsync, "-c", str(config), "-a", home=tmp_path)

    fill(site, [letter(number) for number in range(MANY)])
    sync()
    inbox = mailbox.Maildir(str(local / "INBOX"), create=False)
    assert len(inbox) == MANY
    numbers = {int(re.findall(r"letter (\d+)", str(message["Subject"]))[0]): key for key, message in inbox.items()}
    assert sorted(numbers) == list(range(MANY))

    # Here: 500 new letters in a new folder, 100 read, 100 deleted. There: 100 flagged, 50 new.
    fresh = mailbox.Maildir(str(local / "Projects"), create=True)
    for number in range(MANY, MANY + 500):
        fresh.add(letter(number).replace(b"\r\n", b"\n"))
    for number in range(100):
        message = inbox.get_message(numbers[number])
        message.set_subdir("cur")
        message.add_flag("S")
        inbox[numbers[number]] = message
    for number in range(100, 200):
        inbox.remove(numbers[number])
    with connection(site) as client:
        client.select("INBOX")
        client.uid("STORE", "501:600", "+FLAGS.SILENT", "(\\Flagged)")
    fill(site, [letter(number) for number in range(2000, 2050)])
    sync()
    sync()
    inbox = mailbox.Maildir(str(local / "INBOX"), create=False)
    assert len(inbox) == MANY - 100 + 50
    assert sum("F" in message.get_flags() for message in inbox) == 100
    with connection(site) as client:
        client.select("INBOX", readonly=True)
        assert client.search(None, "SEEN")[1][0].split() == [b"%d" % number for number in range(1, 101)]
        assert client.uid("SEARCH", "UID", "101:200") == ("OK", [b""])
    assert sorted(subjects(site, "Projects")) == sorted(f"letter {number}" for number in range(MANY, MANY + 500))
    assert len(subjects(site, "INBOX")) == MANY - 100 + 50


# --- neomutt ---------------------------------------------------------------------------------------------------------

NEOMUTT = """
set folder = "imap://127.0.0.1:{port}/"
set spoolfile = "+INBOX"
set imap_user = "{user}"
set imap_pass = "{password}"
set ssl_starttls = no
set ssl_force_tls = no
set header_cache =
set sort = mailbox-order
set mark_old = no
set confirmappend = no
set delete = yes
set move = no
set mail_check = 1
set timeout = 1
set imap_idle = yes
"""


class Terminal:
    """A program on a pseudo-terminal, with all it has written since the last look."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, environment)
        self._text = ""

    def expect(self, text: str) -> None:
        """Read on until the screen has shown `text`; what came before is forgotten."""
        end = time.monotonic() + PATIENCE
        while text not in self._text:
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no {text!r} on the screen:\n{self._text[-2000:]}"
            self._text += os.read(self._descriptor, 65536).decode("utf-8", "replace")
        self._text = self._text.partition(text)[2]

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def end(self) -> None:
        """Read to its end."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            ready, _, _ = select.select([self._descriptor], [], [], 1.0)
            try:
                if ready and not os.read(self._descriptor, 65536):
                    break
            except OSError:  # what Linux says when the other side is gone
                break
        os.waitpid(self.pid, 0)
        os.close(self._descriptor)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def test_neomutt_on_a_terminal(site: RunningSite, tmp_path: Path) -> None:
    neomutt = program("neomutt")
    with connection(site) as client:
        for number in range(3):
            client.append("INBOX", "", None, letter(number))
    config = tmp_path / "muttrc"
    config.write_text(NEOMUTT.format(port=site.ports["imap"], user=ALICE, password=site.passwords[ALICE]))
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    screen = Terminal([neomutt, "-n", "-F", str(config)], environment)
    try:
        screen.expect("letter 2")
        screen.type("1\n\n")  # to the first message, and open it
        screen.expect("Letter number 0.")
        screen.type("i")  # back to the index
        screen.expect("letter 2")
        with connection(site) as client:
            client.append("INBOX", "", None, letter(77))
        screen.expect("letter 77")  # told by IDLE
        screen.type("2\nF3\nd$")  # flag the second, delete the third, write it back
        wait_until(lambda: subjects(site, "INBOX") == ["letter 0", "letter 1", "letter 77"], "the deletion")
        screen.type("4\n")
        screen.type("q")
        screen.end()
    except BaseException:
        screen.kill()
        raise
    with connection(site) as client:
        client.select("INBOX", readonly=True)
        assert client.search(None, "SEEN") == ("OK", [b"1"])
        assert client.search(None, "FLAGGED") == ("OK", [b"2"])


# --- curl ------------------------------------------------------------------------------------------------------------


def test_curl(shared_site: RunningSite, tmp_path: Path) -> None:
    curl, site = program("curl"), shared_site
    file = tmp_path / "letter"
    file.write_bytes(letter(5))
    user = f"{ALICE}:{site.passwords[ALICE]}"
    secure = f"imaps://127.0.0.1:{site.ports['imaps']}"
    plain = f"imap://127.0.0.1:{site.ports['imap']}"
    run(curl, "-sSk", "--user", user, "-T", str(file), f"{secure}/Archive", home=tmp_path)
    got = run(curl, "-sSk", "--user", user, f"{plain}/Archive;MAILINDEX=1", home=tmp_path)
    assert got.replace("\r\n", "\n") == letter(5).decode().replace("\r\n", "\n")
    got = run(curl, "-sSk", "--ssl-reqd", "--user", user, f"{plain}/Archive?SUBJECT%20letter", home=tmp_path)
    assert got.split() == ["*", "SEARCH", "1"]
    got = run(curl, "-sSk", "--user", user, f"{secure}/", home=tmp_path)
    assert '"INBOX"' in got
    got = run(curl, "-sSk", "--user", user, f"{secure}/Archive;UID=1;SECTION=TEXT", home=tmp_path)
    assert got.strip() == "Letter number 5."
