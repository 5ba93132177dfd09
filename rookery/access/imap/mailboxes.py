"""Commands about mailboxes by name: CREATE, DELETE, RENAME, SUBSCRIBE, LIST, LSUB, STATUS (RFC 9051 section 6.3)."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial

from rookery.access.imap.aside import aside
from rookery.access.imap.listing import Listing, Row, list_rows, lsub_rows
from rookery.access.imap.session import Session
from rookery.base.errors import Cause, RookeryError
from rookery.storage.values import INBOX, SEPARATOR, Mailbox, SpecialUse
from rookery.wire.imap import responses
from rookery.wire.imap.commands import (
    Create,
    Delete,
    List,
    ListReturn,
    Lsub,
    Rename,
    Status,
    StatusItem,
    Subscribe,
    Unsubscribe,
)

AT_ONCE = 20_000  # characters of names times patterns that are matched on the event loop
ANSWER_ROWS = 500  # names answered between two turns

_USES = {"\\" + use.value.lower(): use for use in SpecialUse}


async def create(session: Session, command: Create) -> bytes:
    use = _special_use(command.uses)
    made = await session.account.create_mailbox(command.mailbox, use)
    return b"OK [MAILBOXID (%b)] Create completed" % mailbox_id(made).encode("ascii")


def _special_use(uses: tuple[str, ...]) -> SpecialUse | None:
    """RFC 6154 section 3: a use that cannot be given is refused with USEATTR."""
    if not uses:
        return None
    use = _USES.get(uses[0].lower())
    if len(uses) > 1 or use is None or use in (SpecialUse.ALL, SpecialUse.FLAGGED):
        raise UseAttribute
    return use


class UseAttribute(Exception):
    """The special use asked for cannot be had."""


async def delete(session: Session, command: Delete) -> bytes:
    mailbox = session.account.mailbox(command.mailbox)
    if mailbox is None:
        raise RookeryError(Cause.NOT_FOUND)
    if mailbox.number == INBOX:
        return b"NO [CANNOT] INBOX cannot be deleted"
    await session.account.delete_mailbox(mailbox.number)
    return b"OK Delete completed"


async def rename(session: Session, command: Rename) -> bytes:
    mailbox = session.account.mailbox(command.mailbox)
    if mailbox is None:
        raise RookeryError(Cause.NOT_FOUND)
    await session.account.rename_mailbox(mailbox.number, command.target)
    return b"OK Rename completed"


async def subscribe(session: Session, command: Subscribe) -> bytes:
    await session.account.set_subscribed(command.mailbox, True)
    return b"OK Subscribe completed"


async def unsubscribe(session: Session, command: Unsubscribe) -> bytes:
    await session.account.set_subscribed(command.mailbox, False)
    return b"OK Unsubscribe completed"


async def list_mailboxes(session: Session, command: List) -> bytes:
    if command.patterns == ("",) and not command.extended:
        session.send(responses.list_line(("\\Noselect",), SEPARATOR, ""))
        return b"OK List completed"
    account, utf8 = session.account, session.engine.utf8
    mailboxes, subscriptions, rev2 = account.mailboxes(), account.subscriptions(), session.rev2
    make = partial(list_rows, command, mailboxes, subscriptions, rev2=rev2)
    async for rows in _answers(session, make, mailboxes, subscriptions, len(command.patterns)):
        lines: list[bytes] = []
        for row in rows:
            lines.append(_line(row, utf8=utf8))
            if ListReturn.STATUS in command.returns and row.mailbox is not None:
                lines.append(await _status(session, row.mailbox, row.name, command.status))
        session.write(b"".join(lines))
    return b"OK List completed"


async def lsub(session: Session, command: Lsub) -> bytes:
    account, utf8 = session.account, session.engine.utf8
    mailboxes, subscriptions = account.mailboxes(), account.subscriptions()
    make = partial(lsub_rows, command, mailboxes, subscriptions)
    async for rows in _answers(session, make, mailboxes, subscriptions, 1):
        session.write(b"".join([_line(row, utf8=utf8, lsub=True) for row in rows]))
    return b"OK Lsub completed"


async def _answers(
    session: Session,
    make: Callable[[], Listing],
    mailboxes: Sequence[Mailbox],
    subscriptions: Collection[str],
    patterns: int,
) -> AsyncIterator[list[Row]]:
    """The rows of an answer, some at a time. Many names are gone through aside, a slice in each turn there."""
    account = session.account.account
    octets = sum(len(mailbox.name) for mailbox in mailboxes) + sum(map(len, subscriptions))
    long = octets * patterns > AT_ONCE
    listing = await aside(account, make) if long else make()
    some = partial(listing.patterns.some, listing.names)
    more = True
    while more:
        names, more = await aside(account, some) if long else some()
        for at in range(0, len(names), ANSWER_ROWS):
            yield [listing.row(name) for name in names[at : at + ANSWER_ROWS]]
            await session.turn()


def _line(row: Row, *, utf8: bool, lsub: bool = False) -> bytes:
    return responses.list_line(
        row.attributes, SEPARATOR, row.name, utf8=utf8, child_info=row.children_with or None, lsub=lsub
    )


async def status(session: Session, command: Status) -> bytes:
    mailbox = session.account.mailbox(command.mailbox)
    if mailbox is None:
        raise RookeryError(Cause.NOT_FOUND)
    if StatusItem.HIGHESTMODSEQ in command.items:
        session.condstore = True
    session.send(await _status(session, mailbox, command.mailbox, command.items))
    return b"OK Status completed"


async def _status(session: Session, mailbox: Mailbox, name: str, items: Collection[StatusItem]) -> bytes:
    octets = await session.account.deleted_size(mailbox.number) if StatusItem.DELETED_STORAGE in items else 0
    values: dict[StatusItem, int | str] = {item: _value(session, mailbox, item, octets) for item in items}
    return responses.status(name, values, utf8=session.engine.utf8)


def _value(session: Session, mailbox: Mailbox, item: StatusItem, deleted_size: int) -> int | str:
    match item:
        case StatusItem.MESSAGES:
            return mailbox.messages
        case StatusItem.UIDNEXT:
            return mailbox.uidnext
        case StatusItem.UIDVALIDITY:
            return mailbox.uidvalidity
        case StatusItem.UNSEEN:
            return mailbox.unseen
        case StatusItem.DELETED:
            return mailbox.deleted
        case StatusItem.SIZE:
            return mailbox.size
        case StatusItem.HIGHESTMODSEQ:
            return max(1, mailbox.modseq)
        case StatusItem.APPENDLIMIT:
            return session.services.settings.append_limit
        case StatusItem.MAILBOXID:
            return mailbox_id(mailbox)
        case StatusItem.RECENT:
            return _recent(session, mailbox)
        case StatusItem.DELETED_STORAGE:
            return deleted_size


def _recent(session: Session, mailbox: Mailbox) -> int:
    """An estimate, counted as if every UID not yet shown were a message: STATUS is to be fast."""
    fresh = session.services.recents.look(session.account, mailbox.number, mailbox.uidnext)
    return min(len(fresh), mailbox.messages)


def mailbox_id(mailbox: Mailbox) -> str:
    """RFC 8474."""
    return f"F{mailbox.number}"
