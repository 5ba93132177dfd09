"""What goes into and comes out of the spool. Times are whole seconds UTC; message ids are text (ids.py)."""

from enum import IntEnum, IntFlag

import msgspec

from rookery.base.ids import AccountId, BlobId
from rookery.storage.blobs import Place
from rookery.storage.staging import Staged

TEXT_LIMIT = 1000  # characters of a reply that are kept


class NoticeKind(IntEnum):
    """What a message is to the rule that nobody is notified of a notice for ever."""

    MAIL = 0
    TO_SENDER = 1
    TO_POSTMASTER = 2  # about a notice that could not be delivered; if it fails too, that is the end


class State(IntEnum):
    """Where one recipient stands. Those up to DEFERRED are open: something will still happen."""

    DUE = 1  # waits for its time
    CLAIMED = 2  # some incarnation works on it
    HELD = 3  # until an administrator releases it
    DEFERRED = 4  # was tried, waits for its next time
    DELIVERED = 5  # into a mailbox here
    RELAYED = 6  # taken by another host
    FAILED = 7
    EXPANDED = 8  # replaced by other recipients of the same message
    REMOVED = 9  # by an administrator

    @property
    def open(self) -> bool:
        return self <= State.DEFERRED


LAST_OPEN = State.DEFERRED


class Notify(IntFlag):
    """RFC 3461 section 4.1; 0 is NOTIFY=NEVER."""

    NEVER = 0
    SUCCESS = 1
    FAILURE = 2
    DELAY = 4


class Recipient(msgspec.Struct, frozen=True):
    """One RCPT. `address` as given; `original` is ORCPT ("rfc822;..."), if the sender gave one.

    `given`: the delivery id of a node that hands it in, with that node's name; the same one is taken once.
    """

    address: str
    original: str = ""
    notify: Notify = Notify.FAILURE
    given: str = ""


class Incoming(msgspec.Struct, frozen=True):
    """A message to accept. `sender` "" is the null sender.

    `message_id`: from `Spool.new_id()`, for whoever needs it before the body is complete; "" lets the spool make it.
    `staged` is taken over: the spool releases it, whatever happens. The time of arrival is that of the commit.
    `header_id`: the Message-ID, if known, for `rookery trace`. `hops`: Received headers found.
    """

    sender: str
    recipients: tuple[Recipient, ...]
    staged: Staged
    session: str = ""
    message_id: str = ""
    peer: str = ""
    submitted_by: AccountId | None = None
    eight_bit: bool = False
    smtputf8: bool = False
    hops: int = 0
    header_id: str = ""
    envelope_id: str = ""
    notice: NoticeKind = NoticeKind.MAIL


class Envelope(msgspec.Struct, frozen=True):
    """One spooled message without its recipients."""

    message: str
    number: int
    sender: str
    session: str
    peer: str
    submitted_by: AccountId | None
    received: int
    size: int
    hops: int
    eight_bit: bool
    smtputf8: bool
    held: bool
    warned: bool
    header_id: str
    envelope_id: str
    notice: NoticeKind
    blob: BlobId
    place: Place


class ClaimedRecipient(msgspec.Struct, frozen=True):
    """`address` is where to deliver; `given` what the sender wrote; `depth` the expansions between them."""

    n: int
    address: str
    given: str
    original: str
    notify: Notify
    depth: int
    attempts: int


class Claimed(msgspec.Struct, frozen=True):
    """A message and those of its recipients that this incarnation has claimed now."""

    envelope: Envelope
    recipients: tuple[ClaimedRecipient, ...]


class Fate(msgspec.Struct, frozen=True):
    """What an attempt did to recipient `n`. `next` is when to try again, for DEFERRED only.

    `remote`: the host that said so, "" for ourselves. A DUE fate gives the claim back untried.
    """

    n: int
    state: State
    code: int = 0
    enhanced: str = ""
    text: str = ""
    remote: str = ""
    next: int | None = None


class Expansion(msgspec.Struct, frozen=True):
    """A new recipient in place of `parent`; left out if the message has, or had, that address."""

    parent: int
    address: str


class Settlement(msgspec.Struct, frozen=True):
    """All that is known now about one claimed message. `notices` enter the spool in the same transaction."""

    envelope: Envelope
    fates: tuple[Fate, ...]
    expansions: tuple[Expansion, ...] = ()
    notices: tuple[Incoming, ...] = ()
    warned: bool = False


class Settled(msgspec.Struct, frozen=True):
    """`finished`: nothing is left open; then `place` is where the body stands. `added` were claimed at once, and so
    were the recipients of `notices`. `lost`: fates that came too late; with any of them no notice was sent.
    """

    finished: bool
    added: tuple[ClaimedRecipient, ...] = ()
    notices: tuple[Envelope, ...] = ()
    place: Place | None = None
    lost: int = 0


# --- for people ----------------------------------------------------------------------------------------------------


class RecipientReport(msgspec.Struct, frozen=True):
    address: str
    given: str
    state: str
    attempts: int = 0
    next: int | None = None
    code: int = 0
    enhanced: str = ""
    text: str = ""
    remote: str = ""
    changed: int = 0


class MessageReport(msgspec.Struct, frozen=True):
    """One message as `queue list`, `queue show` and `trace` print it. `finished` 0: still in the queue."""

    message: str
    session: str
    sender: str
    header_id: str
    size: int
    received: int
    recipients: tuple[RecipientReport, ...]
    recipient_count: int = 0
    peer: str = ""
    finished: int = 0
    held: bool = False
    submitted_by: str = ""


class QueueFilter(msgspec.Struct, frozen=True):
    """Empty fields match everything. `sender` and `recipient` are addresses or "@domain"."""

    state: State | None = None
    sender: str = ""
    recipient: str = ""
    after: str = ""  # message id: the page begins behind it


class Counts(msgspec.Struct, frozen=True):
    """For metrics. `oldest`: when the oldest open message came, 0 if there is none."""

    messages: int
    recipients: dict[str, int]
    oldest: int
    octets: int
