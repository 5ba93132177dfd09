"""Questions and answers between nodes, one of each per call of the cluster port, as MessagePack arrays.

New fields go to the end and have a default, new kinds of questions get a tag of their own: a node of an older release
answers INVALID to what it does not know. Everything has a bound, for a frontend may be a stolen one.
"""

from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.distribution.service.figures import Figures, Name

Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
Octets = Annotated[bytes, Meta(max_length=16_384)]  # of one step of a SASL exchange
Text = Annotated[str, Meta(max_length=1_000)]  # an address is at most 320 characters

HANDLE_SIZE = 16  # octets
DIRECTORIES = 64  # nodes that are told of

ARGUMENT_LIMIT = 4 * 1024 * 1024  # octets of an act: a group of the most members, all with the longest addresses
PAGE_LIMIT = 1024 * 1024  # octets at which a page of a directory ends; one object more may be in it


class Client(msgspec.Struct, frozen=True, array_like=True):
    """Who connected, as a frontend says: it limits and is logged, it grants nothing.

    address: of the client; session: the id under which the frontend logs; tls: whether the client's side is protected;
    hops: frontends that have passed the question on.
    """

    protocol: Name
    address: Name
    session: Name
    tls: bool
    hops: Annotated[int, Meta(ge=0, le=8)] = 0


