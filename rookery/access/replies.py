"""The one table from causes to SMTP replies: code, enhanced code (RFC 3463), text. MX, submission and LMTP share it."""

from enum import Enum

from rookery.base.errors import Cause


class Moment(Enum):
    """What was being answered: the same cause reads differently at RCPT and after the message."""

    RECIPIENT = 1
    MESSAGE = 2
    LOGIN = 3


_GENERAL: dict[Cause, str] = {
    Cause.NOT_FOUND: "550 5.1.1 No such address here",
    Cause.EXISTS: "550 5.0.0 Refused",
    Cause.DENIED: "550 5.7.1 Not permitted",
    Cause.BAD_CREDENTIALS: "535 5.7.8 Wrong name or password",
    Cause.INVALID: "550 5.6.0 Not valid",
    Cause.TOO_BIG: "552 5.3.4 Message is larger than the limit",
    Cause.TOO_MANY: "452 4.5.3 Too many recipients",
    Cause.OVER_QUOTA: "452 4.2.2 Mailbox is full",
    Cause.IN_USE: "451 4.3.2 Busy, try again later",
    Cause.CONFLICT: "451 4.3.2 Busy, try again later",
    Cause.UNSUPPORTED: "504 5.5.4 Not supported",
    Cause.BUSY: "451 4.3.2 Busy, try again later",
    Cause.UNAVAILABLE: "451 4.3.0 Not available now, try again later",
    Cause.DISK_FULL: "452 4.3.1 No space left, try again later",
    Cause.MOVED: "451 4.3.2 The mailbox is moving, try again later",
    Cause.CORRUPT: "451 4.3.0 Not available now, try again later",
}

_SPECIAL: dict[Moment, dict[Cause, str]] = {
    Moment.RECIPIENT: {
        Cause.DENIED: "550 5.7.1 Relaying denied",
        Cause.INVALID: "501 5.1.3 Bad recipient address",
    },
    Moment.MESSAGE: {},
    Moment.LOGIN: {
        Cause.DENIED: "535 5.7.8 Nobody may act as somebody else",
        Cause.INVALID: "501 5.5.2 The exchange broke the mechanism's rules",
        Cause.TOO_MANY: "454 4.7.0 Too many failed logins, try again later",
        Cause.BUSY: "454 4.7.0 Busy, try again later",
        Cause.UNAVAILABLE: "454 4.7.0 Not available now, try again later",
        Cause.UNSUPPORTED: "504 5.5.4 Unknown authentication mechanism",
    },
}

_TABLE: dict[tuple[Moment, Cause], bytes] = {
    (moment, cause): (_SPECIAL[moment].get(cause, _GENERAL[cause]) + "\r\n").encode("ascii")
    for moment in Moment
    for cause in Cause
}


def elsewhere(backend: str) -> bytes:
    """To a delivery that came to the wrong backend of a pool."""
    return f"451 4.3.2 The mailbox is hosted by backend {backend}\r\n".encode("ascii")


def in_pool(pool: str) -> bytes:
    """To a delivery that came to the wrong pool."""
    return f"451 4.3.2 The mailbox is in pool {pool}\r\n".encode("ascii")


def reply(cause: Cause, moment: Moment) -> bytes:
    """The whole line."""
    return _TABLE[moment, cause]


OVER_QUOTA_FOR_GOOD = b"552 5.2.2 Mailbox is full\r\n"  # where a site wants senders to know at once

TOO_MANY_HOPS = b"554 5.4.6 Too many hops: the message is going round in circles\r\n"
DELIVERED_BEFORE = b"554 5.4.6 The message was delivered to this address before: a forwarding loop\r\n"
HEADER_TOO_BIG = b"552 5.3.4 The header is larger than the limit\r\n"
NOT_A_MAILBOX = b"550 5.1.1 Not a mailbox: send to that address by SMTP\r\n"
TOO_MANY_REFUSED = b"421 4.7.0 Too many refused recipients\r\n"
AUTHENTICATE_FIRST = b"530 5.7.0 Authentication required\r\n"
STARTTLS_FIRST = b"530 5.7.0 Issue STARTTLS first\r\n"
NOT_YOUR_ADDRESS = b"550 5.7.1 That sender address is not yours\r\n"
TOO_MANY_FAILED_LOGINS = b"421 4.7.0 Too many failed logins\r\n"
NOT_FOR_YOU = b"554 5.7.1 No LMTP for you\r\n"
TOO_MANY_CONNECTIONS = b"421 4.7.0 Too many connections\r\n"
TAKEN_BEFORE = b"250 2.0.0 Taken before\r\n"  # another node hands it in again
NOBODY_TAKES_MAIL = b"421 4.3.2 No server of this site can take mail now, try again later\r\n"
SHUTTING_DOWN = b"421 4.3.2 Shutting down, try again later\r\n"
TIMED_OUT = b"421 4.4.2 Timed out\r\n"
FAILED_HERE = b"421 4.3.0 Something went wrong here, try again later\r\n"
