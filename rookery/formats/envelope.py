"""The envelope of a message as IMAP understands it (RFC 9051 section 7.5.2): ten fields, octets as written.

It is made of any input. Repeated fields: the first counts.
"""

import msgspec

from rookery.formats.address import Address, parse_addresses
from rookery.formats.headers import first_values

_NAMES = (
    b"date", b"subject", b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"in-reply-to", b"message-id",
)  # fmt: skip


class Envelope(msgspec.Struct, frozen=True):
    """Absent fields are None, absent address lists (). `sender` and `reply_to` are `from_` when absent or empty."""

    date: bytes | None = None
    subject: bytes | None = None
    from_: tuple[Address, ...] = ()
    sender: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    in_reply_to: bytes | None = None
    message_id: bytes | None = None


def _addresses(value: bytes | None) -> tuple[Address, ...]:
    return tuple(parse_addresses(value)) if value else ()


def envelope(data: bytes, start: int = 0, end: int | None = None) -> Envelope:
    """Of the header block that begins at `start`; `end` is its end if known."""
    values = first_values(data, _NAMES, start, end)
    get = values.get
    sent_from = _addresses(get(b"from"))
    return Envelope(
        get(b"date"),
        get(b"subject"),
        sent_from,
        _addresses(get(b"sender")) or sent_from,
        _addresses(get(b"reply-to")) or sent_from,
        _addresses(get(b"to")),
        _addresses(get(b"cc")),
        _addresses(get(b"bcc")),
        get(b"in-reply-to"),
        get(b"message-id"),
    )