class Generation(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Of a directory: another one begins when a replica is promoted, and the higher one counts. id: of that promotion,
    for two may be made at once. began: the last change before it.
    """

    number: int
    id: Annotated[bytes, Meta(max_length=16)] = b""
    began: int = 0


class Table(msgspec.Struct, frozen=True, array_like=True):
    """Rows of one table of the directory."""

    name: Name
    columns: list[Name]
    rows: list[tuple[Any, ...]]


# --- questions -----------------------------------------------------------------------------------------------------


class Begin(msgspec.Struct, frozen=True, array_like=True, tag="begin"):
    """A SASL exchange. initial: the decoded initial response, b"" for an empty one, None for none (RFC 4422)."""

    client: Client
    mechanism: Name
    initial: Octets | None = None


class Step(msgspec.Struct, frozen=True, array_like=True, tag="step"):
    """The client's decoded answer to the last Challenge of an exchange."""

    exchange: Id
    data: Octets


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    """The client has given an exchange up, or is gone."""

    exchange: Id


class Again(msgspec.Struct, frozen=True, array_like=True, tag="again"):
    """The host of a login that was granted a moment ago did not open: where is it now? Answered by another Granted.

    relay: it is still there and cannot be reached from here, so whoever is asked is to pass the session on.
    """

    exchange: Id
    relay: bool = False


class Recipient(msgspec.Struct, frozen=True, array_like=True, tag="recipient"):
    """Does this address take mail here? `host`: and which backend takes deliveries for it? `tried`: another one than
    that, which has refused them.
    """

    address: Text
    host: bool = False
    tried: Name = ""


class Expect(msgspec.Struct, frozen=True, array_like=True, tag="expect"):
    """To a host: somebody has proved to be the owner of `account`, and is to come through this frontend."""

    account: Id
    protocol: Name
    frontend: Name
    session: Name


class AskRevoked(msgspec.Struct, frozen=True, array_like=True, tag="revoked"):
    """Who is a member no more? `known`: the number of the list that the node has."""

    known: int


class AskDirectories(msgspec.Struct, frozen=True, array_like=True, tag="directories"):
    """Where are the directory nodes?"""


class AskStatus(msgspec.Struct, frozen=True, array_like=True, tag="status"):
    """How is this process? `of`: or a node without a cluster port of its own, which has a link with this process."""

    of: Name = ""


class Renew(msgspec.Struct, frozen=True, array_like=True, tag="renew"):
    """To an authority: a certificate for the new key of this request (PKCS #10, DER), for who asks."""

    request: Octets


class AskKey(msgspec.Struct, frozen=True, array_like=True, tag="ask-key"):
    """To a backend: under which key does this process remember checked passwords (auth/remembered.py)?"""


class Checked(msgspec.Struct, frozen=True, array_like=True, tag="checked"):
    """To a backend: this was right. digest: under the key that it gave; key: which that is."""

    account: Id
    version: int
    digest: Id
    key: Id


class KnowChecked(msgspec.Struct, frozen=True, array_like=True, tag="know-checked"):
    """To a backend: was this right? As above."""

    account: Id
    version: int
    digest: Id
    key: Id


class ToAuthority(msgspec.Struct, frozen=True, array_like=True, tag="to-authority"):
    """What a node that does not reach the authority's join port would say there (cluster/messages.py): it proves
    itself, whoever brings it. Answered by a Renewed, with what that port answers.
    """

    message: Octets


class Follow(msgspec.Struct, frozen=True, array_like=True, tag="follow"):
    """To the primary: what has changed since number `after`? mark: of that change, so that another history is seen.
    store: its pool's accounts are those whose credentials are wanted, "": all. wait: until there is something, for a
    second or two.
    """

    generation: Generation
    after: int
    mark: Annotated[bytes, Meta(max_length=32)]
    store: Name = ""
    wait: bool = False


class CopyOf(msgspec.Struct, frozen=True, array_like=True, tag="copy-of"):
    """To the primary: the objects of a kind whose keys are higher than `after` (None: from the first)."""

    kind: int
    after: Any = None
    store: Name = ""


class Act(msgspec.Struct, frozen=True, array_like=True, tag="act"):
    """To the primary: do that. argument: as the act has it, in MessagePack."""

    name: Name
    argument: Annotated[bytes, Meta(max_length=ARGUMENT_LIMIT)]


class AskStanding(msgspec.Struct, frozen=True, array_like=True, tag="standing-of"):
    """What is your directory? generation: of that of who asks; who hears of a higher one than its own steps back."""

    generation: Generation


Question: TypeAlias = (
    Begin | Step | Cancel | Again | Recipient | Expect | AskRevoked | AskDirectories | Renew | Follow | CopyOf | Act
    | AskStanding | AskStatus | ToAuthority | AskKey | Checked | KnowChecked
)  # fmt: skip

# --- answers -------------------------------------------------------------------------------------------------------


class Challenge(msgspec.Struct, frozen=True, array_like=True, tag="challenge"):
    """To be sent to the client; what it says goes into a Step."""

    exchange: Id
    data: Octets


class Host(msgspec.Struct, frozen=True, array_like=True):
    """A backend, and where its cluster port is, as host:port; "" when whoever says so passes sessions on to it."""

    backend: Name
    address: Text


class Granted(msgspec.Struct, frozen=True, array_like=True, tag="granted"):
    """The client is logged in. name: the account's address. handle: opens it at that host, once, for some seconds.
    exchange: for asking Again.
    """

    exchange: Id
    account: Id
    name: Text
    host: Host
    handle: Id


class Verdict(msgspec.Struct, frozen=True, array_like=True, tag="verdict"):
    """To a Recipient. local: the domain is one of ours. lifetime: seconds for which it may be remembered. host: None,
    asked or not, when the address does not stand for one mailbox.
    """

    exists: bool
    local: bool
    lifetime: float
    host: Host | None = None


class Expected(msgspec.Struct, frozen=True, array_like=True, tag="expected"):
    """To an Expect."""

    handle: Id


class Moved(msgspec.Struct, frozen=True, array_like=True, tag="moved"):
    """To an Expect, of a backend that is not the host: who is, as far as it knows."""

    host: Host


class CheckKey(msgspec.Struct, frozen=True, array_like=True, tag="check-key"):
    """To an AskKey."""

    key: Annotated[bytes, Meta(min_length=32, max_length=32)]

    def __repr__(self) -> str:
        return "CheckKey()"


class Verified(msgspec.Struct, frozen=True, array_like=True, tag="verified"):
    """To a KnowChecked."""

    known: bool


class RevokedNodes(msgspec.Struct, frozen=True, array_like=True, tag="revoked-nodes"):
    """To an AskRevoked. number: rises with each change; names and serials are left out when it is the known one.
    trust: a digest of the authorities that nodes trust; b"": the node is of a release that does not tell.
    """

    number: int
    names: list[Name] = []
    serials: list[Octets] = []
    trust: Octets = b""


class Directories(msgspec.Struct, frozen=True, array_like=True, tag="directory-nodes"):
    """To an AskDirectories. addresses: of their cluster ports, as host:port."""

    addresses: Annotated[list[Text], Meta(max_length=DIRECTORIES)]


class Renewed(msgspec.Struct, frozen=True, array_like=True, tag="renewed"):
    """To a Renew or ToAuthority: as cluster/messages.py has it."""

    issued: Annotated[bytes, Meta(max_length=32_768)]


class Followed(msgspec.Struct, frozen=True, array_like=True, tag="followed"):
    """To a Follow. changes: rows of the log; tables: what the objects that they name are now. last: the primary's
    number; more: it has changes beyond these. lost: it cannot say what has changed, and a copy is to be made anew.
    whole: with all credentials. site: what the whole site shares.
    """

    generation: Generation
    last: int
    changes: list[tuple[int, int, str, int, int]] = []
    tables: list[Table] = []
    more: bool = False
    lost: bool = False
    whole: bool = True
    site: dict[str, bytes] = {}


class Copied(msgspec.Struct, frozen=True, array_like=True, tag="copied"):
    """To a CopyOf. last: the number of the last change when this was read. after: the last key, None when there are no
    more. changes: the newest rows of the log, with the first page.
    """

    generation: Generation
    last: int
    tables: list[Table]
    after: Any
    whole: bool
    changes: list[tuple[int, int, str, int, int]] = []


class Acted(msgspec.Struct, frozen=True, array_like=True, tag="acted"):
    """To an Act. number: of its last change, or a later one. value: what the act returns, in MessagePack."""

    number: int
    value: bytes


class Standing(msgspec.Struct, frozen=True, array_like=True, tag="standing"):
    """To an AskStanding. state: primary, replica, or fenced: it was one before another was promoted."""

    generation: Generation
    state: Name
    last: int


class Nothing(msgspec.Struct, frozen=True, array_like=True, tag="nothing"):
    """To a Cancel."""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """cause: as in base/errors.py; one that is not known there means UNAVAILABLE."""

    cause: Name
    what: Text = ""

    @property
    def refusal(self) -> Refusal:
        try:
            return Refusal(Cause(self.cause), self.what)
        except ValueError:
            return Refusal(Cause.UNAVAILABLE, self.what)


Answer: TypeAlias = (
    Challenge | Granted | Verdict | Expected | Moved | RevokedNodes | Directories | Renewed | Followed | Copied | Acted
    | Standing | Figures | CheckKey | Verified | Nothing | Refused
)  # fmt: skip

A = TypeVar("A")

_questions: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode(message: Question | Answer) -> bytes:
    return msgspec.msgpack.encode(message)


def decode_question(data: bytes) -> Question:
    """Raises RookeryError(INVALID)."""
    try:
        return _questions.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RookeryError(Cause.INVALID, "not a question of this release") from error


def decode_answer(data: bytes, *kinds: type[A]) -> A:
    """Raises RookeryError: what the other node refused with, or UNAVAILABLE when it is none of `kinds`."""
    try:
        answer = _answers.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RookeryError(Cause.UNAVAILABLE, "the other node answered what this release does not know") from error
    if isinstance(answer, Refused):
        refusal = answer.refusal
        raise RookeryError(refusal.cause, refusal.what)
    if not isinstance(answer, kinds):
        raise RookeryError(Cause.UNAVAILABLE, f"the other node answered {type(answer).__name__}")
    return answer


def refused(refusal: Refusal) -> Refused:
    return Refused(refusal.cause.value, refusal.what[:1_000])
