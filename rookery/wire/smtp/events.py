"""What the server engine reports. Each of Auth, SaslAnswer, Mail, Rcpt, BodyStart and BodyEnd must be answered.

A message is `Mail Rcpt+ BodyStart BodyChunk* BodyEnd`; `Reset` and `BodyFailed` end it anywhere after its Mail.
"""

from typing import TypeAlias

import msgspec


class Auth(msgspec.Struct, frozen=True):
    """AUTH of an offered mechanism. Answer with `challenge`, `authenticated` or `refuse`."""

    mechanism: str
    initial: bytes | None


class SaslAnswer(msgspec.Struct, frozen=True):
    """The answer to a challenge. None: the client gave up (`*`) or sent no base64; that has been answered."""

    data: bytes | None


class Mail(msgspec.Struct, frozen=True):
    """MAIL. `sender` "" is the null sender; `size` 0: not declared. `notify_headers_only` is RET=HDRS (RFC 3461)."""

    sender: str
    size: int = 0
    eight_bit: bool = False
    smtputf8: bool = False
    envelope_id: str = ""
    headers_only: bool = False


class Rcpt(msgspec.Struct, frozen=True):
    """RCPT. `recipient` as given, or "postmaster". `notify`: NOTIFY as given, upper case; "" if not.

    `original` is ORCPT ("rfc822;..."), `delivery_id` our own queue's XDELIVERY; both decoded from xtext.
    """

    recipient: str
    notify: tuple[str, ...] = ()
    original: str = ""
    delivery_id: str = ""


class BodyStart(msgspec.Struct, frozen=True):
    """DATA, or the first BDAT. `accept()` lets it come."""


class BodyChunk(msgspec.Struct, frozen=True):
    """Octets of the message, in order, dots unstuffed."""

    data: bytes


class BodyEnd(msgspec.Struct, frozen=True):
    """The message is whole. Answer with `accept`, `refuse`, or for LMTP `answer_each`."""


class BodyFailed(msgspec.Struct, frozen=True):
    """The message cannot be taken; that has been answered. `reason` is for the log."""

    reason: str


class Reset(msgspec.Struct, frozen=True):
    """The transaction is over without a message (RSET, a new greeting, TLS)."""


class Malformed(msgspec.Struct, frozen=True):
    """A bad command, which has been answered. For the log: holds nothing of what was sent."""

    reason: str


Event: TypeAlias = Auth | SaslAnswer | Mail | Rcpt | BodyStart | BodyChunk | BodyEnd | BodyFailed | Reset | Malformed

BODY_START = BodyStart()
BODY_END = BodyEnd()
RESET = Reset()
