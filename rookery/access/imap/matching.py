"""Which messages match a SEARCH key. What is cheap is asked first, and what is dear only of messages still in question.

Positions in the view are narrowed key by key: flags and numbers from memory, dates and sizes from the index, headers
and text from the messages themselves. Messages that are gone match nothing.
"""

from collections.abc import Callable, Sequence
from datetime import date
from enum import Enum
from functools import partial

from rookery.access.imap.aside import OCTETS, aside
from rookery.access.imap.content import Content
from rookery.access.imap.derive import COMMON_FIELDS, UNREADABLE, Kind, prepare, values
from rookery.access.imap.flags import SYSTEM_NAMES
from rookery.access.imap.selected import Selected
from rookery.access.imap.session import Session
from rookery.access.imap.targets import Rows, Spans, find
from rookery.base.errors import Cause, RookeryError
from rookery.base.numberset import NumberSet
from rookery.formats.dates import parse_mail_date
from rookery.formats.headers import body_start, first_values
from rookery.formats.mime import parse
from rookery.formats.text import body_contains, decoded_header, fold_case, header_text, holds
from rookery.storage.values import Presence
from rookery.wire.imap import search as keys
from rookery.wire.imap.search import Moment, Relation, SearchKey

INDEX_ROWS = 1_000  # index rows read at a time
READ_ROWS = 64  # messages read between two looks at the clock, and no more than so many octets:
READ_OCTETS = 512 * 1024

_EPOCH = date(1970, 1, 1)
_DAY = 86_400
_DATE = (b"date",)

Test = Callable[[bytes], bool]
IndexTest = Callable[[Presence], bool]


def uses_modseq(key: SearchKey) -> bool:
    if isinstance(key, keys.ModifiedSince):
        return True
    if isinstance(key, keys.And):
        return any(map(uses_modseq, key.keys))
    if isinstance(key, keys.Or):
        return uses_modseq(key.left) or uses_modseq(key.right)
    return isinstance(key, keys.Not) and uses_modseq(key.key)


def _cost(key: SearchKey) -> int:
    """0: from memory; 1: from the index; 2: a header is read; 3: the whole message."""
    if isinstance(key, keys.And):
        return max(map(_cost, key.keys))
    if isinstance(key, keys.Or):
        return max(_cost(key.left), _cost(key.right))
    if isinstance(key, keys.Not):
        return _cost(key.key)
    if isinstance(key, keys.BodyHas | keys.TextHas):
        return 3
    if isinstance(key, keys.HeaderHas) or (isinstance(key, keys.Dated) and key.moment is Moment.SENT):
        return 2
    if isinstance(key, keys.Dated | keys.Aged | keys.Larger | keys.Smaller | keys.HasEmailId | keys.HasThreadId):
        return 1
    return 0


class Source(Enum):
    """What of a message a key looks at."""

    FIELDS = 1  # the common header fields, which are kept
    HEAD = 2
    WHOLE = 3


def _source(key: SearchKey) -> Source:
    if isinstance(key, keys.BodyHas | keys.TextHas):
        return Source.WHOLE
    if isinstance(key, keys.HeaderHas) and key.name.encode("utf-8") not in COMMON_FIELDS:
        return Source.HEAD
    return Source.FIELDS


