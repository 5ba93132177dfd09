r"""FETCH (RFC 9051 section 6.4.5): a plan is made of the items, then slices of messages are read, formatted and sent.

A slice is as large as pays and as small as keeps the others' turn near; a large message is sent as it is read. What a
fetch makes \Seen is stored first, for many messages at once, so that its responses tell the flags.
"""

from collections.abc import Iterator
from functools import partial

from rookery.access.imap import answers
from rookery.access.imap.aside import OCTETS, aside
from rookery.access.imap.changing import EXPUNGED
from rookery.access.imap.columns import Need, Plan, make_plan
from rookery.access.imap.content import Content
from rookery.access.imap.derive import UNREADABLE, prepare
from rookery.access.imap.flags import FlagTexts
from rookery.access.imap.large import send_large
from rookery.access.imap.selected import Selected
from rookery.access.imap.session import CHUNK, Session, log
from rookery.access.imap.targets import Rows, Spans, find, slices
from rookery.base.errors import Refusal, RookeryError
from rookery.base.numberset import NumberSet
from rookery.storage.values import Flag, FlagMode
from rookery.wire.imap.commands import Fetch
from rookery.wire.imap.fetch import Attribute

LIGHT_ROWS = 4_000  # messages of one slice when only rows in memory are needed
INDEX_ROWS = 1_000  # when the index is read
BODY_ROWS = 250  # when messages are read, and no more than so many octets of them:
BODY_OCTETS = 512 * 1024
LARGE = 1024 * 1024  # octets of a message that is sent as it is read, or that would be sent again and again
DERIVED_OCTETS = 512 * 1024  # of derived data that may be picked from in one turn
SEEN_ROWS = 2_000  # messages that become \Seen in one step

_SEEN = int(Flag.SEEN)


class _Work:
    """One FETCH being answered. `refusal`: why some message could not be read."""

    __slots__ = ("missing", "plan", "refusal", "selected", "session", "texts")

    def __init__(self, session: Session, selected: Selected, plan: Plan) -> None:
        self.session = session
        self.selected = selected
        self.plan = plan
        self.texts: FlagTexts = selected.texts()
        self.missing = 0
        self.refusal: Refusal | None = None


async def fetch(session: Session, command: Fetch) -> bytes:
    selected = session.chosen()
    items = command.items
    if command.changed_since is not None or Attribute.MODSEQ in items:
        session.condstore = True
    if command.changed_since is not None and Attribute.MODSEQ not in items:
        items = (*items, Attribute.MODSEQ)
    spans = find(selected.view, command.numbers, selected.saved, uid=command.uid)
    if command.changed_since is not None:
        spans = _changed_since(selected, spans, command.changed_since)
    work = _Work(session, selected, make_plan(items))
    await session.turn()
    try:
        if work.plan.seen and not selected.readonly:
            for start, stop in slices(spans, SEEN_ROWS):
                await _answer(work, [(start, stop)], await _mark_seen(work, start, stop))
        else:
            await _answer(work, spans, NumberSet())
    except ValueError:  # from read_binary: a transfer encoding that nobody knows
        return b"NO [UNKNOWN-CTE] A part has an unknown transfer encoding"
    if work.refusal is not None:
        return answers.no(work.refusal)
    return EXPUNGED if work.missing and not command.uid else b"OK Fetch completed"


def _changed_since(selected: Selected, spans: Spans, modseq: int) -> Spans:
    """Only what is newer (RFC 7162 section 3.1.4.1)."""
    found: Spans = []
    for start, stop in slices(spans, LIGHT_ROWS):
        rows = Rows(selected.view, selected.state, start, stop)
        for number, changed in zip(rows.numbers, rows.modseqs, strict=True):
            if changed > modseq:
                if found and found[-1][1] == number - 1:
                    found[-1] = (found[-1][0], number)
                else:
                    found.append((number - 1, number))
    return found


async def _mark_seen(work: _Work, start: int, stop: int) -> NumberSet:
    r"""Store \Seen for those that lack it; which they were. When that fails the messages are readable all the same."""
    selected, account = work.selected, work.session.account
    rows = Rows(selected.view, selected.state, start, stop)
    unseen = NumberSet.of_sorted(uid for uid, flags in zip(rows.uids, rows.flags, strict=True) if not flags & _SEEN)
    if not unseen:
        return unseen
    before = account.modseq
    try:
        made = await account.set_flags(selected.number, unseen, FlagMode.ADD, _SEEN)
    except RookeryError as error:
        log.refused("seen", error.refusal, session=work.session.id)
        return NumberSet()
    selected.hide_own(before, made.modseq, made.changed, _SEEN, 0)
    return made.changed


async def _answer(work: _Work, spans: Spans, changed: NumberSet) -> None:
    need, session, selected = work.plan.need, work.session, work.selected
    size = LIGHT_ROWS if need is Need.ROW else INDEX_ROWS
    gathered: list[bytes] = []
    octets = 0
    for start, stop in slices(spans, size):
        rows = Rows(selected.view, selected.state, start, stop)
        content = selected.content(rows, changed, work.texts)
        if need is not Need.ROW and len(rows):
            account, uids = session.account, NumberSet.of_sorted(rows.uids)
            content.take_presences(await account.away(partial(account.presences, selected.number, uids)))
        work.missing += rows.missing
        for kind in work.plan.kinds:
            await prepare(content, kind, session.turn)
        for part in _pieces(content, work.plan):
            if need >= Need.RANGE and len(part.rows) == 1 and part.presences[0].size * work.plan.bulk > LARGE:
                if gathered:
                    session.write(b"".join(gathered))
                    gathered, octets = [], 0
                await _large(work, part)
                continue
            render = partial(_render, work, part)
            if _is_long(work.plan, part):
                lines = await aside(session.account.account, render)
            else:
                lines = await session.account.away(render) if need > Need.DERIVED else render()
            gathered.append(lines)
            octets += len(lines)
            if octets >= CHUNK:
                session.write(b"".join(gathered))
                gathered, octets = [], 0
            await session.turn()
    if gathered:
        session.write(b"".join(gathered))


def _pieces(content: Content, plan: Plan) -> Iterator[Content]:
    """What is read is cut by the size of the answer; large messages stand alone."""
    if plan.need <= Need.DERIVED:
        yield content
        return
    for start, stop in content.pieces(BODY_ROWS, BODY_OCTETS // plan.bulk):
        yield content.part(start, stop)


def _is_long(plan: Plan, content: Content) -> bool:
    """Whether rendering may take long; messages are read there, and do not wait in memory for their turn."""
    if plan.parses:
        return content.octets() > OCTETS
    return plan.need is Need.DERIVED and content.derived_octets() > DERIVED_OCTETS


def _render(work: _Work, content: Content) -> bytes:
    """When one message cannot be read the others are answered all the same."""
    try:
        return work.plan.render(content)
    except RookeryError as error:
        if error.cause in UNREADABLE and len(content.rows) > 1:
            return b"".join([_render(work, content.part(at, at + 1)) for at in range(len(content.rows))])
        _skip(work, error)
        return b""


def _skip(work: _Work, error: RookeryError) -> None:
    """A message that cannot be read is left out."""
    if error.cause not in UNREADABLE:
        raise error
    log.refused("fetch", error.refusal, session=work.session.id, account=work.session.user)
    work.refusal = error.refusal


async def _large(work: _Work, content: Content) -> None:
    try:
        await send_large(work.session, work.plan, content)
    except RookeryError as error:
        if work.session.stream.gone:
            raise
        _skip(work, error)
