"""The cluster and its nodes: founding it, inviting and revoking nodes, who they are."""

from typing import TYPE_CHECKING

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Role
from rookery.distribution.cluster.registrar import Registrar
from rookery.distribution.directory.members import Members
from rookery.management.membership import files
from rookery.management.operations.registry import operation
from rookery.management.pooling import reached

if TYPE_CHECKING:
    from rookery.management.parts import Parts

EVERYTHING = frozenset(Role)


class Founded(msgspec.Struct, frozen=True):
    """cluster: its id. node: this one, its first member."""

    cluster: str
    node: str


class NodeView(msgspec.Struct, frozen=True):
    """ends: of its newest certificate, seconds UTC; 0: it has not joined yet."""

    name: str
    roles: list[str]
    revoked: bool
    ends: int


def role(text: str) -> Role:
    """Raises RookeryError(INVALID)."""
    try:
        return Role(text)
    except ValueError:
        known = ", ".join(one.value for one in Role)
        raise RookeryError(Cause.INVALID, f"the role {text[:80]!r}: expected one of {known}") from None


@operation("cluster.init")
async def init_cluster(parts: "Parts") -> Founded:
    """Make the cluster, with its authority and all roles on this node. Raises EXISTS."""
    registrar = Registrar(parts.directory, files(parts.site))
    cluster = await registrar.found()
    name = parts.config.site.hostname
    await registrar.enrol_here(name, EVERYTHING)
    return Founded(cluster, name)


@operation("node.add")
async def add_node(parts: "Parts", name: str, roles: list[str], addresses: list[str]) -> str:
    """A token with which a node of that name joins, once, within an hour. addresses: where this node's join port is
    reached from there; none: as other nodes reach this one. Raises EXISTS, INVALID, NOT_FOUND without a cluster.
    """
    listen = parts.config.listen
    registrar = Registrar(parts.directory, files(parts.site))
    given = addresses or [reached(parts.config, parts.backend, listen.join)]
    token = await registrar.invite(name, [role(text) for text in roles], given, listen.join + listen.port_offset)
    return token.text()


@operation("node.list")
async def list_nodes(parts: "Parts") -> list[NodeView]:
    """Members, revoked ones among them, and those that were invited."""
    members = Members(parts.directory)
    joined = [NodeView(one.name, sorted(one.words), bool(one.revoked), one.ends) for one in await members.members()]
    invited = [one for one in await members.invitations() if not one.used]
    return [*joined, *(NodeView(one.name, sorted(role.value for role in one.roles), False, 0) for one in invited)]


@operation("node.revoke")
async def revoke_node(parts: "Parts", name: str) -> None:
    """It is a member no more, on every node that can hear of it within a second. Raises NOT_FOUND."""
    await Members(parts.directory).revoke(name)
