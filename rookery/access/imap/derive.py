"""What is made of a message once and then kept: ENVELOPE, BODY and BODYSTRUCTURE as they are sent, and the header
fields that clients ask for again and again. Derived data: any of it may be lost, and is made anew.
"""

import re
from collections.abc import Awaitable, Callable
from enum import Enum

from rookery.access.imap.aside import OCTETS, aside
from rookery.access.imap.content import Content
from rookery.base.errors import Cause, RookeryError
from rookery.formats.envelope import envelope as read_envelope
from rookery.formats.headers import HEADER_LIMIT, body_start
from rookery.formats.mime import parse
from rookery.wire.imap.fetch_responses import body_structure, envelope

READ_ROWS = 100  # messages read between two turns, and no more than so many octets:
READ_OCTETS = 512 * 1024
KEPT_LIMIT = 64 * 1024  # octets of one value; larger ones are made each time
UNREADABLE = frozenset((Cause.CORRUPT, Cause.NOT_FOUND))

# What clients show in lists of messages, and sort, thread and search by.
COMMON_FIELDS = frozenset(
    b"bcc cc content-description content-transfer-encoding content-type date delivered-to disposition-notification-to"
    b" from importance in-reply-to lines list-id list-post list-subscribe list-unsubscribe message-id mime-version"
    b" newsgroups priority references reply-to sender subject to x-label x-original-to x-priority".split()
)


class Kind(Enum):
    """The number at the end rises whenever the form changes: what an older release has kept is made anew then."""

    ENVELOPE = "imap-envelope-1"
    BODY = "imap-body-1"
    BODYSTRUCTURE = "imap-bodystructure-1"
    FIELDS = "imap-fields-1"  # a header of nothing but COMMON_FIELDS, as they stand

    @property
    def whole(self) -> bool:
        """Whether the header is not enough to make it."""
        return self in (Kind.BODY, Kind.BODYSTRUCTURE)


def field_selector(names: tuple[bytes, ...]) -> Callable[[bytes], bytes]:
    """HEADER.FIELDS of a message as one search: what header-browsing clients ask of each (RFC 9051 section 6.4.5.1)."""
    choice = b"|".join(re.escape(name) for name in names)
    fields = re.compile(rb"^(?:%b)[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+\n?" % choice, re.MULTILINE | re.IGNORECASE)

    def select(data: bytes) -> bytes:
        found = b"".join(fields.findall(data, 0, min(body_start(data), HEADER_LIMIT)))
        return found + (b"\r\n" if not found or found.endswith(b"\n") else b"\r\n\r\n")

    return select


def _structure(extended: bool) -> Callable[[bytes], bytes]:
    return lambda data: body_structure(data, parse(data), extended=extended)


_MAKERS: dict[Kind, Callable[[bytes], bytes]] = {
    Kind.ENVELOPE: lambda data: envelope(read_envelope(data)),
    Kind.BODY: _structure(False),
    Kind.BODYSTRUCTURE: _structure(True),
    Kind.FIELDS: field_selector(tuple(sorted(COMMON_FIELDS))),
}


async def prepare(content: Content, kind: Kind, turn: Callable[[], Awaitable[None]]) -> None:
    """Have the values of all messages of `content` at hand, as far as they can be made; `turn` comes in between."""
    emails = [presence.email for presence in content.presences]
    known = content.derived[kind.value] = content.account.get_many(kind.value, emails)
    places = list({email: place for place, email in enumerate(emails) if email not in known}.values())
    missing = content.only(places)
    for start, stop in missing.pieces(READ_ROWS, READ_OCTETS):
        piece = missing.part(start, stop)
        try:
            results = await _make(_MAKERS[kind], piece, whole=kind.whole)
        except RookeryError as error:
            if error.cause not in UNREADABLE:
                raise
            continue  # `values` names the one that it is
        made = {presence.email: value for presence, value in zip(piece.presences, results, strict=True)}
        known.update(made)
        content.account.put_many(kind.value, {email: v for email, v in made.items() if len(v) <= KEPT_LIMIT})
        await turn()


async def _make(make: Callable[[bytes], bytes], content: Content, *, whole: bool) -> list[bytes]:
    """What is long is read where it is taken apart: messages do not wait in memory for their turn."""

    def made() -> list[bytes]:
        return [make(data) for data in (content.bodies() if whole else content.heads())]

    account = content.account
    return await aside(account.account, made) if content.octets() > OCTETS else await account.away(made)


def values(content: Content, kind: Kind) -> list[bytes]:
    """After `prepare`. Raises RookeryError for a message that cannot be read."""
    known = content.derived[kind.value]
    found = []
    for place, presence in enumerate(content.presences):
        value = known.get(presence.email)
        if value is None:
            one = content.only((place,))
            value = _MAKERS[kind]((one.bodies() if kind.whole else one.heads())[0])
        found.append(value)
    return found
