r"""Every command a client may send, as a value (RFC 3501, RFC 9051 and the extensions named below).

Values only, without tags (a tag belongs to the event, see `events.py`): parsing is `grammar.py`, doing is
`access/imap`. Mailbox names are text, already decoded from modified UTF-7 or UTF-8, not judged otherwise; INBOX in
any case is "INBOX".
Flags are text: system flags in their usual spelling (`\Seen`), keywords as written.
"""

from datetime import datetime
from enum import Enum
from typing import TypeAlias

import msgspec

from rookery.wire.imap.fetch import FetchItem
from rookery.wire.imap.search import SearchKey, SearchReturn
from rookery.wire.imap.sequence import SequenceSet

# --- any state -----------------------------------------------------------------------------------------------------


class Capability(msgspec.Struct, frozen=True): ...


class Noop(msgspec.Struct, frozen=True): ...


class Logout(msgspec.Struct, frozen=True): ...


class Id(msgspec.Struct, frozen=True):
    """RFC 2971. Field and value pairs; a value may be None (NIL)."""

    fields: tuple[tuple[str, str | None], ...]


# --- not authenticated ---------------------------------------------------------------------------------------------


class StartTls(msgspec.Struct, frozen=True): ...


class Login(msgspec.Struct, frozen=True):
    """User name and password as octets; the session decodes (UTF-8 or Latin-1 is its choice)."""

    username: bytes
    password: bytes


class Authenticate(msgspec.Struct, frozen=True):
    """`mechanism` in upper case. `initial` is decoded (RFC 4959 SASL-IR): None when absent, b"" for `=`."""

    mechanism: str
    initial: bytes | None


# --- authenticated -------------------------------------------------------------------------------------------------


class Enable(msgspec.Struct, frozen=True):
    """RFC 5161; names in upper case."""

    capabilities: tuple[str, ...]


class Qresync(msgspec.Struct, frozen=True):
    """RFC 7162 3.2.5. `known_uids` and `matches` (sequence numbers, their UIDs) may be None."""

    uidvalidity: int
    modseq: int
    known_uids: SequenceSet | None = None
    matches: tuple[SequenceSet, SequenceSet] | None = None


class Select(msgspec.Struct, frozen=True):
    """SELECT, or EXAMINE when `readonly`."""

    mailbox: str
    readonly: bool
    condstore: bool = False
    qresync: Qresync | None = None


class Create(msgspec.Struct, frozen=True):
    r"""`name` without the trailing separator a client may write to say "children to come" (RFC 9051 6.3.4).

    `uses` are special-use attributes with backslash, as written (`\Sent`; RFC 6154 CREATE-SPECIAL-USE).
    """

    mailbox: str
    uses: tuple[str, ...] = ()


class Delete(msgspec.Struct, frozen=True):
    mailbox: str


class Rename(msgspec.Struct, frozen=True):
    mailbox: str
    target: str


class Subscribe(msgspec.Struct, frozen=True):
    mailbox: str


class Unsubscribe(msgspec.Struct, frozen=True):
    mailbox: str


class StatusItem(Enum):
    """The value is the name on the wire."""

    MESSAGES = b"MESSAGES"
    RECENT = b"RECENT"
    UIDNEXT = b"UIDNEXT"
    UIDVALIDITY = b"UIDVALIDITY"
    UNSEEN = b"UNSEEN"
    DELETED = b"DELETED"
    SIZE = b"SIZE"
    HIGHESTMODSEQ = b"HIGHESTMODSEQ"
    APPENDLIMIT = b"APPENDLIMIT"
    MAILBOXID = b"MAILBOXID"
    DELETED_STORAGE = b"DELETED-STORAGE"


class Status(msgspec.Struct, frozen=True):
    mailbox: str
    items: tuple[StatusItem, ...]


class ListSelect(Enum):
    """Selection options of LIST (RFC 5258, RFC 6154)."""

    SUBSCRIBED = "SUBSCRIBED"
    REMOTE = "REMOTE"
    RECURSIVEMATCH = "RECURSIVEMATCH"
    SPECIAL_USE = "SPECIAL-USE"


