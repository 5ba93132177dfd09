"""The nodes of a cluster to try, each on loopback addresses of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rookery.base.members import Keeps, Role

DOMAIN, HOSTNAME = "example.test", "mail.example.test"
POOL = "pool"  # the dynamic pool, and the site of its backends
BACKENDS = {"b1": "127.0.0.11", "b2": "127.0.0.12", "b3": "127.0.0.13"}

_DIRECTORY, _FRONTEND = frozenset({Role.DIRECTORY}), frozenset({Role.FRONTEND})
_MAIL, _EXCHANGER = frozenset({Role.BACKEND, Role.DIRECTORY}), frozenset({Role.MX_IN})


@dataclass(frozen=True, slots=True)
class Planned:
    """One node: a folder of the trial's, and its name as a member. `users`: local parts of accounts in its pool."""

    name: str
    address: str
    roles: frozenset[Role]
    keeps: Keeps
    users: Sequence[str] = ()

    @property
    def hostname(self) -> str:
        return f"{self.name}.{DOMAIN}"


@dataclass(frozen=True, slots=True)
class Layout:
    """`first` has the cluster's authority and all roles; `others` join it. `backends`: of the first, by name; none: one
    process. `shared`: the directory is on PostgreSQL, which all but frontends and mail exchangers use.
    """

    first: Planned
    others: Sequence[Planned]
    shared: bool
    backends: Mapping[str, str] = field(default_factory=dict)

    @property
    def nodes(self) -> Sequence[Planned]:
        return (self.first, *self.others)

    @property
    def pools(self) -> Sequence[Planned]:
        return [node for node in self.nodes if node.users]

    @property
    def exchanger(self) -> Planned:
        """Where mail from other servers comes in."""
        return next(node for node in self.nodes if node.roles == _EXCHANGER)

    @property
    def frontends(self) -> Sequence[Planned]:
        return [node for node in self.nodes if node.roles == _FRONTEND]


_OUTER = (
    Planned("d1", "127.0.0.31", _DIRECTORY, Keeps.DIRECTORY),
    Planned("d2", "127.0.0.32", _DIRECTORY, Keeps.DIRECTORY),
    Planned("f1", "127.0.0.41", _FRONTEND, Keeps.NOTHING),
    Planned("f2", "127.0.0.42", _FRONTEND, Keeps.NOTHING),
    Planned("mx", "127.0.0.51", _EXCHANGER, Keeps.NOTHING),
)
DYNAMIC = Layout(
    Planned(POOL, BACKENDS["b1"], frozenset(Role), Keeps.MAIL, ("alice", "bob", "carol")),
    (
        Planned("s1", "127.0.0.21", _MAIL, Keeps.MAIL, ("dora",)),
        Planned("s2", "127.0.0.22", _MAIL, Keeps.MAIL, ("erin",)),
        *_OUTER,
    ),
    shared=True,
    backends=BACKENDS,
)
STATIC = Layout(
    Planned("s1", "127.0.0.21", frozenset(Role), Keeps.MAIL, ("alice", "dora")),
    (
        Planned("s2", "127.0.0.22", _MAIL, Keeps.MAIL, ("bob", "erin")),
        *_OUTER,
    ),
    shared=False,
)
ONE_OF_OTHERS = {node.name for layout in (DYNAMIC, STATIC) for node in layout.nodes} | {"archive"}  # of release 0.1
