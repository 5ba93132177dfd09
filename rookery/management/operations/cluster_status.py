"""The cluster as it is now: every process of every node, pools, and the streams between nodes."""

from typing import TYPE_CHECKING

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.management.operations.registry import operation

if TYPE_CHECKING:
    from rookery.management.parts import Parts


class Peering(msgspec.Struct, frozen=True):
    """up: it has a link with that node now, streams: on all such; last_word: how many seconds ago."""

    node: str
    up: bool
    streams: int
    last_word: float


class ProcessLine(msgspec.Struct, frozen=True):
    """One process of a node; backend: "" where it serves no pool. answers: else nothing below last_word is known.

    ends: of the certificate, started: both seconds UTC. address: of the cluster port, "" where it has none.
    last_word: seconds since any node has heard of the node, None: none that answers has. clients: connections of
    users. sessions: those that other nodes brought. change: the last of the directory that it has seen, 0 where it has
    no directory. incarnation, epoch (the highest): of a backend of a dynamic pool. accounts: open there.
    copy: of the directory, so many changes behind as it knows; primary: seconds since that answered it, -1: never.
    """

    node: str
    backend: str
    roles: list[str]
    release: str
    ends: int
    address: str
    answers: bool
    last_word: float | None
    started: int = 0
    clients: int = 0
    sessions: int = 0
    change: int = 0
    pool: str = ""
    incarnation: int = 0
    draining: bool = False
    accounts: int = 0
    epoch: int = 0
    copy: bool = False
    behind: int = 0
    primary: float = 0.0
    links: list[Peering] = []


class PoolLine(msgspec.Struct, frozen=True):
    """accounts: in all; open: on the backends that answer."""

    pool: str
    kind: str
    accounts: int
    backends: list[str]
    open: int


class Streams(msgspec.Struct, frozen=True):
    """Between nodes: now, and as many as should be for so many clients: of nodes without mail (frontend), of static
    pools and of dynamic ones whose clients come to any backend."""

    now: int
    expected: float
    clients: int
    frontend: float
    static: float
    dynamic: float


class ClusterStatus(msgspec.Struct, frozen=True):
    """cluster: its id. node: who was asked."""

    cluster: str
    node: str
    nodes: list[ProcessLine]
    pools: list[PoolLine]
    streams: Streams


@operation("cluster.status", running=True)
async def cluster_status(parts: "Parts") -> ClusterStatus:
    """Every node is asked; those that do not answer within some seconds are silent. Raises NOT_FOUND without a
    cluster."""
    if parts.running is None:
        raise RookeryError(Cause.UNAVAILABLE, "the node does not run")
    return await parts.running.overview()
