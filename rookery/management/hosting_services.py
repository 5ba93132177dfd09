"""What a node with mail serves at the cluster port: beside what every node with the directory answers, sessions for the
accounts that it hosts, and mail that frontends bring.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from rookery.access.frontend.linked import LinkedHosts, link_to, peer
from rookery.access.frontend.way import HandOver
from rookery.access.handoff import Enter, HostHandoff
from rookery.access.streams import MailStreams
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.base.members import Member, Role
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.members import Members
from rookery.distribution.directory.values import AccountRecord
from rookery.distribution.placement.rendezvous import ranked
from rookery.distribution.placement.values import Elsewhere
from rookery.distribution.service.calls import Expect, Expected, Host, Moved, Question, encode
from rookery.distribution.service.figures import Figures
from rookery.distribution.service.finding import Finder
from rookery.distribution.service.handles import Handles
from rookery.distribution.service.herd import Herd
from rookery.management.directory_services import DirectoryServices, after
from rookery.management.membership import Membership
from rookery.management.metrics import Gauge
from rookery.management.operations.cluster_status import ClusterStatus
from rookery.management.parts import Parts
from rookery.management.services import Services
from rookery.management.ways import giver
from rookery.net.cluster.link import Link
from rookery.net.cluster.node import Service
from rookery.net.cluster.stream import LinkStream
from rookery.wire.cluster.values import Preface

RECALLING = 0.5  # seconds for another backend to say whether it knows a password: less than many checks take


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
        self._directory = DirectoryServices(parts, membership, self._bring, self.handoff, self._where, self._figures)
        self._here = self._directory.here
        services.join(HandOver(LinkedHosts(membership.links), self._directory.bring, membership.member.name))
        self._finder = Finder(self._expect, parts.clock)
        self._mail = MailStreams({"smtp": services.enter_mx, "lmtp": self._enter_lmtp})
        self._services = services
        parts.ways.links = membership.links
        questions = self._directory.questions
        questions.take(Expect, self.handoff.expect, "expect")
        self._herd = Herd(parts.authenticator.remembered, self._others, self._ask, parts.clock)
        if parts.config.store.database:
            parts.authenticator.herd = self._herd
            self._herd.take(questions)
        self.service = Service(self._opened, questions.called, self._directory.hub.signalled)

    async def start(self, addresses: Sequence[str]) -> None:
        """Raises RookeryError(UNAVAILABLE)."""
        await self._directory.start(addresses, self.service)

    def _opened(self, link: Link, preface: Preface, stream: LinkStream) -> None:
        opened = self._mail.opened if preface.protocol in self._mail.enter else self._directory.opened
        opened(link, preface, stream)

    async def _enter_lmtp(self, stream: LinkStream, node: Member, preface: Preface) -> None:
        await self._services.enter_lmtp(stream, node, await self._giver(node), preface.resume)

    async def _giver(self, node: Member) -> str:
        said = [one for one in await self._members.presences() if one.name == node.name]
        pools = await self._parts.directory.find(lambda directory: directory.pools())
        return giver(node.name, said, pools, self._parts.directory.here)

    @property
    def sessions(self) -> int:
        """Under way, for frontends."""
        return len(self.handoff.sessions) + len(self._mail.sessions)

    async def drain(self, seconds: float) -> int:
        """Let every session finish its command; returns how many had to be ended."""
        return sum(await asyncio.gather(self.handoff.sessions.drain(seconds), self._mail.sessions.drain(seconds)))

    async def close(self) -> None:
        self._parts.authenticator.herd = None
        await self._herd.close()
        await self._directory.close()

    async def overview(self) -> ClusterStatus:
        return await self._directory.overview()

    async def _figures(self, figures: Figures) -> Figures:
        parts = self._parts
        here = parts.directory.here
        pools = await parts.directory.find(lambda directory: directory.pools())
        hosted = parts.placement.hosted()
        own = [one for one in await parts.placement.backends() if one.backend == parts.backend]
        return msgspec.structs.replace(
            figures,
            pool=next((pool.name for pool in pools if pool.id == here), parts.config.store.pool),
            dynamic=bool(parts.config.store.database),
            incarnation=own[0].incarnation if own else 0,
            draining=parts.placement.draining,
            accounts=len(hosted) if parts.config.store.database else parts.store.accounts_in_memory,
            epoch=max(hosted.values(), default=0),
        )

    async def gauges(self) -> list[Gauge]:
        return await self._directory.gauges()

    # --- hosts ---

    async def _bring(self, account: AccountRecord, expect: Expect) -> tuple[Host, bytes]:
        """The account's host, wherever it is, expects somebody; the first of its backends, if nobody hosts it."""
        if self._parts.hosts.here(account.account):
            return self._here, self.handoff.expected(expect).handle
        return await self._finder.find(expect, await self._backends(account))

    async def _where(self, account: AccountRecord, tried: str) -> Host:
        """The first of its backends, most likely the host; where that has refused, the one that hosts it by the word of
        the pool's database, or the next of another pool's, whose database is not asked here.
        """
        id = account.account
        if self._parts.hosts.here(id):
            return self._here
        order = ranked(id, await self._backends(account), lambda host: host.backend)
        if tried:
            found = await self._parts.hosts.locate(id)
            if not isinstance(found, Elsewhere):
                return self._here
            if not found.pool:
                named = (host for host in order if host.backend == found.backend)
                return next(named, None) or Host(found.backend, self._directory.port_at(found.address))
            order = after(tried, order)
        if not order:
            raise RookeryError(Cause.UNAVAILABLE, "no backend of the pool is known")
        return order[0]

    async def _backends(self, account: AccountRecord) -> list[Host]:
        """Those of its pool; of this node's own pool those that live."""
        pool, here = await self._parts.directory.find(
            lambda directory: (directory.pool_of(account), directory.elsewhere(account.account) is None)
        )
        told = self._directory.told(pool)
        return self._living(told) if here else told

    def _living(self, told: Sequence[Host]) -> list[Host]:
        """Those of this node's own pool."""
        known, port_at = {host.backend: host for host in told}, self._directory.port_at
        return [
            self._here if name == self._here.backend else known.get(name) or Host(name, port_at(address))
            for name, address in self._parts.placement.takers()
        ]

    async def _others(self, account: AccountId) -> list[Host]:
        """The other backends of this pool, the one with most claim to the account first."""

        def told(directory: Directory) -> list[Host]:
            pools = (pool for pool in directory.pools() if pool.id == directory.here)
            return [host for pool in pools for host in self._directory.told(pool)]

        living = self._living(await self._parts.directory.find(told))
        return [host for host in ranked(account, living, lambda host: host.backend) if host != self._here]

    async def _ask(self, host: Host, question: Question) -> bytes:
        try:
            async with asyncio.timeout(RECALLING):
                link = await link_to(self._membership.links, peer(host.address), Role.BACKEND)
                return await link.call(encode(question), RECALLING)
        except TimeoutError:
            raise RookeryError(Cause.UNAVAILABLE, f"{host.backend} does not answer") from None

    async def _reached(self, account: AccountId, host: Elsewhere) -> Host:
        """Of another pool, the first of its backends."""

        def told(directory: Directory) -> list[Host]:
            pools = (
                pool
                for pool in directory.pools()
                if (pool.name == host.pool if host.pool else pool.id == directory.here)
            )
            return [one for pool in pools for one in self._directory.told(pool) if host.backend in ("", one.backend)]

        hosts = await self._parts.directory.find(told)
        if not hosts:
            return Host(host.backend or host.pool, self._directory.port_at(host.address))
        return ranked(account, hosts, lambda host: host.backend)[0]

    async def _expect(self, host: Host, expect: Expect) -> Expected | Moved:
        if host == self._here:
            return await self.handoff.expect(self._membership.member, expect)
        return await self._directory.expect(host, expect)
