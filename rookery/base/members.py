"""Members of a cluster: what a node may do there, and who presents a certificate of its own."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Role(StrEnum):
    """What a node does; a certificate states it, and the cluster port refuses what a role may not do."""

    FRONTEND = "frontend"
    BACKEND = "backend"
    DIRECTORY = "directory"
    MX_IN = "mx-in"
    MX_OUT = "mx-out"
    AUTHORITY = "authority"
    ADMIN = "admin"


class Keeps(StrEnum):
    """What a node has that must not be lost, which follows from its roles."""

    MAIL = "mail"
    DIRECTORY = "directory"
    NOTHING = "nothing"


class Member(msgspec.Struct, frozen=True):
    """A node as its certificate says. `serial`: 16 octets. `ends`: of that certificate, seconds UTC."""

    name: str
    roles: frozenset[Role]
    serial: bytes
    ends: int


_ROLES = {role.value: role for role in Role}


def roles_text(roles: Iterable[Role]) -> str:
    return " ".join(sorted(role.value for role in roles))


def roles_of(texts: Iterable[str]) -> frozenset[Role]:
    """Those that this release knows: a role of a newer one allows nothing here."""
    return frozenset(_ROLES[text] for text in texts if text in _ROLES)


def keeps(roles: Iterable[Role]) -> Keeps:
    has = frozenset(roles)
    if Role.BACKEND in has:
        return Keeps.MAIL
    return Keeps.DIRECTORY if has & {Role.DIRECTORY, Role.AUTHORITY} else Keeps.NOTHING
