"""From an engine's event to the function that handles it, and back to the tagged answer."""

from collections.abc import Awaitable, Callable
from typing import Any

from rookery.access.imap import (
    answers,
    appending,
    authenticate,
    changing,
    fetching,
    general,
    mailboxes,
    searching,
    selecting,
)
from rookery.access.imap.session import Referral, Session, log
from rookery.access.imap.targets import OutOfRange
from rookery.base.errors import RookeryError
from rookery.wire.imap import commands as c
from rookery.wire.imap.events import (
    Done,
    Event,
    LiteralChunk,
    LiteralEnd,
    LiteralStart,
    Malformed,
    Request,
    SaslResponse,
)

# A handler returns the tagged answer without its tag, or None when the answer is to follow.
_AT_ONCE: dict[type, Callable[[Session, Any], bytes | None]] = {
    c.Capability: general.capability,
    c.Noop: general.noop,
    c.Check: general.check,
    c.Logout: general.log_out,
    c.Id: general.identify,
    c.Enable: general.enable,
    c.Namespace: general.namespace,
    c.Idle: general.idle,
    c.GetQuota: general.get_quota,
    c.GetQuotaRoot: general.get_quota_root,
    c.StartTls: authenticate.start_tls,
    c.Unselect: selecting.unselect,
}
_WAITING: dict[type, Callable[[Session, Any], Awaitable[bytes | None]]] = {
    c.List: mailboxes.list_mailboxes,
    c.Lsub: mailboxes.lsub,
    c.Status: mailboxes.status,
    c.Login: authenticate.log_in,
    c.Authenticate: authenticate.authenticate,
    c.Create: mailboxes.create,
    c.Delete: mailboxes.delete,
    c.Rename: mailboxes.rename,
    c.Subscribe: mailboxes.subscribe,
    c.Unsubscribe: mailboxes.unsubscribe,
    c.Select: selecting.select,
    c.Close: selecting.close,
    c.Expunge: changing.expunge,
    c.Store: changing.store,
    c.Copy: changing.copy,
    c.Move: changing.move,
    c.Fetch: fetching.fetch,
}


def handle(session: Session, event: Event) -> Awaitable[None] | None:
    """What the pump calls. None: done; else something to wait for."""
    if session.lost:
        return None
    if isinstance(event, Request):
        handler = _AT_ONCE.get(type(event.command))
        if handler is None:
            if session.logged_in:
                return _run_for(session, event)
            return _run(session, event)
        try:
            line = handler(session, event.command)
        except RookeryError as error:
            line = _refused(session, event.command, error)
        if line is not None:
            session.complete(event.tag, line, expunge=True)
        return None
    if isinstance(event, LiteralChunk):
        appending.chunk(session, event.data)
    elif isinstance(event, LiteralStart):
        appending.announced(session, event)
    elif isinstance(event, SaslResponse):
        return _proceed(session, event)
    elif isinstance(event, Done):
        session.stop_idling()
        session.complete(event.tag, b"OK Idle completed", expunge=True)
    elif isinstance(event, Malformed):
        _malformed(session, event)
    else:
        assert isinstance(event, LiteralEnd)  # the end of the command is what counts
    return None


async def _run_for(session: Session, request: Request) -> None:
    with session.services.underway.of(session.account.account):
        await _run(session, request)


async def _run(session: Session, request: Request) -> None:
    command = request.command
    session.begin_turn()
    try:
        if isinstance(command, c.Search):
            line: bytes | None = await searching.search(session, request.tag, command)
        elif isinstance(command, c.AppendDone):
            line = await appending.done(session)
        else:
            line = await _WAITING[type(command)](session, command)
    except RookeryError as error:
        line = _refused(session, command, error)
    except Referral as referral:
        line = await authenticate.elsewhere(session, request.tag, referral)
    except OutOfRange:
        line = b"BAD No message has that number"
    except changing.TryCreate:
        line = b"NO [TRYCREATE] No such mailbox"
    except mailboxes.UseAttribute:
        line = b"NO [USEATTR] That special use cannot be given"
    if line is not None:
        session.complete(request.tag, line, expunge=_may_expunge(command))


def _may_expunge(command: c.Command) -> bool:
    """Not while numbers of messages are being talked of (RFC 9051 section 7.5.1); UIDs do not shift."""
    return not isinstance(command, c.Fetch | c.Store | c.Search) or command.uid


async def _proceed(session: Session, event: SaslResponse) -> None:
    try:
        line = await authenticate.proceed(session, event)
    except Referral as referral:
        line = await authenticate.elsewhere(session, event.tag, referral)
    if line is not None:
        session.complete(event.tag, line, expunge=True)


def _refused(session: Session, command: c.Command, error: RookeryError) -> bytes:
    name = type(command).__name__.lower()
    log.refused("refused", error.refusal, session=session.id, account=session.user, command=name)
    return answers.no(error.refusal)


def _malformed(session: Session, event: Malformed) -> None:
    session.stop_idling()
    session.sasl = None
    if session.appending is not None:
        session.appending.discard()
        session.appending = None
    log.info("malformed", session=session.id, account=session.user, reason=event.reason)
    session.send(event.answer)
