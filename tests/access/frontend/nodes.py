"""Nodes of a cluster in one process, with real links on loopback: backends of one pool, directory nodes, frontends.

All backends have the same store; who hosts an account is written in one place, as a pool's database does it.
"""

import asyncio
import dataclasses
import ipaddress
from typing import cast

from rookery.access.directory_service import DirectoryService
from rookery.access.frontend.imap import serve_imap_front
from rookery.access.frontend.inner import InnerDirectory, InnerWay
from rookery.access.frontend.linked import LinkedDirectory, LinkedHosts, link_to, peer
from rookery.access.frontend.login import Front, FrontSettings
from rookery.access.frontend.way import HandOver
from rookery.access.handoff import Enter, Handoff, HostHandoff
from rookery.access.imap.serve import enter_imap, serve_imap
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.base.members import Member, Role
from rookery.distribution.directory.values import AccountRecord
from rookery.distribution.placement.values import Elsewhere, Here, Location
from rookery.distribution.service.calls import Expect, Expected, Host, Moved, decode_answer, encode
from rookery.distribution.service.finding import Finder
from rookery.distribution.service.handles import Handles
from rookery.distribution.service.logins import Logins
from rookery.distribution.service.questions import Questions
from rookery.net.cluster.link import Link
from rookery.net.cluster.links import DialSettings, Links
from rookery.net.cluster.node import Node, Service
from rookery.net.cluster.port import PortSettings, open_port
from rookery.net.memory import memory_pipe
from rookery.net.stream import Peer
from rookery.net.wheel import Wheel
from tests.access.imap.support import DOMAIN, HERE, PASSWORD, Client, World
from tests.net.cluster.certificates import Authority, member_of

ALLOW = PortSettings(allow=[ipaddress.ip_network("127.0.0.0/8")])


class Cables(Links):
    """`cut`: the ports that cannot be reached from here."""

    cut: set[int]

    async def to(self, address: Peer) -> Link:
        if address.port in self.cut:
            raise RookeryError(Cause.UNAVAILABLE, "cut")
        return await super().to(address)


class Machine:
    """A node: its certificate, what it answers, its links."""

    def __init__(self, cluster: "Cluster", name: str, role: Role) -> None:
        self.cluster, self.name = cluster, name
        node, authority = Node("c1", name, "0.1", member_of), cluster.authority
        self.member = Member(name, frozenset({role}), b"", 0)
        self.questions = Questions()
        self.links = Cables(
            node,
            Service(),
            authority.context(name, role, server=False),
            wheel=cluster.wheel,
            settings=DialSettings(connect=20, pause=0, pause_most=0),
        )
        self.links.cut = set()
        self.handles = Handles(cluster.world.clock)
        self._node, self._role = node, role

    def listen(self, service: Service) -> None:
        context = self.cluster.authority.context(self.name, self._role, server=True)
        self.port = open_port(["127.0.0.1"], 0, self._node, service, context, wheel=self.cluster.wheel, settings=ALLOW)
        self.address = f"127.0.0.1:{self.port.ports[0]}"

    def cut_off(self, other: "Machine") -> None:
        """From now on this one does not reach that one."""
        self.links.cut.add(other.port.ports[0])
        link = next((link for link in self.links if link.peer.name == other.name), None)
        if link is not None:
            link.abort()

    async def die(self) -> None:
        await self.port.close()
        await self.links.close()


