"""Commands that change messages: STORE, EXPUNGE, COPY, MOVE (RFC 9051 section 6.4, RFC 6851, RFC 7162)."""

from rookery.access.imap import answers
from rookery.access.imap.flags import parse_flags
from rookery.access.imap.selected import Selected
from rookery.access.imap.session import Session
from rookery.access.imap.targets import Spans, find, slices
from rookery.base.errors import RookeryError
from rookery.base.numberset import NumberSet
from rookery.storage.flags import ALL_FLAGS
from rookery.storage.values import Copied, FlagMode
from rookery.wire.imap import responses
from rookery.wire.imap.commands import Copy, Expunge, Move, Store, StoreMode

READ_ONLY = b"NO [NOPERM] The mailbox is open read-only"
EXPUNGED = b"NO [EXPUNGEISSUED] Some of the messages no longer exist"
ROWS = 2_000  # FETCH lines made at a time

_MODES = {StoreMode.REPLACE: FlagMode.REPLACE, StoreMode.ADD: FlagMode.ADD, StoreMode.REMOVE: FlagMode.REMOVE}


async def store(session: Session, command: Store) -> bytes:
    """Answers with the flags of every message named, changed or not, unless silent."""
    selected = session.chosen()
    if selected.readonly:
        return READ_ONLY
    if command.unchanged_since is not None:
        session.condstore = True
    spans = find(selected.view, command.numbers, selected.saved, uid=command.uid)
    uids = selected.view.uids_in(spans)
    gone = uids & selected.view.gone
    if not uids:
        return b"OK Store completed"
    bits, keywords = parse_flags(command.flags)
    before = session.account.modseq
    made = await session.account.set_flags(
        selected.number, uids, _MODES[command.mode], bits, keywords, command.unchanged_since
    )
    if made.changed:
        flags = bits | session.account.keyword_bits(keywords)
        added = 0 if command.mode is StoreMode.REMOVE else flags
        removed = {StoreMode.ADD: 0, StoreMode.REMOVE: flags, StoreMode.REPLACE: ALL_FLAGS & ~flags}[command.mode]
        selected.hide_own(before, made.modseq, uids - made.conflicts, added, removed)
    answered = selected.view.spans_of_uids(uids - made.conflicts)
    if not command.silent:
        await tell_flags(session, selected, answered, uid=command.uid)
    elif session.condstore and made.changed:
        # RFC 7162 section 3.1.3: even a silent STORE tells the new mod-sequences.
        await tell_flags(session, selected, selected.view.spans_of_uids(made.changed), uid=command.uid)
    if made.conflicts:
        named = made.conflicts if command.uid else selected.numbers_of(made.conflicts)
        return b"OK [MODIFIED %b] Some were changed by others" % responses.numbers(named)
    return EXPUNGED if gone and not command.uid else b"OK Store completed"


async def tell_flags(session: Session, selected: Selected, spans: Spans, *, uid: bool) -> None:
    """Untagged FETCH with flags, a slice at a time."""
    for start, stop in slices(spans, ROWS):
        session.write(selected.flag_lines([(start, stop)], uid=uid or session.rev2, modseq=session.condstore))
        await session.turn()


async def expunge(session: Session, command: Expunge) -> bytes:
    """The EXPUNGE responses come with the report at the end of the command."""
    selected = session.chosen()
    if selected.readonly:
        return READ_ONLY
    uids: NumberSet | None = None
    if command.uids is not None:
        uids = selected.view.uids_in(find(selected.view, command.uids, selected.saved, uid=True))
        if not uids:
            return b"OK Expunge completed"
    if selected.any_deleted():
        await session.account.expunge(selected.number, uids)
    return b"OK Expunge completed"


async def copy(session: Session, command: Copy) -> bytes:
    selected = session.chosen()
    uids, target = _transfer(session, selected, command)
    if not command.uid and uids & selected.view.gone:
        return EXPUNGED  # all or nothing (RFC 2180 section 4.4.2)
    if not uids:
        return b"OK Copy completed"
    try:
        made = await session.account.copy(selected.number, uids, target)
    except RookeryError as error:
        return answers.no_target(error.refusal)
    code = _copy_uid(made)
    return b"OK [%b] Copy completed" % code if code else b"OK Copy completed"


async def move(session: Session, command: Move) -> bytes:
    """COPYUID is untagged, before the EXPUNGE responses that the report at the end brings (RFC 6851 section 4.3)."""
    selected = session.chosen()
    if selected.readonly:
        return READ_ONLY
    uids, target = _transfer(session, selected, command)
    if not command.uid and uids & selected.view.gone:
        return EXPUNGED
    if not uids:
        return b"OK Move completed"
    try:
        made = await session.account.move(selected.number, uids, target)
    except RookeryError as error:
        return answers.no_target(error.refusal)
    code = _copy_uid(made)
    if code:
        session.send(responses.ok(b"*", "Moved", code))
    return b"OK Move completed"


def _transfer(session: Session, selected: Selected, command: Copy | Move) -> tuple[NumberSet, int]:
    """What to take and where to. A target that does not exist raises TryCreate."""
    spans = find(selected.view, command.numbers, selected.saved, uid=command.uid)
    mailbox = session.account.mailbox(command.mailbox)
    if mailbox is None:
        raise TryCreate
    return selected.view.uids_in(spans), mailbox.number


class TryCreate(Exception):
    """The target mailbox does not exist; the client may create it and try again."""


def _copy_uid(made: Copied) -> bytes:
    """No code when nothing was there to copy any more (RFC 4315 section 3)."""
    return responses.copy_uid(made.uidvalidity, made.source, made.target) if made.source else b""
