"""Routing: what becomes of one recipient. The MX asks `accepts` at RCPT; the queue asks `route` before delivery.

Only local domains, the outside world by SMTP, and refusal so far; lists, forwards and foreign pools join here.
"""

from typing import TypeAlias

import msgspec

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.resolve import Known
from rookery.distribution.directory.values import NotLocal, Resolved, Target, Unknown


class Local(msgspec.Struct, frozen=True):
    """To these accounts by LMTP, and to these outside addresses by SMTP.

    `through`: the alias or group that was named, "" for an account itself; then the original recipient is expanded.
    """

    targets: tuple[Target, ...]
    outside: tuple[str, ...] = ()
    through: str = ""
    missing: tuple[str, ...] = ()


class Remote(msgspec.Struct, frozen=True):
    """To the mail exchangers of `domain`."""

    address: str
    domain: str


class Refused(msgspec.Struct, frozen=True):
    """Nowhere. NOT_FOUND: no such address in a domain of ours; INVALID: no address; TOO_MANY: temporary."""

    refusal: Refusal


Route: TypeAlias = Local | Remote | Refused


def accepts(directory: Directory, address: str) -> Refusal | None:
    """None: a recipient of ours. DENIED: another domain (relaying), NOT_FOUND: unknown here, INVALID: no address."""
    try:
        known = directory.known(address)
    except RookeryError as error:
        return error.refusal
    if known is Known.LOCAL:
        return None
    if known is Known.UNKNOWN:
        return Refusal(Cause.NOT_FOUND, "no such address here")
    return Refusal(Cause.DENIED, "not a domain of this site")


def route(directory: Directory, address: str) -> Route:
    """Never raises on any address."""
    try:
        found = directory.resolve(address)
    except RookeryError as error:
        return Refused(error.refusal)
    if isinstance(found, Resolved):
        return Local(found.targets, found.outside, found.through, found.missing)
    if isinstance(found, Unknown):
        return Refused(Refusal(Cause.NOT_FOUND, found.what))
    assert isinstance(found, NotLocal)
    return Remote(address, found.domain)
