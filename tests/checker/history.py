"""What clients asked for and what they were told, in the manner of Jepsen: done, refused, or nobody said.

A letter bears a unique mark and belongs to one client, which alone changes it, one operation after the other. After an
operation whose outcome nobody said it is left alone for good, so that at most one is ever in doubt.
"""

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

LENGTHS = (*[1] * 6, *[20] * 9, *[400] * 4, 5000)  # lines of a message; the longest takes two rows of the database


class Outcome(Enum):
    DONE = "ok"
    REFUSED = "fail"  # the server said that it was not done
    UNKNOWN = "unknown"


class Place(NamedTuple):
    """One UID for ever. UIDVALIDITY names a mailbox of the account whatever it is called."""

    account: str
    validity: int
    uid: int


@dataclass(frozen=True)
class Doubt:
    """source: what may be there no longer, or with other `flags`. target: the UIDVALIDITY of where it may be once more.

    moved: exactly one of both is so.
    """

    source: Place | None = None
    target: int | None = None
    moved: bool = False
    flags: frozenset[str] | None = None


@dataclass
class Letter:
    """places: where it must be and with which keywords. doubt: what may have happened after that."""

    mark: str
    account: str
    places: dict[Place, frozenset[str]] = field(default_factory=dict)
    doubt: Doubt | None = None


class Horizon(NamedTuple):
    """Of one mailbox: what somebody has been told already, so that nobody may be told less any more."""

    uidnext: int = 0
    modseq: int = 0


class History:
    """Shared by all clients and the nemesis. Written to a file as it grows: one JSON array a line."""

    def __init__(self, file: Path) -> None:
        self.letters: dict[str, Letter] = {}
        self.delivered: set[str] = set()  # marks of deliveries that were acknowledged
        self.offered: dict[str, str] = {}  # mark of a delivery -> account
        self.sent: dict[str, bytes] = {}  # by mark
        self.folders: dict[tuple[str, int], set[str]] = {}  # the names that a client's folder may have
        self.violations: list[str] = []
        self.counts: Counter[tuple[str, Outcome]] = Counter()
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._horizons: dict[tuple[str, int], Horizon] = {}
        self._next = 0
        self._file = file.open("w")

    def new_mark(self, client: str) -> str:
        with self._lock:
            self._next += 1
            return f"{client}-{self._next}"

    def note(self, client: str, what: str, outcome: Outcome | None, detail: str, began: float) -> None:
        """Times are seconds since the beginning of the history; `began` is monotonic time."""
        times = [round(one - self._began, 3) for one in (began, time.monotonic())]
        with self._lock:
            if outcome is not None:
                self.counts[what, outcome] += 1
            said = outcome.value if outcome is not None else ""
            self._file.write(json.dumps([*times, client, what, said, detail]) + "\n")
            self._file.flush()

    def violated(self, what: str) -> None:
        with self._lock:
            self.violations.append(f"at {time.monotonic() - self._began:.3f}: {what}")

    def letter(self, mark: str, account: str) -> Letter:
        with self._lock:
            made = self.letters[mark] = Letter(mark, account)
            return made

    def message(self, mark: str, account: str, lines: int) -> bytes:
        """A new one that bears the mark."""
        head = (
            f"From: sender@elsewhere.test\r\nTo: {account}\r\nSubject: {mark}\r\nX-Mark: {mark}\r\n"
            f"Message-ID: <{mark}@elsewhere.test>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\n"
        )
        made = self.sent[mark] = head.encode() + b"Whoever kills the server now does not kill this letter.\r\n" * lines
        return made

    def offer(self, mark: str, account: str) -> None:
        with self._lock:
            self.offered[mark] = account

    def horizon(self, account: str, validity: int) -> Horizon:
        """Ask before the command is sent, compare with what came."""
        with self._lock:
            return self._horizons.get((account, validity), Horizon())

    def told(self, account: str, validity: int, *, uidnext: int = 0, modseq: int = 0) -> None:
        with self._lock:
            known = self._horizons.get((account, validity), Horizon())
            self._horizons[account, validity] = Horizon(max(known.uidnext, uidnext), max(known.modseq, modseq))

    def summary(self) -> str:
        kinds = sorted({what for what, _ in self.counts})
        return "\n".join(
            f"{what:8}" + "".join(f" {self.counts[what, outcome]:6} {outcome.value}" for outcome in Outcome)
            for what in kinds
        )
