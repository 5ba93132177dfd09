"""APPEND (RFC 9051 section 6.3.12): the message streams into the store as it arrives and becomes visible at the end."""

import errno
import re

from rookery.access.heads import HEAD_LIMIT
from rookery.access.imap import answers
from rookery.access.imap.flags import parse_flags
from rookery.access.imap.session import Appending, Session, log
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.numberset import NumberSet
from rookery.wire.imap import responses
from rookery.wire.imap.commands import Append
from rookery.wire.imap.events import LiteralStart

_EMPTY_LINE = re.compile(rb"\n\r?\n")


def announced(session: Session, event: LiteralStart) -> None:
    """Let the message come, or say at once why not: nothing is read that would be refused at the end."""
    append = event.append
    try:
        number = _admit(session, append)
        staging = session.services.store.stage()
    except RookeryError as error:
        if session.appending is not None:
            session.appending.discard()
            session.appending = None
        session.engine.refuse_literal(b"%b %b\r\n" % (event.tag, answers.no_target(error.refusal)))
        return
    session.appending = Appending(append, number, staging)
    session.engine.accept_literal()


def _admit(session: Session, append: Append) -> int:
    """The number of the target mailbox. Raises RookeryError."""
    if append.index:
        raise RookeryError(Cause.UNSUPPORTED, "one message in each APPEND")
    limit = session.services.settings.append_limit
    if append.size > limit:
        raise RookeryError(Cause.TOO_BIG, f"a message has at most {limit} octets")
    mailbox = session.account.mailbox(append.mailbox)
    if mailbox is None:
        raise RookeryError(Cause.NOT_FOUND)
    usage = session.account.usage()
    if usage.size_limit and usage.size + append.size > usage.size_limit:
        raise RookeryError(Cause.OVER_QUOTA)
    if usage.message_limit and usage.messages >= usage.message_limit:
        raise RookeryError(Cause.OVER_QUOTA)
    return mailbox.number


def chunk(session: Session, data: bytes) -> None:
    """A failure waits for the end of the literal: the client is not listening before."""
    appending = session.appending
    if appending is None or appending.failed is not None:
        return
    if appending.tail is not None and _header(appending, data) > HEAD_LIMIT:
        appending.fail(Refusal(Cause.TOO_BIG, f"a header has at most {HEAD_LIMIT} octets"))
        return
    try:
        appending.staging.write(data)
    except OSError as error:
        appending.fail(Refusal(Cause.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else Cause.UNAVAILABLE))


def _header(appending: Appending, data: bytes) -> int:
    """Octets of the header, now that `data` has come behind the rest of it."""
    tail = appending.tail or b""
    text = tail + data
    end = _EMPTY_LINE.search(text)
    appending.head += (len(text) if end is None else end.start() + 1) - len(tail)
    appending.tail = text[-2:] if end is None else None
    return appending.head


async def done(session: Session) -> bytes:
    """The message is whole: make it durable and visible. OK means that it is on disk."""
    appending, session.appending = session.appending, None
    if appending is None:
        return answers.no(Refusal(Cause.INVALID, "no message came"))
    if appending.failed is not None:
        appending.discard()
        return answers.no_target(appending.failed)
    append = appending.command
    flags, keywords = parse_flags(append.flags)
    when = append.date.timestamp() if append.date is not None else session.services.clock.wall()
    try:
        staged = appending.staging.finish()
        try:
            made = await session.account.append(appending.mailbox, staged, flags, keywords, int(when))
        finally:
            staged.release()
    except RookeryError as error:
        return answers.no_target(error.refusal)
    log.info("appended", session=session.id, account=session.user, mailbox=made.mailbox, uid=made.uid, size=append.size)
    code = responses.append_uid(made.uidvalidity, NumberSet([(made.uid, made.uid)]))
    return b"OK [%b] Append completed" % code
