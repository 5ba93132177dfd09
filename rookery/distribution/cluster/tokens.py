"""Join tokens: the text that is carried from the authority to a new node, and admits it once.

    rookery-join-1:  base32 of msgpack [cluster, token id, pin, secret, addresses] and a checksum of 5 octets

The pin is SHA-256 of the authority's public key, so that the new node tells its secret to nobody else. The authority
keeps SHA-256 of the secret, which has 256 bits and needs no slower hash.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from rookery.base.config.kinds import parse_endpoint
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import RandomBytes

PREFIX = "rookery-join-"
VERSION = "1"
LIFETIME = 3600  # seconds
LIFETIME_MOST = 7 * 86400
SECRET_SIZE = 32
ID_SIZE = 8
CHECK_SIZE = 5
ADDRESSES_LIMIT = 8
TEXT_LIMIT = 8192  # characters


class _Body(msgspec.Struct, array_like=True):
    cluster: bytes
    token: bytes
    pin: bytes
    secret: bytes
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """`addresses`: host:port of the authority's nodes, any of which may be asked."""

    cluster: str
    id: bytes
    pin: bytes
    secret: bytes = field(repr=False)
    addresses: tuple[str, ...]

    @property
    def hash(self) -> bytes:
        return hash_of(self.secret)

    def text(self) -> str:
        """One word, which a double click selects."""
        body = _Body(bytes.fromhex(self.cluster), self.id, self.pin, self.secret, self.addresses)
        data = msgspec.msgpack.encode(body)
        return f"{PREFIX}{VERSION}:" + base64.b32encode(data + _check(data)).decode("ascii").rstrip("=").lower()


def hash_of(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _check(data: bytes) -> bytes:
    return hashlib.sha256(b"rookery join token" + data).digest()[:CHECK_SIZE]


def make(cluster: str, pin: bytes, addresses: Sequence[str], default_port: int, random: RandomBytes) -> Token:
    """Raises INVALID for an address that is none, TOO_MANY."""
    if not 0 < len(addresses) <= ADDRESSES_LIMIT:
        raise RookeryError(Cause.TOO_MANY, f"a join token names 1 to {ADDRESSES_LIMIT} addresses of the authority")
    return Token(
        cluster, random(ID_SIZE), pin, random(SECRET_SIZE), tuple(_address(a, default_port) for a in addresses)
    )


def _address(text: str, default_port: int) -> str:
    try:
        return str(parse_endpoint(text, default_port))
    except ValueError:
        raise RookeryError(Cause.INVALID, f"the address {text[:80]!r} of the authority: expected host:port") from None


def parse(text: str) -> Token:
    """White space, as from a wrapped line, is ignored. Raises INVALID, UNSUPPORTED; errors repeat nothing of it."""
    compact = "".join(text.split()).lower()
    if len(compact) > TEXT_LIMIT:
        raise RookeryError(Cause.INVALID, "this is no join token: it is far too long")
    head, _, rest = compact.partition(":")
    if not head.startswith(PREFIX) or not rest:
        raise RookeryError(Cause.INVALID, f"this is no join token, which begins with {PREFIX}{VERSION}:")
    if head != PREFIX + VERSION:
        raise RookeryError(
            Cause.UNSUPPORTED, "the join token is of another release of Rookery; join with the release that made it"
        )
    try:
        data = base64.b32decode(rest.upper() + "=" * (-len(rest) % 8))
    except (binascii.Error, ValueError):
        raise _mistyped() from None
    data, check = data[:-CHECK_SIZE], data[-CHECK_SIZE:]
    if _check(data) != check:
        raise _mistyped()
    try:
        body = msgspec.msgpack.decode(data, type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _mistyped() from None
    sizes = (len(body.cluster), len(body.token), len(body.pin), len(body.secret))
    if sizes != (16, ID_SIZE, 32, SECRET_SIZE) or not 0 < len(body.addresses) <= ADDRESSES_LIMIT:
        raise _mistyped()
    return Token(body.cluster.hex(), body.token, body.pin, body.secret, body.addresses)


def _mistyped() -> RookeryError:
    return RookeryError(
        Cause.INVALID, "the join token is incomplete or has a wrong character; copy the whole of it once more"
    )