class Matcher:
    """One SEARCH. Rows of the mailbox are taken once, at its start."""

    __slots__ = ("_index", "_rows", "_selected", "_session")

    def __init__(self, session: Session, selected: Selected) -> None:
        self._session = session
        self._selected = selected
        self._rows = Rows(selected.view, selected.state, 0, selected.view.count)
        self._index: dict[int, Presence] = {}

    async def run(self, key: SearchKey) -> list[int]:
        """Positions in the view, rising."""
        numbers = self._rows.numbers
        found = await self._match(key, range(len(numbers)))
        return [numbers[place] - 1 for place in found]

    async def _match(self, key: SearchKey, places: Sequence[int]) -> Sequence[int]:
        """Those of `places` (in the rows) that match. The tree is no deeper than its parser allows."""
        if not places:
            return places
        await self._session.turn()
        if isinstance(key, keys.And):
            for part in sorted(key.keys, key=_cost):
                places = await self._match(part, places)
            return places
        if isinstance(key, keys.Not):
            out = set(await self._match(key.key, places))
            return [place for place in places if place not in out]
        if isinstance(key, keys.Or):
            cheap, dear = sorted((key.left, key.right), key=_cost)
            found = set(await self._match(cheap, places))
            rest = [place for place in places if place not in found]
            found.update(await self._match(dear, rest))
            return [place for place in places if place in found]
        cost = _cost(key)
        if cost == 0:
            return self._match_row(key, places)
        if cost == 1:
            return await self._match_index(_index_test(key, self._session.services.clock.wall()), places)
        return await self._match_text(_text_test(key), places, _source(key))

    # --- from memory -------------------------------------------------------------------------------------------------

    def _match_row(self, key: SearchKey, places: Sequence[int]) -> Sequence[int]:
        rows = self._rows
        if isinstance(key, keys.All | keys.SaveDateSupported):
            return places
        if isinstance(key, keys.HasFlag):
            mask = SYSTEM_NAMES.get(key.flag.title()) or self._session.account.keyword_bits((key.flag,))
            flags = rows.flags
            if not mask:
                return () if key.present else places
            if key.present:
                return [place for place in places if flags[place] & mask]
            return [place for place in places if not flags[place] & mask]
        if isinstance(key, keys.ModifiedSince):
            modseqs, least = rows.modseqs, key.modseq
            return [place for place in places if modseqs[place] >= least]
        if isinstance(key, keys.Recent):
            return self._among_uids(self._selected.recent, places)
        if isinstance(key, keys.InSequence | keys.InUids):
            uid = isinstance(key, keys.InUids)
            view = self._selected.view
            return self._among_uids(view.uids_in(self._spans(key, uid=uid)), places)
        raise RookeryError(Cause.UNSUPPORTED, "a search key")

    def _spans(self, key: keys.InSequence | keys.InUids, *, uid: bool) -> Spans:
        return find(self._selected.view, key.numbers, self._selected.saved, uid=uid)

    def _among_uids(self, wanted: NumberSet, places: Sequence[int]) -> Sequence[int]:
        if not wanted:
            return ()
        uids = self._rows.uids
        if len(wanted.ranges) == 1:
            low, high = wanted.ranges[0]
            return [place for place in places if low <= uids[place] <= high]
        return [place for place in places if uids[place] in wanted]

    # --- from the index ----------------------------------------------------------------------------------------------

    async def _presences(self, places: Sequence[int]) -> list[Presence | None]:
        uids, index = self._rows.uids, self._index
        missing = NumberSet.of_sorted(uids[place] for place in places if uids[place] not in index)
        if missing:
            account = self._session.account
            found = await account.away(partial(account.presences, self._selected.number, missing))
            index.update((presence.uid, presence) for presence in found)
        return [index.get(uids[place]) for place in places]

    async def _match_index(self, test: IndexTest, places: Sequence[int]) -> Sequence[int]:
        matched: list[int] = []
        for at in range(0, len(places), INDEX_ROWS):
            some = places[at : at + INDEX_ROWS]
            found = await self._presences(some)
            matched.extend(
                place for place, presence in zip(some, found, strict=True) if presence is not None and test(presence)
            )
            await self._session.turn()
        return matched

    # --- from the messages -------------------------------------------------------------------------------------------

    async def _match_text(self, test: Test, places: Sequence[int], source: Source) -> Sequence[int]:
        """By what `source` gives of each message, in pieces. A message that cannot be read matches nothing."""
        matched: list[int] = []
        for at in range(0, len(places), INDEX_ROWS):
            some = places[at : at + INDEX_ROWS]
            there = [
                (place, presence)
                for place, presence in zip(some, await self._presences(some), strict=True)
                if presence is not None
            ]
            content = self._selected.messages([presence for _, presence in there])
            if source is Source.FIELDS:
                await prepare(content, Kind.FIELDS, self._session.turn)
            for start, stop in content.pieces(READ_ROWS, READ_OCTETS):
                piece = content.part(start, stop)
                answers = await _ask(test, piece, source)
                matched.extend(place for (place, _), yes in zip(there[start:stop], answers, strict=True) if yes)
                await self._session.turn()
        return matched


