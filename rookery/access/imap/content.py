"""A slice of messages being fetched: its rows, and as needed their index rows, octets and MIME trees, each got once."""

from collections.abc import Iterator, Sequence

from rookery.access.imap.flags import RECENT, FlagTexts
from rookery.access.imap.targets import Rows
from rookery.base.numberset import NumberSet
from rookery.formats.headers import body_start
from rookery.storage.open_account import OpenAccount
from rookery.storage.values import Presence
from rookery.wire.imap.sections import Tree, tree_of

HEAD_OCTETS = 16 * 1024  # read first when only a header is wanted of a message larger than WHOLE_OCTETS
WHOLE_OCTETS = 64 * 1024


class Content:
    r"""`rows` and `presences` correspond. `changed`: UIDs that this fetch made \Seen.

    Reading raises RookeryError (CORRUPT, NOT_FOUND) when one of the messages cannot be read.
    """

    __slots__ = ("_bodies", "_heads", "_trees", "account", "changed", "derived", "presences", "recent", "rows", "texts")

    def __init__(
        self, account: OpenAccount, rows: Rows, texts: FlagTexts, recent: NumberSet, changed: NumberSet
    ) -> None:
        self.account = account
        self.rows = rows
        self.texts = texts
        self.recent = recent
        self.changed = changed
        self.presences: Sequence[Presence] = ()
        self.derived: dict[str, dict[int, bytes]] = {}  # by kind and email; see derive.py
        self._bodies: list[bytes] | None = None
        self._heads: list[bytes] | None = None
        self._trees: list[tuple[bytes, Tree]] | None = None

    def flags(self) -> Sequence[int]:
        r"""Flags with \Recent."""
        rows = self.rows
        if not self.recent or not len(rows) or self.recent.greatest < rows.uids[0]:
            return rows.flags
        recent = self.recent
        return [flags | RECENT if uid in recent else flags for uid, flags in zip(rows.uids, rows.flags, strict=True)]

    def take_presences(self, found: Sequence[Presence]) -> None:
        """`found` by UID, perhaps with some missing: messages that went a moment ago."""
        if len(found) != len(self.rows):
            known = {presence.uid: presence for presence in found}
            self.rows.keep([i for i, uid in enumerate(self.rows.uids) if uid in known])
            found = [known[uid] for uid in self.rows.uids]
        self.presences = found

    def part(self, start: int, stop: int) -> "Content":
        """The same of the rows [start, stop)."""
        if start == 0 and stop == len(self.presences):
            return self
        piece = Content(self.account, self.rows.part(start, stop), self.texts, self.recent, self.changed)
        piece.presences = self.presences[start:stop]
        piece.derived = self.derived
        return piece

    def only(self, places: Sequence[int]) -> "Content":
        """The same of some messages, without their rows."""
        some = Content(self.account, self.rows.part(0, 0), self.texts, self.recent, self.changed)
        some.presences = [self.presences[place] for place in places]
        return some

    def pieces(self, rows: int, octets: int) -> Iterator[tuple[int, int]]:
        """[start, stop) of at most so many messages of at most so many octets together, or one."""
        start = held = 0
        for place, presence in enumerate(self.presences):
            if place > start and (held + presence.size > octets or place - start >= rows):
                yield start, place
                start, held = place, 0
            held += presence.size
        if start < len(self.presences):
            yield start, len(self.presences)

    def octets(self) -> int:
        """Of all messages together."""
        return sum(presence.size for presence in self.presences)

    def derived_octets(self) -> int:
        """Octets of all derived data at hand."""
        return sum(sum(map(len, found.values())) for found in self.derived.values())

    def bodies(self) -> Sequence[bytes]:
        if self._bodies is None:
            self._bodies = self.account.bodies(self.presences)
        return self._bodies

    def heads(self) -> Sequence[bytes]:
        """As many octets of each message as hold its header, at least."""
        if self._bodies is not None:
            return self._bodies
        if self._heads is None:
            self._heads = read_heads(self.account, self.presences)
        return self._heads

    def parsed(self) -> Sequence[tuple[bytes, Tree]]:
        """Each message and how to get its tree."""
        if self._trees is None:
            self._trees = [(body, tree_of(body)) for body in self.bodies()]
        return self._trees

    def ranges(self, first: int, count: int) -> Sequence[bytes]:
        """`BODY[]<first.count>`, without reading the rest of large messages."""
        if self._bodies is not None:
            return [body[first : first + count] for body in self._bodies]
        found = []
        for presence in self.presences:
            length = max(0, min(count, presence.size - first))
            found.append(self.account.body_part(presence, first, length) if length else b"")
        return found


def read_heads(account: OpenAccount, presences: Sequence[Presence]) -> list[bytes]:
    """Messages, or of large ones so much as holds their header."""
    if all(presence.size <= WHOLE_OCTETS for presence in presences):
        return account.bodies(presences)
    return [read_head(account, presence) for presence in presences]


def read_head(account: OpenAccount, presence: Presence) -> bytes:
    """As much of a message as holds its header, at least."""
    if presence.size <= WHOLE_OCTETS:
        return account.body(presence)
    wanted = HEAD_OCTETS
    while True:
        data = account.body_part(presence, 0, min(wanted, presence.size))
        if wanted >= presence.size or body_start(data) < len(data):
            return data
        wanted *= 4
