"""What the sender is told: one notice a message and act, with the null sender, never about a notice to a sender.

A notice that cannot be delivered, and a message without a sender, are told to the postmaster; if that fails too, it is
logged and over. So no chain of notices has more than three links.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rookery.base.log import logger
from rookery.distribution.spool.values import ClaimedRecipient, Envelope, Fate, Incoming, NoticeKind, Notify, Recipient
from rookery.formats import dsn
from rookery.formats.headers import body_start, first_values
from rookery.storage.staging import Staged

log = logger("queue")

RECIPIENTS = 1000  # told of in one notice


@dataclass(frozen=True, slots=True)
class NoticeSettings:
    """`postmaster`: who is told what cannot be told to a sender; "" for nobody."""

    hostname: str
    postmaster: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be told about one recipient. `retry_until`: seconds UTC, for delays."""

    recipient: ClaimedRecipient
    fate: Fate
    action: dsn.Action
    retry_until: int = 0


def notice(
    envelope: Envelope,
    told: Sequence[Told],
    head: bytes,
    settings: NoticeSettings,
    *,
    now: int,
    message_id: str,
    stage: Callable[[bytes], Staged],
    lifetime: int = 0,
) -> Incoming | None:
    """The notice as a message to accept, None when nobody is to be told. `lifetime`: tried for so long, if that is why.

    `head`: the beginning of the message, at least its header as far as it is returned.
    """
    kind, to = _addressee(envelope, settings)
    if kind is NoticeKind.TO_SENDER:
        told = [one for one in told if _wanted(one)]
    if not told:
        return None
    if not to:
        log.warning("notice-dropped", message=envelope.message, session=envelope.session, recipients=len(told))
        return None
    header = head[: body_start(head)]
    report = dsn.Report(
        reporting=settings.hostname,
        recipients=tuple(_status(one, now) for one in told[:RECIPIENTS]),
        arrived=envelope.received,
        envelope_id=envelope.envelope_id,
    )
    text = dsn.build(
        dsn.Notice(
            report=report,
            to=to,
            message_id=f"{message_id}@{settings.hostname}",
            now=now,
            original=header,
            original_id=first_values(header, (b"message-id",)).get(b"message-id", b""),
            lifetime=lifetime,
        )
    )
    return Incoming(
        sender="",
        recipients=(Recipient(to, notify=Notify.NEVER),),
        staged=stage(text),
        session=envelope.session,
        message_id=message_id,
        smtputf8=not to.isascii(),
        header_id=f"<{message_id}@{settings.hostname}>",
        notice=kind,
    )


def _addressee(envelope: Envelope, settings: NoticeSettings) -> tuple[NoticeKind, str]:
    if envelope.sender:
        return NoticeKind.TO_SENDER, envelope.sender
    if envelope.notice is NoticeKind.TO_POSTMASTER:
        return NoticeKind.TO_POSTMASTER, ""
    return NoticeKind.TO_POSTMASTER, settings.postmaster


def _wanted(one: Told) -> bool:
    """RFC 3461 section 4.1; an address that never asked is told of failures and delays."""
    notify = one.recipient.notify
    if one.action is dsn.Action.DELAYED:
        return notify != Notify.NEVER
    return bool(notify & Notify.FAILURE)


def _status(one: Told, now: int) -> dsn.RecipientStatus:
    recipient, fate = one.recipient, one.fate
    words = [str(fate.code) if fate.remote and fate.code else "", fate.enhanced if fate.remote else "", fate.text]
    return dsn.RecipientStatus(
        final=recipient.address,
        action=one.action,
        status=fate.enhanced or "5.0.0",
        original=recipient.original or (f"rfc822;{recipient.given}" if recipient.given.isascii() else ""),
        diagnostic=" ".join(word for word in words if word).replace("\n", " "),
        remote=fate.remote,
        last_attempt=now,
        retry_until=one.retry_until,
    )
