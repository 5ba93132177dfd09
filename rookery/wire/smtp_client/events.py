"""What goes into the sending engine, and what it tells its driver."""

from typing import TypeAlias

import msgspec

from rookery.wire.smtp_client.extensions import Extensions
from rookery.wire.smtp_client.replies import Reply


class MailRecipient(msgspec.Struct, frozen=True):
    """`delivery`: the delivery id, sent only to a peer that offers XDELIVERY."""

    address: str
    delivery: str = ""


class Mail(msgspec.Struct, frozen=True):
    """One transaction. `whole`: the body, for a peer that takes it at once; None: the driver gives it in chunks."""

    sender: str
    recipients: tuple[MailRecipient, ...]
    size: int
    eight_bit: bool = False
    smtputf8: bool = False
    whole: bytes | None = None


class Greeted(msgspec.Struct, frozen=True):
    reply: Reply


class Ready(msgspec.Struct, frozen=True):
    extensions: Extensions


class Refused(msgspec.Struct, frozen=True):
    """The peer will not talk: its greeting or its answer to HELO."""

    reply: Reply


class TlsWanted(msgspec.Struct, frozen=True):
    """Upgrade the stream now; nothing may be left over."""


class TlsRefused(msgspec.Struct, frozen=True):
    reply: Reply


class LoggedIn(msgspec.Struct, frozen=True):
    pass


class LoginRefused(msgspec.Struct, frozen=True):
    reply: Reply


class BodyWanted(msgspec.Struct, frozen=True):
    """`accepted`: indexes of the recipients that the peer took."""

    mail: Mail
    accepted: tuple[int, ...]


class Finished(msgspec.Struct, frozen=True):
    """One reply for each recipient of the mail, in their order."""

    mail: Mail
    replies: tuple[Reply, ...]


class Broken(msgspec.Struct, frozen=True):
    """The conversation is over; all transactions have had their outcome."""

    what: str


Event: TypeAlias = (
    Greeted | Ready | Refused | TlsWanted | TlsRefused | LoggedIn | LoginRefused | BodyWanted | Finished | Broken
)
