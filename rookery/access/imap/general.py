"""Commands of any state, and ENABLE, NAMESPACE, QUOTA: answered from memory, at once."""

from rookery import __version__
from rookery.access.imap import answers
from rookery.access.imap.capabilities import capabilities
from rookery.access.imap.selected import Selected
from rookery.access.imap.session import Session
from rookery.base.errors import Cause, RookeryError
from rookery.storage.values import SEPARATOR, Usage
from rookery.wire.imap import responses
from rookery.wire.imap.commands import (
    Capability,
    Check,
    Enable,
    GetQuota,
    GetQuotaRoot,
    Id,
    Idle,
    Logout,
    Namespace,
    Noop,
)

ROOT = ""  # the one quota root: the account


def capability(session: Session, command: Capability) -> bytes:
    session.send(responses.capability_line(capabilities(session)))
    return answers.completed("Capability")


def noop(session: Session, command: Noop) -> bytes:
    return answers.completed("Noop")


def check(session: Session, command: Check) -> bytes:
    return answers.completed("Check")


def log_out(session: Session, command: Logout) -> bytes:
    session.deselect()
    session.send(responses.bye("Logging out"))
    session.engine.log_out()
    return answers.completed("Logout")


def identify(session: Session, command: Id) -> bytes:
    """RFC 2971. Versions are told to those who have logged in only."""
    fields: dict[str, str | None] = {"name": "Rookery"}
    if session.logged_in:
        fields["version"] = __version__
    session.send(responses.id_line(fields))
    return answers.completed("Id")


def enable(session: Session, command: Enable) -> bytes:
    """RFC 5161: what is unknown is passed over. IMAP4rev2 and UTF8=ACCEPT make mailbox names UTF-8."""
    done = []
    for name in command.capabilities:
        if name == "IMAP4REV2":
            session.rev2 = session.engine.utf8 = True
            done.append("IMAP4rev2")
        elif name == "UTF8=ACCEPT":
            session.engine.utf8 = session.utf8_accept = True
            done.append(name)
        elif name == "CONDSTORE":
            session.condstore = True
            done.append(name)
    session.send(responses.enabled(done))
    if "CONDSTORE" in done and session.selected is not None:
        _tell_highest(session, session.selected)
    return b"OK Enable completed"


def _tell_highest(session: Session, selected: Selected) -> None:
    """RFC 7162 section 3.1: enabled with a mailbox selected. What has changed up to here is told with the answer."""
    mailbox = session.account.by_number(selected.number)
    if mailbox is not None:
        session.send(b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % max(1, mailbox.modseq))


def namespace(session: Session, command: Namespace) -> bytes:
    session.send(responses.namespace([("", SEPARATOR)]))
    return b"OK Namespace completed"


def idle(session: Session, command: Idle) -> bytes | None:
    """RFC 2177; the end is an event of its own."""
    session.start_idling()
    return None


def get_quota(session: Session, command: GetQuota) -> bytes:
    """RFC 9208."""
    if command.root != ROOT:
        raise RookeryError(Cause.NOT_FOUND)
    session.send(_quota(session.account.usage()))
    return b"OK Getquota completed"


def get_quota_root(session: Session, command: GetQuotaRoot) -> bytes:
    if session.account.mailbox(command.mailbox) is None:
        raise RookeryError(Cause.NOT_FOUND)
    session.send(responses.quota_root(command.mailbox, (ROOT,), utf8=session.engine.utf8))
    session.send(_quota(session.account.usage()))
    return b"OK Getquotaroot completed"


def _quota(usage: Usage) -> bytes:
    """STORAGE counts units of 1,024 octets, begun ones too."""
    resources = []
    if usage.size_limit:
        resources.append(("STORAGE", -(-usage.size // 1024), usage.size_limit // 1024))
    if usage.message_limit:
        resources.append(("MESSAGE", usage.messages, usage.message_limit))
    return responses.quota(ROOT, resources)