def _read(content: Content, source: Source) -> Sequence[bytes | None]:
    """None for a message that cannot be read."""
    try:
        if source is Source.FIELDS:
            return values(content, Kind.FIELDS)
        return content.bodies() if source is Source.WHOLE else content.heads()
    except RookeryError as error:
        if error.cause not in UNREADABLE:
            raise
        count = len(content.presences)
        return (
            [None]
            if count == 1
            else [octets for at in range(count) for octets in _read(content.part(at, at + 1), source)]
        )


async def _ask(test: Test, content: Content, source: Source) -> list[bool]:
    """What is long is read where it is searched: messages do not wait in memory for their turn."""
    fields = _read(content, source) if source is Source.FIELDS else None

    def answers() -> list[bool]:
        messages = _read(content, source) if fields is None else fields
        return [data is not None and test(data) for data in messages]

    octets = content.octets() if fields is None else sum(len(data or b"") for data in fields)
    if octets > OCTETS:
        return await aside(content.account.account, answers)
    return await content.account.away(answers) if fields is None else answers()


def _index_test(key: SearchKey, now: float) -> IndexTest:
    if isinstance(key, keys.Larger):
        octets = key.octets
        return lambda presence: presence.size > octets
    if isinstance(key, keys.Smaller):
        octets = key.octets
        return lambda presence: presence.size < octets
    if isinstance(key, keys.Aged):
        moment = int(now) - key.seconds
        if key.younger:
            return lambda presence: presence.received >= moment
        return lambda presence: presence.received <= moment
    if isinstance(key, keys.HasEmailId):
        name = key.id
        return lambda presence: f"M{presence.email:x}" == name
    if isinstance(key, keys.HasThreadId):
        name = key.id
        return lambda presence: f"T{presence.thread:x}" == name
    if isinstance(key, keys.Dated):
        low, high = _seconds(key)
        if key.moment is Moment.SAVED:
            return lambda presence: low <= presence.saved < high
        return lambda presence: low <= presence.received < high
    raise RookeryError(Cause.UNSUPPORTED, "a search key")


def _seconds(key: keys.Dated) -> tuple[float, float]:
    """[low, high) of the days meant, in UTC, as INTERNALDATE is told."""
    first = (key.day - _EPOCH).days * _DAY
    if key.relation is Relation.BEFORE:
        return float("-inf"), first
    return first, first + _DAY if key.relation is Relation.ON else float("inf")


def _text_test(key: SearchKey) -> Test:
    if isinstance(key, keys.HeaderHas):
        return _header_test(key.name.encode("utf-8"), fold_case(key.text))
    if isinstance(key, keys.Dated):
        return _sent_test(key)
    if isinstance(key, keys.BodyHas):
        needle = fold_case(key.text)
        return lambda data: body_contains(data, parse(data), needle)
    if isinstance(key, keys.TextHas):
        text = fold_case(key.text)
        return lambda data: holds(header_text(data), text) or body_contains(data, parse(data), text)
    raise RookeryError(Cause.UNSUPPORTED, "a search key")


def _header_test(name: bytes, needle: str) -> Test:
    plain = needle.encode("ascii") if needle.isascii() else None

    def test(data: bytes) -> bool:
        # Where nothing needs decoding, most messages are passed over by one search of the raw header.
        if plain is not None and b"=?" not in data and data.isascii() and plain not in _unfolded(data):
            return False
        return any(needle in fold_case(value) for value in decoded_header(data, name))

    return test


def _unfolded(data: bytes) -> bytes:
    """A header in lower case, and all on one line."""
    return data[: body_start(data)].replace(b"\r\n", b"").replace(b"\n", b"").lower()


def _sent_test(key: keys.Dated) -> Test:
    """The day as written in the Date field, its time and zone disregarded (RFC 9051 section 6.4.4)."""
    day, relation = key.day, key.relation

    def test(data: bytes) -> bool:
        value = first_values(data, _DATE).get(b"date")
        sent = parse_mail_date(value.decode("latin-1")) if value else None
        if sent is None:
            return False
        written = sent.date()
        if relation is Relation.BEFORE:
            return written < day
        return written == day if relation is Relation.ON else written >= day

    return test
