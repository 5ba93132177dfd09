"""What a node with the directory answers at the cluster port: questions about logins and addresses, who was revoked,
and where it is the authority, new nodes and renewals.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import msgspec

from rookery import __version__
from rookery.access.directory_service import DirectoryService
from rookery.access.frontend.linked import LinkedHosts, link_to, peer
from rookery.access.handoff import Handoff
from rookery.access.streams import MailStreams
from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member, Role
from rookery.distribution.cluster.messages import Issued
from rookery.distribution.cluster.registrar import Registrar
from rookery.distribution.directory.members import Members
from rookery.distribution.directory.source import Source
from rookery.distribution.directory.values import AccountRecord, Pool, Presence
from rookery.distribution.placement.rendezvous import ranked
from rookery.distribution.service import carry
from rookery.distribution.service.calls import (
    DIRECTORIES,
    AskDirectories,
    AskRevoked,
    Directories,
    Expect,
    Expected,
    Host,
    Moved,
    Renew,
    RevokedNodes,
    ToAuthority,
    decode_answer,
    encode,
)
from rookery.distribution.service.claims import Claims
from rookery.distribution.service.figures import Figures
from rookery.distribution.service.finding import Finder
from rookery.distribution.service.handles import Handles
from rookery.distribution.service.signals import Hub
from rookery.management.authority_duty import AuthorityDuty
from rookery.management.directory_parts import DirectoryParts
from rookery.management.keeping import at_port
from rookery.management.membership import Membership, files, told
from rookery.management.metrics import Gauge
from rookery.management.operations.cluster_status import ClusterStatus
from rookery.management.overview import Overview, Self
from rookery.management.parts import Parts
from rookery.management.pooling import cluster_port
from rookery.management.telling import tell_changes
from rookery.net.cluster.link import Link
from rookery.net.cluster.node import Service
from rookery.net.cluster.stream import LinkStream
from rookery.net.stream import Stream
from rookery.wire.cluster.values import Preface

ANNOUNCING = 5.0  # seconds for a host to say that it expects somebody

Bring = Callable[[AccountRecord, Expect], Awaitable[tuple[Host, bytes]]]
Where = Callable[[AccountRecord, str], Awaitable[Host]]


class DirectoryServices:
    """Of one process of a node that has joined. `here`: where this process is reached. `bring`: has the host of an
    account expect somebody; without it the backends of the account's pool are asked. `handoff`: of one that hosts
    accounts; others pass sessions on. `where`: which backend is to take deliveries; else one after the other. `more`:
    adds what only a node with mail knows of itself.
    """

    def __init__(
        self,
        parts: Parts | DirectoryParts,
        membership: Membership,
        bring: Bring | None = None,
        handoff: Handoff | None = None,
        where: Where | None = None,
        more: Callable[[Figures], Awaitable[Figures]] | None = None,
    ) -> None:
        self._more = more
        self._parts = parts
        self._membership = membership
        self._members = Members(parts.directory)
        self.handoff = handoff or Handoff(Handles(parts.clock), LinkedHosts(membership.links))
        self._directory = DirectoryService(
            parts.directory,
            parts.authenticator,
            bring or self._bring,
            self.handoff.passing,
            where or self._next,
            node=membership.member.name,
            clock=parts.clock,
        )
        self.bring = self._directory.bring
        self._finder = Finder(self.expect, parts.clock)
        authority = Role.AUTHORITY in membership.member.roles
        config = parts.config
        registrar = Registrar(parts.directory, files(parts.site))
        self._duty = AuthorityDuty(registrar, membership, config, parts.clock) if authority else None
        self.here = Host(parts.backend, cluster_port(config, parts.backend))
        assert parts.running is not None
        self._overview = Overview(
            Self(membership, parts.running, parts.clock, self._figures), membership, parts.directory
        )
        self._unwatch: Callable[[], None] = lambda: None
        self.questions = membership.questions
        self._telling: asyncio.Task[None] | None = None
        claims = Claims(parts.clock)
        self.hub = Hub(parts.clock, claims.take)
        parts.authenticator.count_elsewhere(claims.failed)
        self._asked = MailStreams({carry.PROTOCOL: carry.Carried(self.questions.answer).enter})
        self._replication = parts.replication
        self._directory.take(self.questions)
        self.questions.take(AskRevoked, self._revoked)
        self.questions.take(AskDirectories, self._directories)
        if self._duty is not None:
            self.questions.take(Renew, self._duty.renew)
            self.questions.take(ToAuthority, self._duty.passed_on, "to-authority")
        Source(parts.directory).take(self.questions)

    async def start(self, addresses: Sequence[str], service: Service | None = None) -> None:
        """Take links, and watch over members; where the authority is, take new nodes; keep the certificate young.

        `service`: what it serves beside questions. Raises RookeryError(UNAVAILABLE).
        """
        await self._membership.take((await self._members.standing()).revoked)
        if service is None:
            service = Service(self.opened, self.questions.called, self.hub.signalled)
        self._membership.listen(addresses, service)
        self._telling = asyncio.create_task(tell_changes(self._parts.directory, self.hub))
        self._membership.say(self._say_present)
        self._unwatch = self._parts.directory.watch(self._membership.follow(self._members.standing))
        config = self._parts.config
        backends = [name for name, _ in config.store.backends]
        if backends and backends[0] != self._parts.backend:
            self._membership.take_up()
            return
        self._membership.renew(self._renewed)
        if self._duty is not None:
            self._duty.start(addresses)

    def opened(self, link: Link, preface: Preface, stream: LinkStream) -> None:
        """Raises RookeryError: it is not taken."""
        taker = self._asked if preface.protocol in self._asked.enter else self.handoff
        taker.opened(link, preface, stream)

    async def close(self) -> None:
        self._unwatch()
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
        if self._duty is not None:
            await self._duty.close()

    async def serve(self, name: str, stream: Stream) -> None:
        """A node with no more than this opens no listeners for clients."""
        stream.close()

    def reload(self, config: Config) -> None:
        self._parts.take_up(config)

    async def overview(self) -> ClusterStatus:
        return await self._overview.status()

    async def _figures(self, figures: Figures) -> Figures:
        change = await self._parts.directory.find(lambda directory: directory.last_change())
        figures = msgspec.structs.replace(figures, backend=self.here.backend, change=change)
        if self._replication is not None and (lag := self._replication.lag) is not None:
            figures = msgspec.structs.replace(figures, copy=True, behind=lag[0], primary=lag[1])
        return figures if self._more is None else await self._more(figures)

    async def gauges(self) -> list[Gauge]:
        return [
            ("failed_logins", "Logins that were wrong, by the node through which they came.", self._directory.failed),
            *([] if self._replication is None else await self._replication.gauges()),
            ("cluster_listeners", "Nodes that hear of changes by signals.", {"": len(self.hub)}),
        ]

    # --- this node ---

    async def _renewed(self, request: bytes) -> Issued:
        if self._duty is not None:
            try:
                return await self._duty.renew_here(request)
            except RookeryError as error:
                if error.cause is not Cause.UNSUPPORTED:  # the key may be on another node that has the role
                    raise
        said = await self._where(Role.AUTHORITY)
        named = [str(one) for one in self._parts.config.cluster.directory if one is not None]
        return await self._membership.renewed(request, [*said, *named])

    async def _say_present(self) -> None:
        backends = [name for name, _ in self._parts.config.store.backends]
        said = Presence(self._membership.member.name, self.here.backend, self.here.address, __version__)
        await self._members.say_present(said, backends)

    # --- questions ---

    async def _revoked(self, caller: Member, question: AskRevoked) -> RevokedNodes:
        self._directory.charge(caller)
        return told(await self._members.standing(), question.known)

    async def _directories(self, caller: Member, question: AskDirectories) -> Directories:
        self._directory.charge(caller)
        return Directories((await self._where(Role.DIRECTORY))[:DIRECTORIES])

    async def _where(self, role: Role) -> list[str]:
        """The cluster ports of members with that role, as they have said."""
        having = {one.name for one in await self._members.members() if role in one.roles}
        return [one.address for one in await self._members.presences() if one.name in having]

    # --- hosts ---

    async def _bring(self, account: AccountRecord, expect: Expect) -> tuple[Host, bytes]:
        """Who hosts nothing knows the pool, and asks its backends."""
        pool = await self._parts.directory.find(lambda directory: directory.pool_of(account))
        return await self._finder.find(expect, self.told(pool))

    async def _next(self, account: AccountRecord, tried: str) -> Host:
        """The first backend of the account's pool, or the next after the one that has refused a delivery."""
        pool = await self._parts.directory.find(lambda directory: directory.pool_of(account))
        order = after(tried, ranked(account.account, self.told(pool), lambda host: host.backend))
        if not order:
            raise RookeryError(Cause.UNAVAILABLE, "no backend of the pool is known")
        return order[0]

    def told(self, pool: Pool | None) -> list[Host]:
        """The backends of a pool. One of the former release tells no cluster port: it is taken to be the same as
        ours."""
        backends = () if pool is None else pool.backends
        return [
            Host(one.backend, one.cluster or self.port_at(one.address))
            for one in backends
            if one.cluster or one.address
        ]

    def port_at(self, address: str) -> str:
        """The cluster port of the node that has a listener there."""
        return at_port(peer(address).address, self._membership.port_number)

    async def expect(self, host: Host, expect: Expect) -> Expected | Moved:
        """Asks another process."""
        link = await link_to(self._membership.links, peer(host.address), Role.BACKEND)
        answer = decode_answer(await link.call(encode(expect), ANNOUNCING), Expected, Moved)
        return cast(Expected | Moved, answer)


def after(tried: str, order: list[Host]) -> list[Host]:
    """The same, beginning behind the backend so called."""
    at = next((place for place, host in enumerate(order) if host.backend == tried), -1)
    return order[at + 1 :] + order[: at + 1]
