"""Clients that keep books: what they asked for, what was acknowledged, what is there in the end.

Every message carries a unique mark. An acknowledged message must be there exactly once, any other at most
once (nobody here retries); an acknowledged keyword must be there, an acknowledged expunge must stay expunged, and
a (mailbox, UIDVALIDITY, UID) must never name two messages.
"""

import contextlib
import imaplib
import random
import re
import smtplib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

MARK = re.compile(rb"X-Mark: ([a-z0-9-]+)")
LOST = (OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.error, imaplib.IMAP4.abort)

Key = tuple[str, int, int]  # account, uidvalidity, uid


@dataclass
class Ledger:
    """Shared by all clients of one site, over all its lives."""

    attempted: dict[str, str] = field(default_factory=dict)  # mark -> account
    acknowledged: set[str] = field(default_factory=set)
    flagged: set[tuple[Key, str]] = field(default_factory=set)
    expunged: set[Key] = field(default_factory=set)
    expunging: set[Key] = field(default_factory=set)  # asked for; the answer may have been lost
    seen: dict[Key, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _next: int = 0

    def attempt(self, account: str, kind: str) -> str:
        with self.lock:
            self._next += 1
            mark = f"{kind}-{self._next}"
            self.attempted[mark] = account
            return mark

    def acknowledge(self, mark: str) -> None:
        with self.lock:
            self.acknowledged.add(mark)

    def saw(self, key: Key, mark: str) -> None:
        with self.lock:
            earlier = self.seen.setdefault(key, mark)
        assert earlier == mark, f"UID used twice: {key} was {earlier}, is {mark}"


def letter(mark: str, account: str) -> bytes:
    padding = b"Nobody expects a server to be killed at this very line, but here we are.\r\n" * 20
    return (
        f"From: sender@elsewhere.test\r\nTo: {account}\r\nSubject: {mark}\r\nX-Mark: {mark}\r\n"
        f"Message-ID: <{mark}@elsewhere.test>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\n"
    ).encode() + padding


def deliver(ledger: Ledger, port: int, account: str, stop: threading.Event, *, lmtp: bool) -> None:
    """Send one message after another until stopped or cut off."""
    kind = smtplib.LMTP if lmtp else smtplib.SMTP
    with contextlib.suppress(*LOST), kind("127.0.0.1", port, local_hostname="client.test", timeout=30) as client:
        while not stop.is_set():
            mark = ledger.attempt(account, "lmtp" if lmtp else "smtp")
            client.sendmail("sender@elsewhere.test", [account], letter(mark, account))
            ledger.acknowledge(mark)


def use_mailbox(ledger: Ledger, port: int, account: str, password: str, stop: threading.Event, seed: int) -> None:
    """APPEND, STORE and EXPUNGE in the account's INBOX until stopped or cut off."""
    dice = random.Random(seed)
    with contextlib.suppress(*LOST), imaplib.IMAP4("127.0.0.1", port, timeout=30) as client:
        client.login(account, password)
        client.select("INBOX")
        validity = int(client.response("UIDVALIDITY")[1][0])  # type: ignore[arg-type]
        mine: list[int] = []
        while not stop.is_set():
            action = dice.choice(["append", "append", "flag", "flag", "expunge"])
            if action == "append" or not mine:
                mark = ledger.attempt(account, "append")
                answer, data = client.append("INBOX", "", "", letter(mark, account))
                assert answer == "OK", data
                ledger.acknowledge(mark)
                found = re.search(rb"APPENDUID (\d+) (\d+)", data[0])
                assert found, data
                uid = int(found[2])
                ledger.saw((account, int(found[1]), uid), mark)
                mine.append(uid)
                continue
            uid = mine[dice.randrange(len(mine))]
            key = (account, validity, uid)
            if action == "flag":
                keyword = f"mark{dice.randrange(5)}"
                if client.uid("STORE", str(uid), "+FLAGS", f"({keyword})")[0] == "OK":
                    with ledger.lock:
                        ledger.flagged.add((key, keyword))
            else:
                mine.remove(uid)
                with ledger.lock:
                    ledger.expunging.add(key)
                client.uid("STORE", str(uid), "+FLAGS", r"(\Deleted)")
                if client.uid("EXPUNGE", str(uid))[0] == "OK":
                    with ledger.lock:
                        ledger.expunged.add(key)


def check(ledger: Ledger, port: int, passwords: dict[str, str]) -> None:
    """Every promise above, read through IMAP. The queue must be empty."""
    present: Counter[str] = Counter()
    flags: dict[Key, set[str]] = defaultdict(set)
    for account, password in passwords.items():
        with imaplib.IMAP4("127.0.0.1", port, timeout=60) as client:
            client.login(account, password)
            client.select("INBOX")
            validity = int(client.response("UIDVALIDITY")[1][0])  # type: ignore[arg-type]
            answer, data = client.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (X-MARK)])")
            assert answer == "OK", data
            for part in data:
                if not isinstance(part, tuple):
                    continue
                found = MARK.search(part[1])
                uid = re.search(rb"UID (\d+)", part[0])
                assert found, part
                assert uid, part
                mark = found[1].decode()
                present[mark] += 1
                assert ledger.attempted.get(mark) == account, f"{mark} is in {account}"
                key = (account, validity, int(uid[1]))
                ledger.saw(key, mark)
                shown = re.search(rb"FLAGS \(([^)]*)\)", part[0])
                assert shown, part
                flags[key] = set(shown[1].decode().split())
    gone = {ledger.seen[key] for key in ledger.expunging if key in ledger.seen}
    missing = [mark for mark in ledger.acknowledged if not present[mark] and mark not in gone]
    assert not missing, f"{len(missing)} acknowledged messages are missing: {sorted(missing)[:10]}"
    doubled = [mark for mark, count in present.items() if count > 1]
    assert not doubled, f"stored twice: {sorted(doubled)[:10]}"
    back = [key for key in ledger.expunged if key in flags]
    assert not back, f"expunged and there again: {back[:10]}"
    unflagged = [(k, word) for k, word in ledger.flagged if k not in ledger.expunging and word not in flags[k]]
    assert not unflagged, f"acknowledged keywords missing: {unflagged[:10]}"


def run_clients(clients: list[Callable[[threading.Event], None]]) -> tuple[threading.Event, list[threading.Thread]]:
    """Start all; returns the event that stops them and their threads."""
    stop = threading.Event()
    threads = [threading.Thread(target=client, args=(stop,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    return stop, threads
