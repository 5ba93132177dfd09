"""This node in its cluster: its certificate and the links that it takes and dials; who is no member any more.

A node is a member when its folder `cluster` says so (`rookery cluster init`, `rookery node join`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

import msgspec

from rookery import __version__
from rookery.access.frontend.linked import link_to, peer
from rookery.base.clock import Clock
from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import Level, logger
from rookery.base.members import Keeps, Member, Role, keeps, roles_text
from rookery.base.outage import Outage
from rookery.distribution.cluster.admission import Admission
from rookery.distribution.cluster.certificates import member_of
from rookery.distribution.cluster.contexts import Contexts
from rookery.distribution.cluster.files import ClusterFiles
from rookery.distribution.cluster.joining import come_back, come_back_through
from rookery.distribution.cluster.messages import Issued, read_answer
from rookery.distribution.cluster.renewing import LOOK, Renewing
from rookery.distribution.directory.reads_members import fingerprint
from rookery.distribution.directory.values import Revoked, Standing
from rookery.distribution.service.calls import Renew, Renewed, RevokedNodes, ToAuthority, decode_answer, encode
from rookery.distribution.service.figures import LinkFigures
from rookery.distribution.service.questions import Questions
from rookery.management.desk import ask as ask_at_desk
from rookery.management.metrics import Gauge
from rookery.management.operations.status import MemberFigures
from rookery.management.site import Site
from rookery.net.cluster.link import Link
from rookery.net.cluster.links import DialSettings, Links
from rookery.net.cluster.node import Node, Service, no_signals
from rookery.net.cluster.port import ClusterPort, PortSettings, open_port
from rookery.net.wheel import shared_wheel

LOOK_EVERY = 0.5  # seconds between two looks for who was revoked
LEARN_EVERY = 60.0  # seconds between two looks for directory nodes
RENEWING = 20.0  # seconds for the authority to answer
SAY_AGAIN = 5.0  # seconds until the directory is told again what it did not hear
AUTHORITY_DAYS = 14  # in which an authority that ends is warned of
AWAY = 5.0  # seconds without an answer to that after which nobody counts as there

log = logger("cluster")


def files(site: Site) -> ClusterFiles:
    return ClusterFiles(site.folder / "cluster")


def often() -> float:
    return LOOK_EVERY


def roles(site: Site) -> frozenset[Role]:
    """As its certificate says; none where it has none. Raises RookeryError."""
    state = files(site).state()
    return frozenset() if state is None else state.member.roles


def is_outpost(site: Site) -> bool:
    """Whether its certificate says that it keeps neither mail nor accounts. Raises RookeryError."""
    own = roles(site)
    return bool(own) and not own & {Role.BACKEND, Role.DIRECTORY, Role.AUTHORITY}


def has_directory_only(site: Site) -> bool:
    """Whether its certificate says that it keeps accounts and no mail. Raises RookeryError."""
    return keeps(roles(site)) is Keeps.DIRECTORY


def is_perimeter(site: Site) -> bool:
    """Whether its certificate says that it takes mail, and has neither accounts nor users' clients. Raises
    RookeryError."""
    own = roles(site)
    return is_outpost(site) and Role.MX_IN in own and Role.FRONTEND not in own


class Membership:
    """Of a node that has joined; raises RookeryError NOT_FOUND when it has not, CORRUPT."""

    def __init__(self, site: Site, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._files = files(site)
        self.contexts = Contexts(self._files)
        self._admission = Admission(self._files.revoked())
        self._tasks: list[asyncio.Task[None]] = []
        self.signalled = no_signals  # called with what comes by links that we dialled
        self._port: ClusterPort | None = None
        self._renewing: Renewing | None = None
        self._heard = clock.monotonic()
        cluster = self.contexts.state.cluster
        self._node = Node(cluster, self.member.name, __version__, self._member_of, self._admits)
        self.questions = Questions()  # whoever dialled may be asked too
        self.links = Links(
            self._node,
            Service(called=self.questions.called, signalled=lambda link, signal: self.signalled(link, signal)),
            self.contexts.client,
            wheel=shared_wheel(),
            settings=DialSettings(size=config.cluster.links, local=config.cluster.local),
        )

    def _member_of(self, certificate: bytes) -> Member:
        """Raises RookeryError(DENIED)."""
        now = self._clock.wall()
        if now >= self.contexts.state.trust_ends:
            raise RookeryError(Cause.DENIED, "the cluster's authority has ended")
        return member_of(certificate, self.contexts.state.cluster, now)

    def _admits(self, member: Member) -> bool:
        """Asked now and then of those too that are connected: certificates end."""
        return self._admission.admits(member) and self._clock.wall() < member.ends

    @property
    def member(self) -> Member:
        """This node, as its certificate says."""
        return self.contexts.state.member

    # --- as an administrator sees it ---

    @property
    def heard(self) -> float:
        """Seconds since it was told last who is a member no more."""
        return self._clock.monotonic() - self._heard

    def figures(self) -> MemberFigures:
        member, port = self.member, self._port
        return MemberFigures(
            member.name,
            sorted(member.roles),
            member.ends,
            len(self.links) + (0 if port is None else len(port)),
            self.links.streams + (0 if port is None else port.streams),
            self.heard,
        )

    def peers(self) -> list[LinkFigures]:
        """With whom it has links, and whom it has heard of before."""
        now = shared_wheel().now()
        found = {name: LinkFigures(name, False, 0, now - heard) for name, heard in self._node.heard.items()}
        for link in [*self.links, *(self._port or ())]:
            known = found.get(link.peer.name)
            streams, heard = link.streams, float(link.silent)
            if known is not None:
                streams, heard = streams + known.streams, min(heard, known.heard)
            found[link.peer.name] = LinkFigures(link.peer.name, True, streams, heard)
        return sorted(found.values(), key=lambda one: (not one.up, one.heard))

    def link_from(self, name: str) -> Link | None:
        """One that the node has dialled, if there is one."""
        return None if self._port is None else self._port.named(name)

    def problems(self) -> list[str]:
        """Why other nodes do not take it for one of theirs, in plain words."""
        return [f"its certificate in the cluster has ended{self._why()}"] if self._left() <= 0 else []

    def warnings(self) -> list[str]:
        """Why they may not do so soon."""
        found, left = [], self._left()
        if left > 0 and self._renewing is not None and self._renewing.problem:
            found.append(f"its certificate in the cluster ends in {left / 3600:.1f} h{self._why()}")
        days = (self.contexts.state.trust_ends - self._clock.wall()) / 86_400
        if days < AUTHORITY_DAYS:
            found.append(f"the cluster's authority ends in {max(0, int(days))} days: change it, `rookery cluster roll`")
        return found

    def _left(self) -> float:
        return self.member.ends - self._clock.wall()

    def _why(self) -> str:
        failed = self._renewing.problem if self._renewing is not None else None
        return f", and it gets no other: {failed.what or failed.cause.value}" if failed else ""

    async def gauges(self) -> list[Gauge]:
        port, revoked = self._port, self.revoked
        links = {"dialled": len(self.links), "taken": 0 if port is None else len(port)}
        streams = {"dialled": self.links.streams, "taken": 0 if port is None else port.streams}
        return [
            ("cluster_links", "Connections with other nodes, by who made them.", dict(links)),
            ("cluster_streams", "Streams on them.", dict(streams)),
            ("cluster_certificate_end_seconds", "When the node's certificate ends, UTC.", {"": self.member.ends}),
            ("cluster_authority_end_seconds", "When its authority's ends.", {"": self.contexts.state.trust_ends}),
            ("cluster_revoked", "Certificates that were revoked.", {"": len(revoked.serials)}),
            ("cluster_revoked_age_seconds", "Since the list of those was last confirmed.", {"": self.heard}),
        ]

    @property
    def port_number(self) -> int:
        return self._config.listen.cluster + self._config.listen.port_offset

    def listen(self, addresses: Sequence[str], service: Service) -> None:
        """Take links. Raises RookeryError(UNAVAILABLE) when the port cannot be had."""
        settings = PortSettings(allow=self._config.cluster.allow, links=self._config.cluster.links)
        try:
            self._port = open_port(
                addresses, self.port_number, self._node, service, self.contexts.server, wheel=shared_wheel(),
                settings=settings,
            )  # fmt: skip
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"listen.cluster: {error.strerror or error}") from error
        log.info("listening", node=self.member.name, roles=roles_text(self.member.roles), port=self.port_number)

    def goodbye(self) -> None:
        """Take nothing new: others ask the next node."""
        if self._port is not None:
            self._port.goodbye("the node is stopping")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._port is not None:
            await self._port.close()
        await self.links.close()

    # --- who is no member any more ---

    async def take(self, revoked: Revoked) -> None:
        """Their links end now, and they are not let in after a restart either, whoever can be asked then."""
        before = self.revoked
        if self._admission.take(revoked):
            log.warning("revoked", nodes=sorted(revoked.names))
            self.links.sweep()
            if self._port is not None:
                self._port.sweep()
        now = self.revoked
        if (now.names, now.serials) != (before.names, before.serials):
            try:
                await asyncio.to_thread(self._files.write_revoked, now)
            except RookeryError as error:
                log.refused("revoked-not-kept", error.refusal)

    @property
    def revoked(self) -> Revoked:
        """As far as this node knows."""
        return self._admission.revoked

    @property
    def standing(self) -> Standing:
        """As far as this node knows, and is what it can show for it."""
        return Standing(self.revoked, fingerprint(self.contexts.state.bundle.roots))

    def follow(self, look: Callable[[], Awaitable[Standing]], every: Callable[[], float] = often) -> Callable[[], None]:
        """Look again and again, each `every()` seconds, sooner after a failure, and at once when what this returns is
        called; while nobody can be asked the last list holds.
        """
        woken = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._follow(look, woken, every)))
        return woken.set

    async def _follow(
        self, look: Callable[[], Awaitable[Standing]], woken: asyncio.Event, every: Callable[[], float]
    ) -> None:
        while True:
            woken.clear()
            pause = LOOK_EVERY
            try:
                standing = await look()
                self._heard = self._clock.monotonic()
                await self.take(standing.revoked)
                self._trust(standing.trust)
                pause = every()
            except RookeryError as error:
                log.debug("not-looked", cause=error.cause.value, what=error.what)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):  # wait_for may swallow a cancellation (Python 3.11)
                    await woken.wait()

    def _trust(self, trust: bytes) -> None:
        """Whoever does not know the authorities that there are by now gets to know them with another certificate."""
        if trust and self._renewing is not None and trust != fingerprint(self.contexts.state.bundle.roots):
            self._renewing.hurry(trust)

    # --- where it and others are ---

    def learned(self) -> tuple[str, ...]:
        """The cluster ports of directory nodes, as host:port, when one of them was last asked. Blocking."""
        return self._files.known().directory

    def learn(self, ask: Callable[[], Awaitable[tuple[str, ...]]]) -> None:
        """Ask again and again for the cluster ports of directory nodes, and remember them for the next start."""
        self._tasks.append(asyncio.create_task(self._learn(ask)))

    async def _learn(self, ask: Callable[[], Awaitable[tuple[str, ...]]]) -> None:
        while True:
            try:
                found, known = await ask(), await asyncio.to_thread(self._files.known)
                if found != known.directory:
                    log.info("directories-learned", addresses=list(found))
                    await asyncio.to_thread(self._files.write_known, msgspec.structs.replace(known, directory=found))
            except RookeryError as error:
                log.debug("not-learned", cause=error.cause.value, what=error.what)
                await asyncio.sleep(LOOK_EVERY)
            else:
                await asyncio.sleep(LEARN_EVERY)

    def say(self, present: Callable[[], Awaitable[None]]) -> None:
        """Until `present` has told the directory where this process is."""
        self._tasks.append(asyncio.create_task(self._say(present)))

    async def _say(self, present: Callable[[], Awaitable[None]]) -> None:
        outage = Outage(log, "not-announced", self._clock.monotonic, Level.INFO)
        while True:
            try:
                await present()
                outage.over()
                return
            except RookeryError as error:
                outage.failed(error.cause.value, what=error.what)
            await asyncio.sleep(SAY_AGAIN)

    # --- the certificate ---

    async def renewed(self, request: bytes, addresses: Iterable[str]) -> Issued:
        """By an authority at one of these cluster ports. Raises RookeryError."""
        return issued(await self.by_authority(Renew(request), addresses))

    async def by_authority(self, question: Renew | ToAuthority, addresses: Iterable[str]) -> bytes:
        """What an authority at one of these cluster ports answers. Raises RookeryError."""
        failure = RookeryError(Cause.UNAVAILABLE, "it is not known where the cluster's authority is")
        for address in dict.fromkeys(addresses):
            try:
                link = await link_to(self.links, peer(address), Role.AUTHORITY)
                answer = decode_answer(await link.call(encode(question), RENEWING), Renewed)
                return answer.issued
            except RookeryError as error:
                failure = error
        raise failure

    def renew_through(self, ask: Callable[[bytes], Awaitable[bytes]]) -> None:
        """As `renew`, where the authority hears of it from others: `ask` has what is said to it answered."""
        self._keep_young(None, lambda: come_back_through(self._files, ask))

    def renew(self, ask: Callable[[bytes], Awaitable[Issued]]) -> None:
        """Keep the certificate young: `ask` has a request answered by the authority. Of the processes that share the
        folder `cluster` one does, the others `take_up`.
        """
        addresses = tuple(str(one) for one in self._config.cluster.authority if one is not None)
        addresses += tuple(one for one in self._files.known().join if one not in addresses)
        self._keep_young(ask, lambda: come_back(self._files, addresses, ask_at_desk))

    def _keep_young(
        self, ask: Callable[[bytes], Awaitable[Issued]] | None, come_back: Callable[[], Awaitable[object]]
    ) -> None:
        renewing = self._renewing = Renewing(
            self._files,
            self.contexts,
            self._clock,
            renew=ask,
            come_back=come_back,
            renewed=self._renewed,
        )
        self._tasks.append(asyncio.create_task(renewing.run()))

    def take_up(self) -> None:
        """Use what another process of this node has renewed."""
        self._tasks.append(asyncio.create_task(self._take_up()))

    async def _take_up(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            before = self.member.serial
            try:
                self.contexts.reload()
            except RookeryError as error:
                log.refused("certificate-unreadable", error.refusal)
            if self.member.serial != before:
                self._renewed()

    def _renewed(self) -> None:
        self.links.use(self.contexts.client)
        if self._port is not None:
            self._port.renewed()


def told(standing: Standing, known: int) -> RevokedNodes:
    """To a node that has list number `known`."""
    revoked = standing.revoked
    if revoked.number == known:
        return RevokedNodes(known, trust=standing.trust)
    return RevokedNodes(revoked.number, sorted(revoked.names), sorted(revoked.serials), standing.trust)


def heard(answer: RevokedNodes, known: Revoked) -> Standing:
    """By a node that has that list."""
    if answer.number == known.number:
        return Standing(known, answer.trust)
    return Standing(Revoked(answer.number, frozenset(answer.names), frozenset(answer.serials)), answer.trust)


def issued(data: bytes) -> Issued:
    """Of an answer. Raises RookeryError."""
    answer = read_answer(data)
    if not isinstance(answer, Issued):
        raise RookeryError(Cause.INVALID, "the authority answered another question")
    return answer
