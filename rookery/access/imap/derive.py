"""ENVELOPE, BODY and BODYSTRUCTURE: made once from a message, then kept as the octets that are sent (derived data)."""

from collections.abc import Callable, Iterator

from rookery.access.imap.content import Content
from rookery.formats.envelope import envelope as read_envelope
from rookery.formats.mime import parse
from rookery.wire.imap.fetch_responses import body_structure, envelope

# The number at the end is raised whenever the form changes: what an older release has kept is made anew then.
ENVELOPE = "imap-envelope-1"
BODY = "imap-body-1"
BODYSTRUCTURE = "imap-bodystructure-1"

BODY_OCTETS = 1024 * 1024  # of messages read at a time


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
    missing = {email: place for place, email in enumerate(emails) if email not in known}
    if missing:
        made: dict[int, bytes] = {}
        for some in _groups(content, list(missing.values())):
            for place, data in zip(some, content.octets(some, whole=whole), strict=True):
                made[emails[place]] = make(data)
        content.account.put_many(kind, made)
        known = known | made
    return [known[email] for email in emails]


def _groups(content: Content, places: list[int]) -> Iterator[list[int]]:
    """Cut so that not too much is in memory at a time."""
    some: list[int] = []
    octets = 0
    for place in places:
        size = content.presences[place].size
        if some and octets + size > BODY_OCTETS:
            yield some
            some, octets = [], 0
        some.append(place)
        octets += size
    if some:
        yield some