class ListReturn(Enum):
    """Return options of LIST; STATUS carries its items in `List.status`."""

    SUBSCRIBED = "SUBSCRIBED"
    CHILDREN = "CHILDREN"
    SPECIAL_USE = "SPECIAL-USE"
    STATUS = "STATUS"


class List(msgspec.Struct, frozen=True):
    """`patterns` hold `*` and `%`. `extended`: written in the extended form, so answered with extended data.

    `LIST "" ""` (hierarchy question) arrives as patterns ("",), not extended.
    """

    reference: str
    patterns: tuple[str, ...]
    select: frozenset[ListSelect] = frozenset()
    returns: frozenset[ListReturn] = frozenset()
    status: tuple[StatusItem, ...] = ()
    extended: bool = False


class Lsub(msgspec.Struct, frozen=True):
    """RFC 3501 only."""

    reference: str
    pattern: str


class Namespace(msgspec.Struct, frozen=True): ...


class Append(msgspec.Struct, frozen=True):
    """One message of an APPEND; its octets follow as literal events. `index` counts messages (RFC 3502), from 0.

    `size` in octets as announced. `binary`: a literal8 (`~{n}`, RFC 3516); `utf8`: inside `UTF8 (...)` (RFC 6855).
    `date` None: now. The date is aware (has its zone).
    """

    mailbox: str
    size: int
    flags: tuple[str, ...] = ()
    date: datetime | None = None
    binary: bool = False
    utf8: bool = False
    index: int = 0


class AppendDone(msgspec.Struct, frozen=True):
    """The end of an APPEND command: everything announced has arrived and may be committed."""


class Idle(msgspec.Struct, frozen=True):
    """RFC 2177. The session answers by `engine.idle()`; the end is a `Done` event."""


class GetQuota(msgspec.Struct, frozen=True):
    """RFC 9208."""

    root: str


class GetQuotaRoot(msgspec.Struct, frozen=True):
    mailbox: str


# --- selected ------------------------------------------------------------------------------------------------------


class Check(msgspec.Struct, frozen=True): ...


class Close(msgspec.Struct, frozen=True): ...


class Unselect(msgspec.Struct, frozen=True): ...


class Expunge(msgspec.Struct, frozen=True):
    """`uids` None: plain EXPUNGE; else UID EXPUNGE (RFC 4315)."""

    uids: SequenceSet | None = None


class Search(msgspec.Struct, frozen=True):
    """`returns` None: no RETURN, so an untagged SEARCH (rev1); `RETURN ()` is {ALL}. `uid`: UID SEARCH.

    `charset` as written in upper case, or None.
    """

    key: SearchKey
    uid: bool = False
    returns: frozenset[SearchReturn] | None = None
    charset: str | None = None


class Fetch(msgspec.Struct, frozen=True):
    """With `uid`, UID is among `items` whether or not it was written. `changed_since`, `vanished`: RFC 7162."""

    numbers: SequenceSet
    items: tuple[FetchItem, ...]
    uid: bool = False
    changed_since: int | None = None
    vanished: bool = False


class StoreMode(Enum):
    REPLACE = b"FLAGS"
    ADD = b"+FLAGS"
    REMOVE = b"-FLAGS"


class Store(msgspec.Struct, frozen=True):
    numbers: SequenceSet
    mode: StoreMode
    flags: tuple[str, ...]
    silent: bool = False
    uid: bool = False
    unchanged_since: int | None = None


class Copy(msgspec.Struct, frozen=True):
    numbers: SequenceSet
    mailbox: str
    uid: bool = False


class Move(msgspec.Struct, frozen=True):
    """RFC 6851."""

    numbers: SequenceSet
    mailbox: str
    uid: bool = False


Command: TypeAlias = (
    Capability
    | Noop
    | Logout
    | Id
    | StartTls
    | Login
    | Authenticate
    | Enable
    | Select
    | Create
    | Delete
    | Rename
    | Subscribe
    | Unsubscribe
    | Status
    | List
    | Lsub
    | Namespace
    | AppendDone
    | Idle
    | GetQuota
    | GetQuotaRoot
    | Check
    | Close
    | Unselect
    | Expunge
    | Search
    | Fetch
    | Store
    | Copy
    | Move
)
