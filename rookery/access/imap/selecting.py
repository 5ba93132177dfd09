"""SELECT, EXAMINE, CLOSE, UNSELECT (RFC 9051 sections 6.3.2, 6.3.3, 6.4.1, 6.4.2)."""

from rookery.access.imap.mailboxes import mailbox_id
from rookery.access.imap.selected import Selected
from rookery.access.imap.session import Session
from rookery.base.errors import Cause, RookeryError
from rookery.storage.values import SEPARATOR, Flag
from rookery.wire.imap import responses
from rookery.wire.imap.commands import Close, Select, Unselect

_SEEN = int(Flag.SEEN)


async def select(session: Session, command: Select) -> bytes:
    """Whatever happens, the mailbox selected before is selected no longer."""
    closed = session.selected is not None
    session.deselect()
    session.engine.unselect()
    if closed:
        session.send(b"* OK [CLOSED] Previous mailbox closed\r\n")
    account = session.account
    mailbox = account.mailbox(command.mailbox)
    if mailbox is None:
        raise RookeryError(Cause.NOT_FOUND)
    await account.load(mailbox.number)
    mailbox = account.by_number(mailbox.number)  # it may have changed, or gone, while it was loaded
    if mailbox is None:
        raise RookeryError(Cause.NOT_FOUND)
    selected = session.selected = Selected(account, mailbox, readonly=command.readonly)
    session.engine.select()
    if command.condstore:
        session.condstore = True
    view = selected.view
    session.claim_recent(selected)
    session.send(selected.flags_text())
    session.send(responses.exists(view.count))
    if not session.rev2:
        session.send(responses.recent(selected.recent_count()))
        unseen = _first_unseen(selected)
        if unseen:
            session.send(b"* OK [UNSEEN %d] First unseen\r\n" % unseen)
    else:
        session.send(responses.list_line((), SEPARATOR, mailbox.name, utf8=session.engine.utf8))
    session.send(
        b"* OK [UIDVALIDITY %d] UIDs valid\r\n* OK [UIDNEXT %d] Predicted next UID\r\n"
        b"* OK [HIGHESTMODSEQ %d] Highest\r\n* OK [MAILBOXID (%b)] Ok\r\n"
        % (mailbox.uidvalidity, mailbox.uidnext, max(1, mailbox.modseq), mailbox_id(mailbox).encode("ascii"))
    )
    if command.readonly:
        return b"OK [READ-ONLY] Examine completed"
    return b"OK [READ-WRITE] Select completed"


def _first_unseen(selected: Selected) -> int:
    """Message sequence number, or 0."""
    for number, flags in enumerate(selected.state.flags[: selected.view.count], 1):
        if not flags & _SEEN:
            return number
    return 0


async def close(session: Session, command: Close) -> bytes:
    r"""What is \Deleted goes, without a word about it."""
    selected = session.chosen()
    if not selected.readonly and selected.any_deleted():
        await session.account.expunge(selected.number)
    session.deselect()
    session.engine.unselect()
    return b"OK Close completed"


def unselect(session: Session, command: Unselect) -> bytes:
    session.deselect()
    session.engine.unselect()
    return b"OK Unselect completed"
