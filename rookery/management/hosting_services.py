"""What a node with a directory and accounts answers at the cluster port: questions about logins and addresses, sessions
for the accounts it hosts, and where it is the authority, renewals.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from rookery import __version__
from rookery.access.directory_service import DirectoryService
from rookery.access.frontend.linked import LinkedHosts, link_to, peer
from rookery.access.handoff import Enter, HostHandoff
from rookery.access.streams import MailStreams
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.base.log import logger
from rookery.base.members import Member, Role
from rookery.distribution.auth.abuse import Budgets
from rookery.distribution.cluster import messages
from rookery.distribution.cluster.messages import Issued
from rookery.distribution.cluster.registrar import Registrar
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.members import Members
from rookery.distribution.directory.values import AccountRecord, Pool, PoolKind, Presence
from rookery.distribution.placement.rendezvous import ranked
from rookery.distribution.placement.values import Elsewhere
from rookery.distribution.service.calls import (
    AskRevoked,
    Expect,
    Expected,
    Host,
    Moved,
    Renew,
    Renewed,
    RevokedNodes,
    decode_answer,
    encode,
)
from rookery.distribution.service.finding import Finder
from rookery.distribution.service.handles import Handles
from rookery.distribution.service.questions import Questions
from rookery.management.desk import Desk
from rookery.management.keeping import at_port
from rookery.management.membership import Membership, files
from rookery.management.metrics import Gauge
from rookery.management.parts import Parts
from rookery.management.pooling import reached
from rookery.management.services import Services
from rookery.net.cluster.link import Link
from rookery.net.cluster.node import Service
from rookery.net.cluster.stream import LinkStream
from rookery.wire.cluster.values import Preface

ANNOUNCING = 5.0  # seconds for a host to say that it expects somebody
RENEWALS, RENEWAL_AGAIN = 10, 3_600.0  # certificates of one node at once; seconds for one more
RENEWING_NODES = 10_000

log = logger("cluster")


class HostingServices:
    """Of one process of a node that has joined."""

    def __init__(self, parts: Parts, services: Services, membership: Membership) -> None:
        self._parts = parts
        self._membership = membership
        self._members = Members(parts.directory)
        enter: dict[str, Enter] = {"imap": services.enter_imap, "submission": services.enter_submission}
        self.handoff = HostHandoff(
            Handles(parts.clock), LinkedHosts(membership.links), parts.directory, parts.hosts, enter, self._reached
        )
        self._directory = DirectoryService(
            parts.directory, parts.authenticator, self._bring,
            self.handoff.passing, node=membership.member.name,
            clock=parts.clock,
        )  # fmt: skip
        self._finder = Finder(self._expect, parts.clock)
        self._mail = MailStreams({"smtp": services.enter_mx, "lmtp": self._enter_lmtp})
        self._services = services
        parts.ways.links = membership.links
        authority = Role.AUTHORITY in membership.member.roles
        self._registrar = Registrar(parts.directory, files(parts.site)) if authority else None
        self._renewals: Budgets[str] = Budgets(parts.clock, RENEWALS, RENEWAL_AGAIN, RENEWING_NODES)
        config = parts.config
        self._here = Host(parts.backend, reached(config, parts.backend, config.listen.cluster))
        self._desk: Desk | None = None
        self._unwatch: Callable[[], None] = lambda: None
        questions = Questions()
        self._directory.take(questions)
        questions.take(Expect, self.handoff.expect, "expect")
        questions.take(AskRevoked, self._revoked)
        questions.take(Renew, self._renew)
        self.service = Service(opened=self._opened, called=questions.called)

    async def start(self, addresses: Sequence[str]) -> None:
        """Take links, and watch over members; where the authority is, take new nodes, and keep the certificate young.

        Raises RookeryError(UNAVAILABLE).
        """
        await self._membership.take(await self._members.revoked())
        self._membership.listen(addresses, self.service)
        self._membership.say(self._say_present)
        self._unwatch = self._parts.directory.watch(self._membership.follow(self._members.revoked))
        config = self._parts.config
        backends = [name for name, _ in config.store.backends]
        if backends and backends[0] != self._parts.backend:
            self._membership.take_up()
            return
        if self._registrar is None:
            self._membership.renew(self._renewed_there)
            return
        self._membership.renew(self._renewed_here)
        self._desk = Desk(self._membership.contexts.desk, config.cluster.allow, self._registrar.answer)
        try:
            self._desk.start(addresses, config.listen.join + config.listen.port_offset)
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"listen.join: {error.strerror or error}") from error

    def _opened(self, link: Link, preface: Preface, stream: LinkStream) -> None:
        taker = self._mail if preface.protocol in self._mail.enter else self.handoff
        taker.opened(link, preface, stream)

    async def _enter_lmtp(self, stream: LinkStream, node: Member, preface: Preface) -> None:
        await self._services.enter_lmtp(stream, node, await self._giver(node))

    async def _giver(self, node: Member) -> str:
        """Whose delivery ids a node gives: "" for a backend of this pool, whose queue is ours too. The backends of
        another pool take over from each other, so that those are the pool's; else they are the node's own.
        """
        said = {(one.backend, one.address) for one in await self._members.presences() if one.name == node.name}
        for pool in await self._parts.directory.find(lambda directory: directory.pools()):
            if pool.kind is PoolKind.DYNAMIC and said & {(one.backend, one.cluster) for one in pool.backends}:
                return "" if pool.id == self._parts.directory.here else f"+{pool.name}"
        return node.name

    @property
    def sessions(self) -> int:
        """Under way, for frontends."""
        return len(self.handoff.sessions) + len(self._mail.sessions)

    async def drain(self, seconds: float) -> int:
        """Let every session finish its command; returns how many had to be ended."""
        return sum(await asyncio.gather(self.handoff.sessions.drain(seconds), self._mail.sessions.drain(seconds)))

    async def close(self) -> None:
        self._unwatch()
        if self._desk is not None:
            await self._desk.close()

    async def gauges(self) -> list[Gauge]:
        return [
            ("failed_logins", "Logins that were wrong, by the node through which they came.", self._directory.failed)
        ]

    async def _renewed_here(self, request: bytes) -> Issued:
        assert self._registrar is not None
        return await self._registrar.renew(self._membership.member, request)

    async def _renewed_there(self, request: bytes) -> Issued:
        members = {one.name for one in await self._members.members() if Role.AUTHORITY in one.roles}
        said = [one.address for one in await self._members.presences() if one.name in members]
        named = [str(one) for one in self._parts.config.cluster.directory if one is not None]
        return await self._membership.renewed(request, [*said, *named])

    async def _say_present(self) -> None:
        backends = [name for name, _ in self._parts.config.store.backends]
        said = Presence(self._membership.member.name, self._here.backend, self._here.address, __version__)
        await self._members.say_present(said, backends)

    # --- questions ---

    async def _revoked(self, caller: Member, question: AskRevoked) -> RevokedNodes:
        self._directory.charge(caller)
        found = await self._members.revoked()
        if found.number == question.known:
            return RevokedNodes(found.number)
        return RevokedNodes(found.number, sorted(found.names), sorted(found.serials))

    async def _renew(self, caller: Member, question: Renew) -> Renewed:
        if self._registrar is None:
            raise RookeryError(Cause.UNAVAILABLE, "the cluster's authority is on another node")
        if not self._renewals.room(caller.name):
            raise RookeryError(Cause.TOO_MANY, "this node was given many certificates lately")
        self._renewals.charge(caller.name)
        return Renewed(messages.encode(await self._registrar.renew(caller, question.request)))

    # --- hosts ---

    async def _bring(self, account: AccountRecord, expect: Expect) -> tuple[Host, bytes]:
        """The account's host, wherever it is, expects somebody; the first of its backends, if nobody hosts it."""
        if self._parts.hosts.here(account.account):
            return self._here, self.handoff.expected(expect).handle
        return await self._finder.find(expect, await self._backends(account))

    async def _backends(self, account: AccountRecord) -> list[Host]:
        """Those of its pool; of this node's own pool those that live."""
        pool, here = await self._parts.directory.find(
            lambda directory: (directory.pool_of(account), directory.elsewhere(account.account) is None)
        )
        told = self._told(pool)
        if not here:
            return told
        known = {host.backend: host for host in told}
        return [
            self._here if name == self._here.backend else known.get(name) or Host(name, self._port_at(address))
            for name, address in self._parts.placement.takers()
        ]

    def _told(self, pool: Pool | None) -> list[Host]:
        """One of the former release tells no cluster port: it is taken to be the same as ours."""
        backends = () if pool is None else pool.backends
        return [
            Host(one.backend, one.cluster or self._port_at(one.address))
            for one in backends
            if one.cluster or one.address
        ]

    async def _reached(self, account: AccountId, host: Elsewhere) -> Host:
        """Of another pool, the first of its backends."""

        def told(directory: Directory) -> list[Host]:
            pools = (
                pool
                for pool in directory.pools()
                if (pool.name == host.pool if host.pool else pool.id == directory.here)
            )
            return [one for pool in pools for one in self._told(pool) if host.backend in ("", one.backend)]

        hosts = await self._parts.directory.find(told)
        if not hosts:
            return Host(host.backend or host.pool, self._port_at(host.address))
        return ranked(account, hosts, lambda host: host.backend)[0]

    def _port_at(self, address: str) -> str:
        """The cluster port of the node that has a listener there."""
        return at_port(peer(address).address, self._membership.port_number)

    async def _expect(self, host: Host, expect: Expect) -> Expected | Moved:
        if host == self._here:
            return await self.handoff.expect(self._membership.member, expect)
        link = await link_to(self._membership.links, peer(host.address), Role.BACKEND)
        answer = decode_answer(await link.call(encode(expect), ANNOUNCING), Expected, Moved)
        return cast(Expected | Moved, answer)
