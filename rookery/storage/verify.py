"""Comparing index and blobs, while the store works: what is missing, rotten, left over, or counted wrongly.

What looks wrong is looked at once more before it is reported, because mail may have come and gone in between.
"""

import asyncio
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId, BlobId, account_text
from rookery.storage.blobs import LookAgain
from rookery.storage.counters import WHOLE, read_counters
from rookery.storage.engine import Reader
from rookery.storage.segments import Health, Place
from rookery.storage.sweeper import find_strays

if TYPE_CHECKING:
    from rookery.storage.store import Store

FINDINGS_LIMIT = 10_000  # more are only counted
ROWS_PER_READ = 5_000
NAMED_LIMIT = 100  # damaged bodies whose messages are looked for: each costs a pass over all emails
NEWEST = b"\xff" * 16
MESSAGES_EACH = 20  # of one body


class Trouble(Enum):
    MISSING = "missing"  # the index names a body that is not there
    ROTTEN = "rotten"  # a body whose checksum is wrong
    ORPHAN = "orphan"  # a large file without a row in the index: harmless, upkeep removes it
    COUNTER = "counter"  # a running number that is not what the rows say
    DANGLING = "dangling"  # a row that refers to one that is not there


class Message(msgspec.Struct, frozen=True):
    """A message that shows a damaged body."""

    account: AccountId
    mailbox: str
    uid: int


