"""One account as its sessions have it: its picture in memory, shared by all of them, and beyond it the messages'
bodies, which are read from the store, and changes, which go to the store's writer.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId, BlobId
from rookery.base.numberset import NumberSet
from rookery.storage.append import Append
from rookery.storage.copy import Copy
from rookery.storage.engine import Row
from rookery.storage.expunge import Expunge
from rookery.storage.flags import SetFlags
from rookery.storage.home import Home
from rookery.storage.mailboxes import CreateMailbox, DeleteMailbox, RenameMailbox, SetSubscribed
from rookery.storage.operations import (
    COPY,
    CREATE_MAILBOX,
    DELETE_MAILBOX,
    EXPUNGE,
    RENAME_MAILBOX,
    SET_FLAGS,
    SET_SUBSCRIBED,
    Operation,
)
from rookery.storage.picture import Picture
from rookery.storage.staging import Staged
from rookery.storage.values import (
    INBOX,
    Appended,
    Copied,
    Expunged,
    Flag,
    Flagged,
    FlagMode,
    Mailbox,
    Presence,
    SpecialUse,
)

A = TypeVar("A")
R = TypeVar("R")

ROWS_PER_SUM = 10_000  # messages of one short read while sizes are added up piece by piece

_PRESENCES = (
    "SELECT p.uid, p.email, p.flags, p.changed, p.saved, e.received, e.size, e.blob, e.thread"
    " FROM presence p JOIN email e ON e.account = p.account AND e.email = p.email"
    " WHERE p.account = ? AND p.mailbox = ? AND p.uid BETWEEN ? AND ? ORDER BY p.uid"
)
_DELETED_SIZE = (
    "SELECT COUNT(*), MAX(p.uid), SUM(CASE WHEN p.flags & ? = 0 THEN 0 ELSE"
    " (SELECT e.size FROM email e WHERE e.account = p.account AND e.email = p.email) END)"
    " FROM (SELECT account, uid, email, flags FROM presence WHERE account = ? AND mailbox = ? AND uid > ?"
    " ORDER BY uid LIMIT ?) p"
)


class OpenAccount(Picture):
    """Get one from `Store.open_account`; `release` it when the session ends."""

    __slots__ = ("_losers", "epoch", "holders", "idle_since", "lost")

    def __init__(self, home: Home, account: AccountId, epoch: int | None = None) -> None:
        """Reads the account, on any thread. Raises NOT_FOUND when the store has none of that id.

        `epoch`: under which it is hosted here; None: nobody else can have it.
        """
        super().__init__(home, account)
        self.epoch = epoch
        self.lost = False  # this process hosts it no longer: sessions end, and nothing more is said of it
        self._losers: dict[Callable[[], None], None] = {}
        self.holders = 0
        self.idle_since = 0.0

    def release(self) -> None:
        """The caller's session is over."""
        self._home.release_account(self)

    def when_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on the loop once the account is hosted here no longer. Returns how to stop."""
        self._losers[callback] = None
        return lambda: self._losers.pop(callback, None)

    def lose(self) -> None:
        """For the store: whoever has it open is told."""
        self.lost = True
        for callback in list(self._losers):
            callback()

    # --- messages ------------------------------------------------------------------------------------------------

    def presences(self, mailbox: int, uids: NumberSet) -> list[Presence]:
        """Those of the UIDs that exist, in order."""
        with self._home.read() as reader:
            return [
                Presence(uid, email, flags, changed, saved, received, size, blob, thread)
                for low, high in uids.ranges
                for uid, email, flags, changed, saved, received, size, blob, thread in reader.rows(
                    _PRESENCES, self._number, mailbox, low, high
                )
            ]

    async def deleted_size(self, number: int) -> int:
        r"""Octets of the messages with \Deleted, read piece by piece, so that the loop goes on meanwhile."""
        box = self._mailboxes.get(number)
        if box is None or not box.deleted:
            return 0
        total, last = 0, 0
        while True:
            count, highest, size = await self.away(partial(self._deleted_size, number, last))
            if count:
                total, last = total + int(size or 0), highest
            if count < ROWS_PER_SUM:
                return total
            await asyncio.sleep(0)

    def _deleted_size(self, number: int, last: int) -> Row:
        with self._home.read() as reader:
            row = reader.row(_DELETED_SIZE, int(Flag.DELETED), self._number, number, last, ROWS_PER_SUM)
        assert row is not None
        return row

    def body(self, message: Presence | BlobId) -> bytes:
        """The whole message. Raises CORRUPT or NOT_FOUND, naming the record."""
        return self._home.bodies.read(_blob_of(message))

    def bodies(self, messages: Sequence[Presence | BlobId]) -> list[bytes]:
        """Whole messages, in order; much cheaper than one by one. Raises as `body`, for the first that has to."""
        return self._home.bodies.read_many([_blob_of(message) for message in messages])

    def body_part(self, message: Presence | BlobId, offset: int, length: int) -> bytes:
        return self._home.bodies.read(_blob_of(message), offset, length)

    def body_chunks(self, message: Presence | BlobId, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """[start, stop) piece by piece. Only of whole messages is the checksum looked at; `body_part` does so first."""
        return self._home.bodies.chunks(_blob_of(message), start, stop)

    def get_many(self, kind: str, emails: Collection[int]) -> dict[int, bytes]:
        """Derived data of emails by number: what is known; the rest can be made again."""
        return self._home.derived.get(self._number, kind, emails)

    def put_many(self, kind: str, values: Mapping[int, bytes]) -> None:
        """Remember derived data, soon and perhaps."""
        self._home.derived.put(self._number, kind, values)

    # --- writing -------------------------------------------------------------------------------------------------

    async def append(
        self,
        mailbox: int,
        staged: Staged,
        flags: int = 0,
        keywords: Sequence[str] = (),
        received: int = 0,
    ) -> Appended:
        self._check()
        item = Append(self.account, staged, mailbox, flags, tuple(keywords), received, None, self.epoch)
        made = await self._home.append(item)
        self._check()
        return made

    def _check(self) -> None:
        """Before and after: once the account is lost, this process does not say what became of anything."""
        if self.lost:
            raise RookeryError(Cause.UNAVAILABLE, "the account is not at this backend now")

    async def _perform(self, operation: Operation[A, R], item: A, *, messages: int = 0) -> R:
        self._check()
        made = await self._home.perform(operation, item, messages=messages)
        self._check()
        return made

    async def set_flags(
        self,
        mailbox: int,
        uids: NumberSet,
        mode: FlagMode,
        flags: int,
        keywords: Sequence[str] = (),
        unchanged_since: int | None = None,
    ) -> Flagged:
        """Raises NOT_FOUND (mailbox), TOO_MANY (keywords), INVALID (a keyword's name)."""
        changed: list[NumberSet] = []
        conflicts: list[NumberSet] = []
        words = tuple(keywords)
        while True:
            item = SetFlags(self.account, mailbox, uids, mode, flags, words, unchanged_since, self.epoch)
            made = await self._perform(SET_FLAGS, item, messages=self._many(mailbox, uids))
            changed.append(made.flagged.changed)
            conflicts.append(made.flagged.conflicts)
            if not made.rest:
                return Flagged(_union(changed), _union(conflicts), made.flagged.modseq)
            uids = made.rest

    async def expunge(self, mailbox: int, uids: NumberSet | None = None, *, force: bool = False) -> Expunged:
        """Remove what carries Deleted (with `force`: all) among `uids` (None: the whole mailbox)."""
        gone: list[NumberSet] = []
        while True:
            item = Expunge(self.account, mailbox, uids, force, self.epoch)
            made = await self._perform(EXPUNGE, item, messages=self._many(mailbox, uids))
            gone.append(made.expunged.uids)
            if not made.rest:
                return Expunged(_union(gone), made.expunged.modseq)
            uids = made.rest

    async def copy(self, mailbox: int, uids: NumberSet, target: int) -> Copied:
        return await self._copy(mailbox, uids, target, move=False)

    async def move(self, mailbox: int, uids: NumberSet, target: int) -> Copied:
        return await self._copy(mailbox, uids, target, move=True)

    async def _copy(self, mailbox: int, uids: NumberSet, target: int, *, move: bool) -> Copied:
        source: list[NumberSet] = []
        made: list[NumberSet] = []
        while True:
            item = Copy(self.account, mailbox, uids, target, move, self.epoch)
            part = await self._perform(COPY, item, messages=self._many(mailbox, uids))
            source.append(part.copied.source)
            made.append(part.copied.target)
            if not part.rest:
                return Copied(part.copied.uidvalidity, _union(source), _union(made), part.copied.modseq)
            uids = part.rest

    def _many(self, mailbox: int, uids: NumberSet | None) -> int:
        """About how many messages this is: heavy work has a batch to itself."""
        box = self._mailboxes.get(mailbox)
        return 0 if box is None else box.messages if uids is None else min(box.messages, len(uids))

    async def create_mailbox(self, name: str, special_use: SpecialUse | None = None) -> Mailbox:
        """Superior names are made, too. Raises EXISTS, INVALID, TOO_MANY."""
        made = await self._perform(CREATE_MAILBOX, CreateMailbox(self.account, name, special_use, self.epoch))
        return self._mailboxes[made.mailbox]

    async def rename_mailbox(self, number: int, name: str) -> Mailbox:
        """Mailboxes below go along. Renaming INBOX moves its messages to a new mailbox (RFC 9051 6.3.6)."""
        if number != INBOX:
            await self._perform(RENAME_MAILBOX, RenameMailbox(self.account, number, name, self.epoch))
            return self._mailboxes[number]
        made = await self.create_mailbox(name)
        await self.move(INBOX, NumberSet(((1, max(1, self._mailboxes[INBOX].uidnext - 1)),)), made.number)
        return self._mailboxes[made.number]

    async def delete_mailbox(self, number: int) -> None:
        """Mailboxes below stay. Raises NOT_FOUND, DENIED (INBOX)."""
        await self._perform(DELETE_MAILBOX, DeleteMailbox(self.account, number, self.epoch))

    async def set_subscribed(self, name: str, subscribed: bool) -> None:
        """A name may be subscribed without existing. Raises INVALID, TOO_MANY."""
        await self._perform(SET_SUBSCRIBED, SetSubscribed(self.account, name, subscribed, self.epoch))


def _union(parts: list[NumberSet]) -> NumberSet:
    return parts[0] if len(parts) == 1 else NumberSet(r for part in parts for r in part.ranges)


def _blob_of(message: Presence | BlobId) -> BlobId:
    return message.blob if isinstance(message, Presence) else message
