"""Who is at the other end of a link, as its certificate says, and what its roles let it ask of us."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from rookery.base.members import Role

Permissions = Mapping[str, frozenset[Role]]

# What passes on what clients say: frontends, and nodes that a client reached, or a frontend, and the host did not.
_BRINGING = frozenset({Role.FRONTEND, Role.BACKEND, Role.DIRECTORY})

# Which roles may open a stream of that protocol or make that call. A frontend relays for clients, so that it may open
# whatever a client speaks, and ask about one client at a time; it may not hand mail in, nor follow the directory. What
# has the role mx-in, alone or beside that of a frontend, hands in what anybody could at an MX: mail for addresses that
# exist here. It asks for one address at a time, as anybody can by RCPT, and no faster than its budget allows.
PERMISSIONS: Permissions = MappingProxyType(
    {
        # streams
        "imap": _BRINGING,
        "pop3": _BRINGING,
        "managesieve": _BRINGING,
        "submission": _BRINGING,
        "http": _BRINGING,
        "lmtp": frozenset({Role.BACKEND, Role.MX_IN}),  # into mailboxes; of an mx-in without delivery ids
        "smtp": frozenset({Role.BACKEND, Role.MX_IN}),  # into a queue, for addresses here
        "ask": frozenset({Role.BACKEND, Role.DIRECTORY, Role.AUTHORITY, Role.ADMIN}),  # what is too long for a call
        # calls
        "authenticate": frozenset({Role.FRONTEND, Role.BACKEND}),
        "recipient": frozenset({Role.BACKEND, Role.MX_IN}),
        "follow": frozenset({Role.BACKEND, Role.DIRECTORY, Role.AUTHORITY, Role.ADMIN}),  # a copy of the directory
        "act": frozenset({Role.BACKEND, Role.DIRECTORY, Role.AUTHORITY, Role.ADMIN}),  # what the primary is to do
        "act-members": frozenset({Role.DIRECTORY, Role.AUTHORITY, Role.ADMIN}),  # the same, on who belongs here
        "act-authority": frozenset({Role.AUTHORITY}),
        "status": frozenset({Role.BACKEND, Role.DIRECTORY, Role.ADMIN, Role.AUTHORITY}),
        "checks": frozenset({Role.BACKEND}),  # which passwords were right
        "to-authority": frozenset({Role.FRONTEND}),  # for one that reaches nobody else
        "expect": frozenset({Role.BACKEND, Role.DIRECTORY}),  # a login that was proved elsewhere
    }
)


def permits(roles: Iterable[Role], what: str, permissions: Permissions = PERMISSIONS) -> bool:
    """Whether one of `roles` may open a stream of that protocol or make that call. What is not listed nobody may."""
    return not permissions.get(what, frozenset()).isdisjoint(roles)