class Finding(msgspec.Struct, frozen=True):
    """`where` names account, blob, segment; never content. `messages`: some of those that have the body."""

    trouble: Trouble
    where: str
    what: str
    messages: tuple[Message, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """`dead`: octets in segments that no row names (compaction's business). `more`: findings beyond the limit."""

    findings: list[Finding]
    more: int
    accounts: int
    blobs: int
    octets: int
    dead: int

    @property
    def sound(self) -> bool:
        """Nothing but harmless left-overs."""
        return not self.more and all(finding.trouble is Trouble.ORPHAN for finding in self.findings)


class _Verification:
    def __init__(self, store: "Store") -> None:
        self._store = store
        self._findings: list[Finding] = []
        self._more = 0
        self._accounts = self._blobs = self._octets = self._dead = 0

    def report(self) -> Report:
        return Report(self._findings, self._more, self._accounts, self._blobs, self._octets, self._dead)

    def _messages(self, blob: BlobId) -> tuple[Message, ...]:
        sql = (
            "SELECT a.id, m.name, p.uid FROM email e JOIN account a ON a.account = e.account"
            " JOIN presence p ON p.account = e.account AND p.email = e.email"
            " JOIN mailbox m ON m.account = p.account AND m.mailbox = p.mailbox WHERE e.blob = ? LIMIT ?"
        )
        with self._store.read() as reader:
            return tuple(Message(*row) for row in reader.rows(sql, blob, MESSAGES_EACH))

    def add(self, trouble: Trouble, where: str, what: str, blob: BlobId | None = None) -> None:
        if len(self._findings) < FINDINGS_LIMIT:
            messages = self._messages(blob) if blob and len(self._findings) < NAMED_LIMIT else ()
            self._findings.append(Finding(trouble, where, what, messages))
        else:
            self._more += 1

    # --- blobs ---------------------------------------------------------------------------------------------------

    def segment(self, segment: int) -> None:
        """All rows that name the segment, against its records."""
        try:
            found = {(record.place.offset, record.blob): record for record in self._store.blobs.scan(segment)}
        except FileNotFoundError:
            for blob, _ in self._rows(segment):
                self._absent(blob)
            return
        named = 0
        for blob, place in self._rows(segment):
            self._blobs += 1
            self._octets += place.length
            named += place.length
            record = found.get((place.offset, blob))
            if record is None or record.health is not Health.GOOD or record.place.length != place.length:
                self._look(blob)
        self._dead += max(0, sum(record.place.length for record in found.values()) - named)

    def _rows(self, segment: int) -> Iterable[tuple[BlobId, Place]]:
        after = -1
        sql = "SELECT blob, offset, length, codec FROM blob WHERE segment = ? AND offset > ? ORDER BY offset LIMIT ?"
        while True:
            with self._store.read() as reader:
                rows = reader.rows(sql, segment, after, ROWS_PER_READ)
            for blob, offset, length, codec in rows:
                yield BlobId(blob), Place(segment, offset, length, codec)
            if len(rows) < ROWS_PER_READ:
                return
            after = rows[-1][1]

    def _absent(self, blob: BlobId) -> None:
        """Its file was not there; a reader may still have it open, so reading proves nothing."""
        self._blobs += 1
        blobs = self._store.blobs
        try:
            place = self._store.place(blob)
        except RookeryError:
            return  # removed meanwhile
        if place.segment not in blobs.segments() if place.segment else blob not in blobs.shelf(0):
            self.add(Trouble.MISSING, f"blob {blob.hex()}", "its file is missing", blob)

    def strays(self) -> None:
        """Bodies kept as rows that nothing names."""
        after: bytes | None = b""
        while after is not None:
            with self._store.read() as reader:
                found, after = find_strays(reader, after, NEWEST)
            for blob in found:
                self.add(Trouble.ORPHAN, f"body {blob.hex()}", "no row names it (or it is just arriving)")

    def _look(self, blob: BlobId) -> None:
        """Read the body the way a client would; only what fails then is reported."""
        where = f"blob {blob.hex()}"
        for _ in range(2):
            try:
                place = self._store.place(blob)
            except RookeryError:
                return  # removed meanwhile
            try:
                for _chunk in self._store.blobs.chunks(blob, place):
                    pass
            except LookAgain:
                continue
            except RookeryError as error:
                trouble = Trouble.ROTTEN if error.cause is Cause.CORRUPT else Trouble.MISSING
                self.add(trouble, where, error.what.removeprefix(where).lstrip(" :"), blob)
            return
        self.add(Trouble.MISSING, where, "its octets are missing", blob)

    def large(self) -> None:
        """Bodies with places of their own: all read, and those that no row names."""
        shared = self._store.database.shared
        there = set() if shared else set(self._store.blobs.shelf(0))
        after = b""
        sql = "SELECT blob, length FROM blob WHERE segment = 0 AND blob > ? ORDER BY blob LIMIT ?"
        while True:
            with self._store.read() as reader:
                rows = reader.rows(sql, after, ROWS_PER_READ)
            for blob, length in rows:
                if not shared and blob not in there:
                    self._absent(BlobId(blob))
                    continue
                self._blobs += 1
                self._octets += length
                self._look(BlobId(blob))
            if len(rows) < ROWS_PER_READ:
                break
            after = rows[-1][0]
        for number in range(self._store.blobs.shelves):
            self._unnamed(self._store.blobs.shelf(number))

    def _unnamed(self, blobs: Sequence[BlobId]) -> None:
        for start in range(0, len(blobs), ROWS_PER_READ):
            part = [(blob,) for blob in blobs[start : start + ROWS_PER_READ]]
            with self._store.read() as reader:
                known = {row[0] for row in reader.select_many("blob", ("blob",), ("blob",), part)}
            for (blob,) in part:
                if blob not in known:
                    self.add(Trouble.ORPHAN, f"blob {blob.hex()}", "no row names it (or it is just arriving)")

    def unnamed_segments(self, segments: set[int]) -> None:
        """Rows that name a segment whose file is not there."""
        with self._store.read() as reader:
            named = [row[0] for row in reader.rows("SELECT DISTINCT segment FROM blob WHERE segment > 0")]
        for segment in named:
            if segment not in segments:
                self.segment(segment)

    # --- accounts ------------------------------------------------------------------------------------------------

    def account(self, number: int, account: AccountId) -> None:
        """One account, in one moment."""
        self._accounts += 1
        where = f"account {account_text(account)}"
        with self._store.read() as reader:
            for what in _wrong_counters(reader, number):
                self.add(Trouble.COUNTER, where, what)
            for what in _dangling(reader, number):
                self.add(Trouble.DANGLING, where, what)

    def some_accounts(self, accounts: Sequence[tuple[int, AccountId]]) -> None:
        for number, account in accounts:
            self.account(number, account)

    def accounts(self) -> Iterable[tuple[int, AccountId]]:
        after = -1
        sql = "SELECT account, id FROM account WHERE state = 0 AND account > ? ORDER BY account LIMIT ?"
        while True:
            with self._store.read() as reader:
                rows = reader.rows(sql, after, ROWS_PER_READ)
            yield from rows
            if len(rows) < ROWS_PER_READ:
                return
            after = rows[-1][0]


def _wrong_counters(reader: Reader, number: int) -> Iterable[str]:
    sql = (
        "SELECT p.mailbox, count(*), sum(CASE WHEN p.flags & 1 = 0 THEN 1 ELSE 0 END),"
        " sum(CASE WHEN p.flags & 8 = 8 THEN 1 ELSE 0 END), sum(e.size), max(p.uid)"
        " FROM presence p JOIN email e ON e.account = p.account AND e.email = p.email"
        " WHERE p.account = ? GROUP BY p.mailbox"
    )
    held = {row[0]: [int(value) for value in row[1:]] for row in reader.rows(sql, number)}
    total = [0, 0]
    counters = read_counters(reader, number)
    for mailbox, counter in counters.items():
        if mailbox == WHOLE:
            continue
        numbers = (counter.messages, counter.unseen, counter.deleted, counter.size)
        counted = held.get(mailbox, [0, 0, 0, 0, 0])
        total = [total[0] + counted[0], total[1] + counted[3]]
        for name, has, should in zip(("messages", "unseen", "deleted", "size"), numbers, counted, strict=False):
            if has != should:
                yield f"mailbox {mailbox}: {name} is {has}, the rows say {should}"
        if counter.uidnext <= counted[4]:
            yield f"mailbox {mailbox}: the next UID is {counter.uidnext}, the greatest in use is {counted[4]}"
    whole = [counters[WHOLE].messages, counters[WHOLE].size] if WHOLE in counters else [0, 0]
    if whole != total:
        yield f"the whole: {whole[0]} messages, {whole[1]} octets, the rows say {total[0]} and {total[1]}"


def _dangling(reader: Reader, number: int) -> Iterable[str]:
    sql = (
        "SELECT p.mailbox, p.uid FROM presence p LEFT JOIN email e ON e.account = p.account AND e.email = p.email"
        " WHERE p.account = ? AND e.email IS NULL LIMIT 100"
    )
    for mailbox, uid in reader.rows(sql, number):
        yield f"mailbox {mailbox} UID {uid}: there is no such email"
    sql = (
        "SELECT e.email FROM email e LEFT JOIN blob b ON b.blob = e.blob"
        " WHERE e.account = ? AND (b.blob IS NULL OR b.refs < 1) LIMIT 100"
    )
    for (email,) in reader.rows(sql, number):
        yield f"email {email}: the index has no place for its body"


async def verify(store: "Store") -> Report:
    """Look at everything; in slices, in a thread. Raises RookeryError when the index cannot be read."""
    work = _Verification(store)
    segments = await asyncio.to_thread(store.blobs.segments)
    for segment in segments:
        await asyncio.to_thread(work.segment, segment)
    await asyncio.to_thread(work.unnamed_segments, set(segments))
    await asyncio.to_thread(work.large)
    if store.blobs.with_index:
        await asyncio.to_thread(work.strays)
    for problem in await asyncio.to_thread(store.problems):
        work.add(Trouble.DANGLING, "index.db", problem)
    accounts = await asyncio.to_thread(lambda: list(work.accounts()))
    for start in range(0, len(accounts), 100):
        await asyncio.to_thread(work.some_accounts, accounts[start : start + 100])
    return work.report()