class Hosting(Machine):
    """A node with the directory, and, as a backend, accounts."""

    def __init__(self, cluster: "Cluster", name: str, role: Role) -> None:
        super().__init__(cluster, name, role)
        world = cluster.world
        enter: dict[str, Enter] = {}
        if role is Role.BACKEND:
            enter["imap"] = self._enter
        self.handoff = HostHandoff(self.handles, LinkedHosts(self.links), world.directory, self, enter, self._reached)
        self.finder = Finder(self._expect, world.clock)
        self.directory = DirectoryService(
            world.directory, world.services.authenticator, self.bring, self.handoff.passing, self.where,
            node=name, clock=world.clock, sleep=cluster.sleep,
        )  # fmt: skip
        self.imap = dataclasses.replace(
            world.services, hosts=self, hand_over=HandOver(LinkedHosts(self.links), self.directory.bring, name)
        )
        self.directory.take(self.questions)
        if role is Role.BACKEND:
            self.questions.take(Expect, self.handoff.expect, "expect")
        self.listen(Service(opened=self.handoff.opened, called=self.questions.called))

    def connect(self) -> Client:
        """As a client that knows nothing of frontends."""
        near, far = memory_pipe(client=HERE, server=Peer("127.0.0.1", 143))
        return Client(near, asyncio.create_task(serve_imap(far, self.imap)))

    @property
    def host(self) -> Host:
        return Host(self.name, self.address)

    # --- placement

    async def locate(self, account: AccountId) -> Location:
        found = self.cluster.hosting.setdefault(account, self.name)
        return Here(1) if found == self.name else Elsewhere(found, "", 0)

    def may_read(self) -> bool:
        return True

    async def fresh(self) -> None:
        return

    # --- logins

    async def bring(self, account: AccountRecord, expect: Expect) -> tuple[Host, bytes]:
        return await self.finder.find(expect, [backend.host for backend in self.cluster.backends.values()])

    async def where(self, account: AccountRecord, tried: str) -> Host:
        return self.host

    async def _expect(self, host: Host, expect: Expect) -> Expected | Moved:
        if host.backend == self.name:
            return await self.handoff.expect(self.member, expect)
        link = await link_to(self.links, peer(host.address), Role.BACKEND)
        return cast(Expected | Moved, decode_answer(await link.call(encode(expect), 20), Expected, Moved))

    async def _reached(self, account: AccountId, host: Elsewhere) -> Host:
        return self.cluster.backends[host.backend].host

    async def _enter(self, stream: object, record: AccountRecord, session: str, resume: bytes) -> None:
        self.cluster.entered.append((self.name, record.address))
        await enter_imap(stream, record, session, resume, shared=self.imap)  # type: ignore[arg-type]


class Frontend(Machine):
    """`beyond`: the nodes that it asks; frontends, or those that know more."""

    def __init__(self, cluster: "Cluster", name: str, beyond: list[Machine]) -> None:
        super().__init__(cluster, name, Role.FRONTEND)
        asked = (Role.FRONTEND,) if isinstance(beyond[0], Frontend) else ()
        self.linked = LinkedDirectory(self.links, [peer(node.address) for node in beyond], *asked)
        self.logins = Logins(self.linked.ask, cluster.world.clock)
        hosts = LinkedHosts(self.links, *asked)
        self.front = Front(self.logins, hosts, FrontSettings(scram=True))
        self.handoff = Handoff(self.handles, InnerWay(hosts, self.logins))
        self.inner = InnerDirectory(self.logins, self.handoff.passing, cluster.world.clock)
        self.inner.take(self.questions)
        self.listen(Service(opened=self.handoff.opened, called=self.questions.called))

    def connect(self) -> Client:
        near, far = memory_pipe(client=HERE, server=Peer("127.0.0.1", 143))
        return Client(near, asyncio.create_task(serve_imap_front(far, self.front)))

    async def login(self, name: str = "alice") -> Client:
        """Raises AssertionError when it is refused."""
        client = self.connect()
        await client.line()
        await client.ok(f'LOGIN {name}@{DOMAIN} "{PASSWORD}"')
        return client

    async def refused(self, name: str = "alice", password: str = PASSWORD) -> bytes:
        client = self.connect()
        await client.line()
        return (await client.command(f'LOGIN {name}@{DOMAIN} "{password}"'))[-1]


class Cluster:
    """`hosting`: which backend has an account; `entered`: the sessions that were served, (backend, account)."""

    def __init__(self, world: World, authority: Authority) -> None:
        self.world = world
        self.authority = authority
        self.wheel = Wheel(world.clock.monotonic)
        self.hosting: dict[AccountId, str] = {}
        self.entered: list[tuple[str, str]] = []
        self.backends: dict[str, Hosting] = {}
        self._machines: list[Machine] = []

    async def sleep(self, seconds: float) -> None:
        self.world.clock.advance(seconds)
        await asyncio.sleep(0)

    def backend(self, name: str) -> Hosting:
        made = self.backends[name] = Hosting(self, name, Role.BACKEND)
        self._machines.append(made)
        return made

    def directory(self, name: str) -> Hosting:
        made = Hosting(self, name, Role.DIRECTORY)
        self._machines.append(made)
        return made

    def frontend(self, name: str, *beyond: Machine) -> Frontend:
        made = Frontend(self, name, list(beyond))
        self._machines.append(made)
        return made

    async def close(self) -> None:
        for machine in self._machines:
            await machine.die()
