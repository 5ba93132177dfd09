"""What frames carry, as msgpack arrays: a later release may add fields at the end, an earlier one skips them.

Every field has a bound, so that nothing of a peer grows here. Addresses and sessions that a peer names are its claims:
they limit and log, they grant nothing.
"""

import ipaddress
import re
from typing import Annotated, TypeVar

import msgspec

from rookery.base.errors import Cause, Refusal
from rookery.wire.cluster.frames import PAYLOAD_LIMIT
from rookery.wire.proxy import Endpoint

OLDEST, NEWEST = 1, 1  # versions that this release speaks
WINDOW = 256 * 1024  # octets of a stream that may wait at its reader, unless a setting says otherwise
WINDOW_MOST = 16 * 1024 * 1024
STATE_LIMIT = 32 * 1024  # octets of what a session knows
SIGNAL_LIMIT = 32 * 1024  # octets of a signal
WHAT_LIMIT = 500  # characters of a refusal's text
HOPS_MOST = 8
ADDRESS_LIMIT = 45  # characters

Version = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Name = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{1,253}\Z")]
Word = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9.-]{0,31}\Z")]
State = Annotated[bytes, msgspec.Meta(max_length=STATE_LIMIT)]

_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!\Z)|\Z)){4}\Z", re.ASCII)

NOWHERE = Endpoint("", 0)


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """How a node introduces itself. `window`: octets of every stream that it takes before it has read any."""

    oldest: Version
    newest: Version
    cluster: Name
    node: Name
    release: Annotated[str, msgspec.Meta(max_length=64)]
    window: Annotated[int, msgspec.Meta(ge=1024, le=WINDOW_MOST)] = WINDOW


class Tls(msgspec.Struct, frozen=True, array_like=True):
    """How the client's own connection is encrypted: "TLSv1.3", a cipher, and the name it asked for."""

    version: Annotated[str, msgspec.Meta(max_length=16)]
    cipher: Annotated[str, msgspec.Meta(max_length=64)]
    server_name: Annotated[str, msgspec.Meta(max_length=255)] = ""


class Preface(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of every stream: what is spoken on it, and on whose behalf.

    `account`: 16 octets, or none before anybody has logged in. `client` and `local`: both ends of the client's
    connection. `session`: as in the logs. `hops`: nodes that the stream has been passed on by. `handle`: the proof that
    the login is expected; `resume`: what the session knew elsewhere. Raises ValueError for an address that is none.
    """

    protocol: Word
    account: Annotated[bytes, msgspec.Meta(max_length=16)] = b""
    client: Endpoint = NOWHERE
    local: Endpoint = NOWHERE
    tls: Tls | None = None
    session: Annotated[str, msgspec.Meta(max_length=64)] = ""
    hops: Annotated[int, msgspec.Meta(ge=0, le=HOPS_MOST)] = 0
    handle: Annotated[bytes, msgspec.Meta(max_length=64)] = b""
    resume: State = b""
    version: Version = 1

    def __post_init__(self) -> None:
        if len(self.account) not in (0, 16):
            raise ValueError(f"an account id has 16 octets, found {len(self.account)}")
        _check(self.client)
        _check(self.local)


class Referral(msgspec.Struct, frozen=True, array_like=True):
    """Where a stream goes on: the node and its cluster port, and what the session there needs to know.

    Raises ValueError for an address that is none, and for too long a state.
    """

    node: Name
    address: Endpoint = NOWHERE
    state: State = b""

    def __post_init__(self) -> None:
        _check(self.address)
        if len(self.state) > STATE_LIMIT:
            raise ValueError(f"{len(self.state)} octets of state")


class Signal(msgspec.Struct, frozen=True, array_like=True):
    """Something that may be worth knowing, and is never needed to be right."""

    kind: Word
    data: Annotated[bytes, msgspec.Meta(max_length=SIGNAL_LIMIT)] = b""


class _Reset(msgspec.Struct, frozen=True, array_like=True):
    cause: Annotated[str, msgspec.Meta(max_length=32)]
    what: str = ""


Value = TypeVar("Value", Hello, Preface, Referral, Signal)

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
_decoders = {kind: msgspec.msgpack.Decoder(kind) for kind in (Hello, Preface, Referral, Signal)}
_reset_decoder = msgspec.msgpack.Decoder(_Reset)


def decode(kind: type[Value], payload: bytes) -> Value | str:
    """The value, or in words why it is none."""
    try:
        value = _decoders[kind].decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"malformed {kind.__name__}: {str(error)[:WHAT_LIMIT]}"
    assert isinstance(value, kind)
    return value


def encode_refusal(refusal: Refusal) -> bytes:
    return encode(_Reset(refusal.cause.value, refusal.what[:WHAT_LIMIT]))


def decode_refusal(payload: bytes) -> Refusal:
    """Never fails: a cause of a later release, or one that cannot be read, is "unavailable"."""
    try:
        found = _reset_decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refusal(Cause.UNAVAILABLE, "refused without a reason that can be read")
    what = found.what[:WHAT_LIMIT]
    try:
        return Refusal(Cause(found.cause), what)
    except ValueError:
        return Refusal(Cause.UNAVAILABLE, what)


def _check(endpoint: Endpoint) -> None:
    """Raises ValueError."""
    address, port = endpoint
    if address and not _IPV4.match(address):
        if len(address) > ADDRESS_LIMIT or "%" in address:
            raise ValueError("not an address")
        ipaddress.IPv6Address(address)
    if not 0 <= port <= 65535:
        raise ValueError(f"{port} is not a port")


assert STATE_LIMIT + SIGNAL_LIMIT <= PAYLOAD_LIMIT  # with room for the other fields of either
