"""The running numbers of accounts and mailboxes, and how they are kept without being written at each delivery.

The rows of `counter` are exact as of the change number in the account's own row (mailbox 0). Emails with a greater
number are births that are not counted yet: whoever reads the counters adds them. A delivery therefore writes no counter
but once in a while (UNCOUNTED_LIMIT), which leaves two randomly placed pages to it, the ends of `email` and `presence`;
everything else that changes a number stores them all (batch.py). Measured with 50,000 accounts in SQLite, batches of 50
deliveries: 3.8 pages of the write-ahead log each before, 2.8 after.
"""

from collections.abc import Sequence

import msgspec

from rookery.storage.engine import Reader

WHOLE = 0  # counter.mailbox of the account as a whole
UNCOUNTED_LIMIT = 8  # births of one account that are not in its counters
COUNTER_COLUMNS = (
    "account",
    "mailbox",
    "uidvalidity",
    "uidnext",
    "modseq",
    "messages",
    "unseen",
    "deleted",
    "size",
)

_KEYS_PER_QUERY = (1, 8, 64, 512)  # few different statements, so that each is prepared once


class Birth(msgspec.Struct, frozen=True, gc=False):
    """What an email's row says of its appending."""

    mailbox: int
    email: int
    uid: int
    flags: int
    size: int


class Counter:
    """The running numbers of one mailbox, or (mailbox 0) of the whole account."""

    __slots__ = ("deleted", "dirty", "mailbox", "messages", "modseq", "size", "uidnext", "uidvalidity", "unseen")

    def __init__(
        self,
        mailbox: int,
        uidvalidity: int,
        uidnext: int,
        modseq: int,
        messages: int,
        unseen: int,
        deleted: int,
        size: int,
    ) -> None:
        self.mailbox = mailbox
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.modseq = modseq
        self.messages = messages
        self.unseen = unseen
        self.deleted = deleted
        self.size = size
        self.dirty = False

    def count(self, birth: Birth) -> None:
        """Count a message that was appended to this mailbox (or anywhere in the account)."""
        self.modseq = birth.email
        self.messages += 1
        self.size += birth.size
        if self.mailbox != WHOLE:
            self.uidnext = birth.uid + 1
            self.unseen += not birth.flags & 1
            self.deleted += birth.flags >> 3 & 1

    def copy(self) -> "Counter":
        """As it is now, and not dirty."""
        return Counter(self.mailbox, *self.values())

    def values(self) -> tuple[int, ...]:
        return (
            self.uidvalidity,
            self.uidnext,
            self.modseq,
            self.messages,
            self.unseen,
            self.deleted,
            self.size,
        )


def read_births(reader: Reader, accounts: Sequence[int]) -> dict[int, list[Birth]]:
    """The births of each account that its counters leave out, in order."""
    found: dict[int, list[Birth]] = {}
    start = 0
    while start < len(accounts):
        part = list(accounts[start : start + _KEYS_PER_QUERY[-1]])
        start += len(part)
        size = next(size for size in _KEYS_PER_QUERY if size >= len(part))
        part += part[-1:] * (size - len(part))
        sql = (
            "SELECT e.account, e.mailbox, e.email, e.uid, e.flags, e.size FROM counter c"
            " JOIN email e ON e.account = c.account AND e.email > c.modseq"
            f" WHERE c.mailbox = 0 AND c.account IN ({','.join('?' * size)}) ORDER BY e.account, e.email"
        )
        for account, *birth in reader.rows(sql, *part):
            found.setdefault(account, []).append(Birth(*birth))
    return found


def read_counters(reader: Reader, account: int) -> dict[int, Counter]:
    """All of an account's running numbers as they are now, by mailbox; empty when the account is purged."""
    sql = f"SELECT {', '.join(COUNTER_COLUMNS[1:])} FROM counter WHERE account = ?"
    counters = {row[0]: Counter(*row) for row in reader.rows(sql, account)}
    for birth in read_births(reader, [account]).get(account, []):
        counters[WHOLE].count(birth)
        if birth.mailbox in counters:
            counters[birth.mailbox].count(birth)
    return counters
