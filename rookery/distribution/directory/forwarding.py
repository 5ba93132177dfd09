"""Acts as they are sent to the primary by a replica, and what comes back: MessagePack, by the types of the rules.

What another node sends is checked as far as all acts have it in common: addresses and domains are canonical, ids are
ids, texts have a bound and no control characters, the time is now. The rules check the rest, as they do here.
"""

import types
from collections.abc import Iterable
from functools import cache
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.directory import acts
from rookery.distribution.directory.addresses import Address, canonical_domain, parse_address
from rookery.distribution.directory.rules import Outcome
from rookery.distribution.directory.rules_domains import AddDomain, NameDomain, RemoveDomain
from rookery.distribution.directory.rules_pools import AssignDomain, LocalDomain
from rookery.storage.group_commit import Rule

SKEW = 300  # seconds by which the clocks of two nodes may differ
TEXT_LIMIT = 1_000  # characters
OCTETS_LIMIT = 64 * 1024
NUMBER_LIMIT = 1 << 62
ID_SIZE = 16  # octets

_IDS = frozenset({"account", "credential", "expansion"})
_DOMAINS = {
    AddDomain: ("name",),
    NameDomain: ("name", "other"),
    RemoveDomain: ("name",),
    AssignDomain: ("domain",),
    LocalDomain: ("domain",),
}

A = TypeVar("A")
R = TypeVar("R")


class Form(Generic[A, R]):
    """Of one act: how its argument and its result are written."""

    def __init__(self, rule: Rule[A, Outcome[R]]) -> None:
        hints = get_type_hints(rule.apply.__wrapped__)  # type: ignore[attr-defined]  # see rules.each
        (result,) = get_args(hints.pop("return"))
        del hints["tx"]
        (argument,) = hints.values()
        self._argument: msgspec.msgpack.Decoder[A] = msgspec.msgpack.Decoder(argument)
        # Of several structures MessagePack does not say which it is; the first that has all its fields.
        union = get_origin(result) in (Union, types.UnionType) and all(map(_is_struct, get_args(result)))
        self._results = [msgspec.msgpack.Decoder(one) for one in (get_args(result) if union else (result,))]

    def argument(self, data: bytes) -> A:
        """Raises RookeryError(INVALID)."""
        try:
            return self._argument.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RookeryError(Cause.INVALID, "not an act of this release") from error

    def result(self, data: bytes) -> R:
        """Raises RookeryError(UNAVAILABLE)."""
        for decoder in self._results:
            try:
                return decoder.decode(data)  # type: ignore[no-any-return]
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
        raise RookeryError(Cause.UNAVAILABLE, "the primary answered what this release does not know")


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


@cache
def form(name: str) -> Form[Any, Any]:
    """Raises RookeryError(UNSUPPORTED) for an act of another release."""
    rule = acts.BY_NAME.get(name)
    if rule is None:
        raise RookeryError(Cause.UNSUPPORTED, "this release does not know that act")
    return Form(rule)


def encode(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


def check(argument: object, now: int) -> None:
    """Of what another node sent. Raises RookeryError(INVALID)."""
    at = getattr(argument, "at", now)
    if abs(at - now) > SKEW:
        raise RookeryError(
            Cause.INVALID, f"the clocks of this node and of the directory's primary differ by {abs(at - now)} s"
        )
    _check(argument)
    for name in _DOMAINS.get(type(argument), ()):  # type: ignore[call-overload]
        domain = getattr(argument, name)
        if canonical_domain(domain) != domain:
            raise _wrong(f"the domain {domain[:80]!r}")


def _check(value: object) -> None:
    if isinstance(value, Address):
        if parse_address(str(value)) != value:
            raise _wrong(f"the address {str(value)[:80]!r}")
    elif isinstance(value, str):
        if len(value) > TEXT_LIMIT or any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise _wrong("a text of so many characters, or with control characters,")
    elif isinstance(value, bytes):
        if len(value) > OCTETS_LIMIT:
            raise _wrong(f"a value of {len(value)} octets")
    elif isinstance(value, int):
        if abs(value) > NUMBER_LIMIT:
            raise _wrong(f"the number {value}")
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            one = getattr(value, name)
            if name in _IDS and isinstance(one, bytes) and len(one) != ID_SIZE:
                raise _wrong(f"an id of {len(one)} octets")
            _check(one)
    elif isinstance(value, Iterable):
        for one in value:
            _check(one)


def _wrong(what: str) -> RookeryError:
    return RookeryError(Cause.INVALID, f"{what} is not what a node sends")
