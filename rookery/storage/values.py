"""What goes into and comes out of the store: plain values, no behaviour, no protocol words.

Operations name accounts by id and mailboxes by number (never reused inside an account; names are attributes).
"""

from enum import Enum, IntFlag

import msgspec

from rookery.base.ids import BlobId
from rookery.base.numberset import NumberSet

INBOX = 1  # every account's first mailbox; cannot be deleted
SEPARATOR = "/"  # between levels of a mailbox name


class Flag(IntFlag):
    """System flags; bits 5 to 61 of the same integer are the account's keywords, by its keyword table."""

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


SYSTEM_FLAGS = 31
FIRST_KEYWORD_BIT = 5
KEYWORD_LIMIT = 57


class SpecialUse(Enum):
    """RFC 6154 attributes, without the backslash."""

    ARCHIVE = "Archive"
    DRAFTS = "Drafts"
    JUNK = "Junk"
    SENT = "Sent"
    TRASH = "Trash"
    ALL = "All"
    FLAGGED = "Flagged"


class Mailbox(msgspec.Struct, frozen=True):
    """One mailbox as of its last committed change. `modseq` is the greatest change number of anything in it."""

    number: int
    name: str
    uidvalidity: int
    uidnext: int
    modseq: int
    messages: int
    unseen: int
    deleted: int
    size: int
    subscribed: bool
    special_use: SpecialUse | None = None


class Usage(msgspec.Struct, frozen=True):
    """Octets and messages held, and their limits (0: none)."""

    size: int
    messages: int
    size_limit: int
    message_limit: int


class Presence(msgspec.Struct, frozen=True):
    """One message in one mailbox, with what IMAP asks of it most. `received`: seconds UTC (INTERNALDATE)."""

    uid: int
    email: int
    flags: int
    modseq: int
    saved: int
    received: int
    size: int
    blob: BlobId
    thread: int


class Verb(Enum):
    CREATED = 1
    CHANGED = 2
    DESTROYED = 3


class Kind(Enum):
    MAILBOX = 1
    MESSAGE = 2


class Change(msgspec.Struct, frozen=True):
    """One row of an account's change log, about a *set*.

    kind MESSAGE: `mailbox` is the parent and `uids` the objects; a CHANGED row says which flag bits were set
    and cleared (`added`, `removed`), the same for every UID of the row.
    kind MAILBOX: `mailbox` is the object itself, `uids` is empty.
    """

    modseq: int
    kind: Kind
    verb: Verb
    mailbox: int
    uids: NumberSet = NumberSet()
    added: int = 0
    removed: int = 0


class FlagMode(Enum):
    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"


# --- results -------------------------------------------------------------------------------------------------------


# Delivery ids of queues that are not ours: above all of ours, so that ours can be forgotten up to one, and by givers.
GIVEN = "~"


def given_by(giver: str, delivery: str) -> str:
    """`giver`: a name without "/"."""
    return f"{GIVEN}{giver}/{delivery}"


def giver_of(given: str) -> str:
    """What all ids of that giver begin with."""
    return given[: given.index("/") + 1]


class Appended(msgspec.Struct, frozen=True):
    """`duplicate`: this delivery id was stored before; uid and modseq are those of then."""

    mailbox: int
    uidvalidity: int
    uid: int
    modseq: int
    duplicate: bool = False


class Copied(msgspec.Struct, frozen=True):
    """`source` and `target` correspond in order (RFC 4315 COPYUID). UIDs that were gone are left out."""

    uidvalidity: int
    source: NumberSet
    target: NumberSet
    modseq: int


class Flagged(msgspec.Struct, frozen=True):
    """`changed`: UIDs whose flags differ now. `conflicts`: newer than `unchanged_since`, left alone (RFC 7162)."""

    changed: NumberSet
    conflicts: NumberSet
    modseq: int


class Expunged(msgspec.Struct, frozen=True):
    uids: NumberSet
    modseq: int
