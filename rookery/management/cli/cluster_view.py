"""How `rookery cluster status` is read by people."""

from collections.abc import Container, Iterator

from rookery.management.cli.output import age, moment, table, write
from rookery.management.operations.cluster_status import ClusterStatus, ProcessLine


def show(found: ClusterStatus) -> None:
    write(f"cluster {found.cluster}, as {found.node} sees it")
    write()
    columns = ("node", "backend", "roles", "release", "certificate ends", "address", "last word", "clients", "sessions")
    linked = {link.node for one in found.nodes for link in one.links if link.up}
    table(columns, [_node(one, linked) for one in found.nodes], "No nodes.")
    backends = [one for one in found.nodes if one.pool]
    if backends:
        write()
        of_backends = ("pool", "backend", "state", "incarnation", "accounts open", "highest epoch")
        table(of_backends, [_backend(one) for one in sorted(backends, key=lambda one: (one.pool, one.backend))], "")
    write()
    pools = [(one.pool, one.kind, str(len(one.backends)), str(one.accounts), str(one.open)) for one in found.pools]
    table(("pool", "kind", "backends", "accounts", "open"), pools, "No pools.")
    links = list(_links(found))
    if links:
        write()
        table(("node", "linked to", "streams", "last word"), links, "")
    write()
    for line in _ends(found):
        write(line)


def _node(one: ProcessLine, linked: Container[str]) -> tuple[str, ...]:
    """A frontend before a frontend has a link, and nobody may ask it."""
    if one.answers:
        word = "now"
    elif not one.address and one.node in linked:
        word = "linked"
    else:
        word = "silent" if one.last_word is None else f"silent, {age(one.last_word)} ago"
    return (
        one.node,
        one.backend or "-",
        " ".join(one.roles),
        one.release or "-",
        moment(one.ends),
        one.address or "-",
        word,
        str(one.clients),
        str(one.sessions),
    )


def _backend(one: ProcessLine) -> tuple[str, ...]:
    state = "drained" if one.draining else "serves"
    return (one.pool, one.backend, state, str(one.incarnation or "-"), str(one.accounts), str(one.epoch or "-"))


def _links(found: ClusterStatus) -> Iterator[tuple[str, ...]]:
    for one in found.nodes:
        name = f"{one.node}/{one.backend}" if one.backend and one.backend != one.node else one.node
        for link in one.links:
            yield name, link.node, str(link.streams) if link.up else "no link", f"{age(link.last_word)} ago"


def _ends(found: ClusterStatus) -> Iterator[str]:
    newest = max((one.change for one in found.nodes), default=0)
    yield f"directory: {newest} changes"
    for one in found.nodes:
        behind = max(one.behind, newest - one.change) if one.change else 0
        if one.copy or behind:
            word = f", the primary answered {age(one.primary)} ago" if one.copy and one.primary >= 0 else ""
            yield f"directory of {one.backend or one.node}: {behind} changes behind{word}"
    streams = found.streams
    yield (
        f"streams between nodes: {streams.now} now, {streams.expected:g} expected for {streams.clients} clients"
        f" (frontends {streams.frontend:g}, static pools {streams.static:g}, dynamic pools {streams.dynamic:g})"
    )
