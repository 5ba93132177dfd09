"""ENVELOPE, BODY and BODYSTRUCTURE: made once from a message, then kept as the octets that are sent (derived data)."""

from collections.abc import Callable

from rookery.access.imap.content import Content
from rookery.formats.envelope import envelope as read_envelope
from rookery.formats.mime import parse
from rookery.wire.imap.fetch_responses import body_structure, envelope

# The number at the end is raised whenever the form changes: what an older release has kept is made anew then.
ENVELOPE = "imap-envelope-1"
BODY = "imap-body-1"
BODYSTRUCTURE = "imap-bodystructure-1"


def envelopes(content: Content) -> list[bytes]:
    return _derived(content, ENVELOPE, _envelope, whole=False)


def bodies(content: Content) -> list[bytes]:
    return _derived(content, BODY, lambda data: body_structure(data, parse(data), extended=False), whole=True)


def structures(content: Content) -> list[bytes]:
    return _derived(content, BODYSTRUCTURE, lambda data: body_structure(data, parse(data), extended=True), whole=True)


def _envelope(data: bytes) -> bytes:
    return envelope(read_envelope(data))


def _derived(content: Content, kind: str, make: Callable[[bytes], bytes], *, whole: bool) -> list[bytes]:
    emails = [presence.email for presence in content.presences]
    known = content.account.get_many(kind, emails)
    missing = [place for place, email in enumerate(emails) if email not in known]
    if missing:
        made = {emails[place]: make(content.octets(place, whole=whole)) for place in missing}
        content.account.put_many(kind, made)
        known = known | made
    return [known[email] for email in emails]
