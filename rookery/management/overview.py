"""The whole cluster as one of its nodes sees it: every process is asked how it is, and what each says of its links
tells of those that do not answer.

A node without a cluster port of its own, as a frontend, is asked over a link that it has dialled, by whoever took it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

from rookery import __version__
from rookery.access.frontend.linked import link_to, peer
from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member, Role
from rookery.distribution.auth.abuse import Budgets
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.members import Members
from rookery.distribution.directory.values import Presence
from rookery.distribution.service.calls import AskStatus, decode_answer, encode
from rookery.distribution.service.figures import LINKS_TOLD, Figures
from rookery.management.membership import Membership
from rookery.management.operations.cluster_status import ClusterStatus, Peering, PoolLine, ProcessLine, Streams
from rookery.management.parts import Running

ANSWER = 3.0  # seconds
AT_ONCE = 32  # questions under way
BURST, REFILL = 2_000, 0.01  # questions of one node at once, for it may ask for all frontends; seconds for one more
NODES = 1_000  # budgets kept
USERS = frozenset({"imap", "imaps", "submission", "submissions"})  # listeners

Key = tuple[str, str]  # node, backend


class Self:
    """This process, as it tells others. `more`: what only some kinds of nodes know."""

    def __init__(
        self,
        membership: Membership,
        running: Running,
        clock: Clock,
        more: Callable[[Figures], Awaitable[Figures]] | None = None,
    ) -> None:
        self._budgets: Budgets[str] = Budgets(clock, BURST, REFILL, NODES)
        self._membership = membership
        self._running = running
        self._more = more
        membership.questions.take(AskStatus, self._answer, "status")

    async def figures(self) -> Figures:
        member, connections = self._membership.member, self._running.connections()
        found = Figures(
            member.name,
            "",
            __version__,
            sorted(member.roles),
            member.ends,
            self._running.started,
            self._membership.peers()[:LINKS_TOLD],
            clients=sum(count for name, count in connections.items() if name in USERS),
            sessions=connections.get("frontends", 0),
        )
        return found if self._more is None else await self._more(found)

    async def _answer(self, caller: Member, question: AskStatus) -> Figures:
        if not self._budgets.room(caller.name):
            raise RookeryError(Cause.TOO_MANY, "this node asks too much")
        self._budgets.charge(caller.name)
        if not question.of or question.of == self._membership.member.name:
            return await self.figures()
        link = self._membership.link_from(question.of)
        if link is None:
            raise RookeryError(Cause.NOT_FOUND, "that node has no link with this one")
        return decode_answer(await link.call(encode(AskStatus()), ANSWER), Figures)


class Overview:
    """Of a node with the directory."""

    def __init__(self, own: Self, membership: Membership, directory: Directory) -> None:
        self._own = own
        self._membership = membership
        self._directory = directory
        self._members = Members(directory)

    async def status(self) -> ClusterStatus:
        """Raises RookeryError when the directory cannot be read."""
        members = {one.name: one for one in await self._members.members() if not one.revoked}
        presences = {(one.name, one.backend): one for one in await self._members.presences()}
        own = await self._own.figures()
        here = own.node, own.backend
        answers: dict[Key, Figures] = {here: own}
        room = asyncio.Semaphore(AT_ONCE)

        async def ask(key: Key, at: Presence | None, of: str = "") -> None:
            async with room:
                found = await self._asked(at, of)
            if found is not None:
                answers[key] = found

        await asyncio.gather(*(ask(key, at) for key, at in presences.items() if key != here))
        hidden = set(members) - {name for name, _ in (*presences, here)}
        ways = {link.node: key for key, found in answers.items() for link in found.links if link.up}
        reached = {name: ways[name] for name in hidden if ways.get(name) in (here, *presences)}
        await asyncio.gather(
            *(ask((name, ""), None if way == here else presences[way], name) for name, way in reached.items())
        )
        keys = sorted({*presences, *answers, *((name, "") for name in hidden)})
        nodes = [
            _line(key, members[key[0]].words, members[key[0]].ends, presences.get(key), answers)
            for key in keys
            if key[0] in members
        ]
        pools = await self._pools(nodes)
        return ClusterStatus(
            cluster=self._membership.contexts.state.cluster,
            node=own.node,
            nodes=nodes,
            pools=pools,
            streams=expected(nodes, pools),
        )

    async def _asked(self, at: Presence | None, of: str) -> Figures | None:
        """The process at that address, or by way of it the node `of`; at None: that has a link with this one. None: it
        does not answer."""
        try:
            async with asyncio.timeout(2 * ANSWER):
                if at is None:
                    link, of = self._membership.link_from(of), ""
                else:
                    link = await link_to(self._membership.links, peer(at.address), *Role)
                if link is None or (at is not None and link.peer.name != at.name):
                    return None
                return decode_answer(await link.call(encode(AskStatus(of)), ANSWER), Figures)
        except (RookeryError, TimeoutError):
            return None

    async def _pools(self, nodes: Iterable[ProcessLine]) -> list[PoolLine]:
        pools, counts = await self._directory.find(lambda directory: (directory.pools(), directory.accounts_of_pools()))
        return [
            PoolLine(
                pool.name,
                pool.kind.name.lower(),
                counts[pool.id],
                [one.backend for one in pool.backends],
                sum(one.accounts for one in nodes if one.pool == pool.name),
            )
            for pool in pools
        ]


def _line(key: Key, words: Iterable[str], ends: int, said: Presence | None, answers: dict[Key, Figures]) -> ProcessLine:
    node, backend = key
    heard = [one.heard for found in answers.values() for one in found.links if one.node == node]
    address = said.address if said is not None else ""
    found = answers.get(key)
    if found is None:
        release = said.release if said is not None else ""
        return ProcessLine(node, backend, sorted(words), release, ends, address, False, min(heard, default=None))
    return ProcessLine(
        node,
        backend,
        sorted(words),
        found.release,
        found.ends,
        address,
        True,
        0.0,
        started=int(found.started),
        clients=found.clients,
        sessions=found.sessions,
        change=found.change,
        pool=found.pool,
        incarnation=found.incarnation,
        draining=found.draining,
        accounts=found.accounts,
        epoch=found.epoch,
        copy=found.copy,
        behind=found.behind,
        primary=round(found.primary, 1),
        links=[Peering(one.node, one.up, one.streams, round(one.heard, 1)) for one in found.links],
    )


# --- streams ----------------------------------------------------------------------------------------------------------


def expected(nodes: Iterable[ProcessLine], pools: Iterable[PoolLine]) -> Streams:
    """How many streams there are between nodes, and how many there should be: M for M clients of nodes without mail;
    of N static nodes whose clients come to any of them M(N-1)/N; of a dynamic pool M(N-1)/N x A/T, with A accounts open
    on each and T in all."""
    nodes = list(nodes)
    kinds = {one.pool: one for one in pools}
    backends = [one for one in nodes if one.pool in kinds]  # what a node says of itself may be wrong
    by_pool: dict[str, list[ProcessLine]] = defaultdict(list)
    for one in backends:
        by_pool[one.pool].append(one)
    alone = [one for name, some in by_pool.items() if kinds[name].kind == "static" for one in some]
    frontend = sum(one.clients for one in nodes if not one.pool)
    dynamic = 0.0
    for name, some in by_pool.items():
        if kinds[name].kind == "dynamic" and kinds[name].accounts:
            each = kinds[name].open / len(some)
            dynamic += _elsewhere(some) * min(1.0, each / kinds[name].accounts)
    static = _elsewhere(alone)
    return Streams(
        now=between(nodes),
        expected=round(frontend + static + dynamic, 1),
        clients=sum(one.clients for one in nodes),
        frontend=frontend,
        static=round(static, 1),
        dynamic=round(dynamic, 1),
    )


def _elsewhere(nodes: Iterable[ProcessLine]) -> float:
    """Of clients that come to any of them, those whose account is with another."""
    counts = [one.clients for one in nodes]
    return sum(counts) * (len(counts) - 1) / len(counts) if counts else 0.0


def between(nodes: Iterable[ProcessLine]) -> int:
    """Streams are told of by both ends; of two that differ the higher count is taken, for one end may be silent."""
    told: dict[Key, int] = defaultdict(int)
    for one in nodes:
        for link in one.links:
            told[one.node, link.node] += link.streams
    pairs = {tuple(sorted(pair)) for pair in told}
    within = sum(told[name, name] for name, other in pairs if name == other)
    return within // 2 + sum(max(told[a, b], told[b, a]) for a, b in pairs if a != b)
