"""A large message being fetched: no connection holds more of it than the piece that is under way to its client.

Where things lie in it is found aside, where few messages are looked into at a time; then what was found is sent as it
is read. However many clients ask for parts of large messages, the memory is that of the few and of a piece for each.
"""

from functools import partial

from rookery.access.imap.aside import aside
from rookery.access.imap.columns import Column, Need, Plan
from rookery.access.imap.content import Content, read_head
from rookery.access.imap.extents import Measured, measure, of_message
from rookery.access.imap.session import Lost, Session, log
from rookery.base.errors import RookeryError
from rookery.storage.open_account import OpenAccount
from rookery.storage.values import Presence
from rookery.wire.imap.responses import literal
from rookery.wire.imap.sections import Tree, tree_of


async def send_large(session: Session, plan: Plan, content: Content) -> None:
    """The FETCH line of the one message of `content`, item by item.

    Raises RookeryError when it cannot be read, ValueError for a transfer encoding that nobody knows; when that shows
    only half way through, the connection is ended: half a response cannot be taken back.
    """
    presence = content.presences[0]
    find = partial(_find, session.account, presence, plan)
    found = await aside(session.account.account, find) if _looks(plan) else find()
    head = b"* %d FETCH (" % content.rows.numbers[0]
    try:
        for column, value in zip(plan.columns, found, strict=True):
            if isinstance(value, Measured):
                await _stream(session, presence, value, head + column.form)
            else:
                made = column.values(content)[0] if value is None else value
                session.write((head if column.spaced else head.rstrip()) + column.form % made)
            head = b" "
            await session.turn()
    except (RookeryError, Lost):
        log.warning("fetch-broken", session=session.id, account=session.user)
        session.stream.abort()
        raise
    session.write(b")\r\n")


def _looks(plan: Plan) -> bool:
    """Whether anything but whole messages is asked for."""
    return any(column.find is not None and column.need is not Need.WHOLE for column in plan.columns)


def _find(account: OpenAccount, presence: Presence, plan: Plan) -> list[Measured | bytes | int | None]:
    """For each column what to send; None for those that are made of what is in memory."""
    needs = {column.need for column in plan.columns if column.find is not None}
    data = b""
    if Need.BODY in needs:
        data = account.body(presence)
    elif Need.HEAD in needs:
        data = read_head(account, presence)
    elif Need.RANGE in needs:
        account.body_part(presence, 0, 1)  # whatever part is wanted, the message is checked as a whole before
    tree = tree_of(data)
    return [_found(column, data, tree, presence.size) for column in plan.columns]


def _found(column: Column, data: bytes, tree: Tree, size: int) -> Measured | bytes | int | None:
    if column.find is None:
        return None
    found = column.find(data, tree, size)
    if found is None:
        return 0 if column.counts else b"NIL"
    if isinstance(found, bytes):
        return literal(found)
    measured = measure(data, found)
    return measured.octets if column.counts else measured


async def _stream(session: Session, presence: Presence, value: Measured, form: bytes) -> None:
    account, extent = session.account, value.extent
    session.write(form % (b"%b{%d}\r\n" % (b"~" if value.eight else b"", value.octets)))
    whole = extent == of_message(presence.size, None)
    pieces = extent.content(account.body_chunks(presence, extent.start, None if whole else extent.stop))
    while (data := await account.away(partial(next, pieces, None))) is not None:
        # NUL is not allowed in a literal, as in `responses.literal`
        session.write(data if value.eight else data.replace(b"\0", b"\x80"))
        await session.turn()
