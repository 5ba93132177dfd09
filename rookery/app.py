"""The composition root: read the settings, build the parts, open the listeners, serve, drain, stop.

Nothing imports this but the command itself. Only here does one component learn of another; each is handed the two or
three things that it uses, and its settings as a value of its own.
"""

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import uvloop

from rookery.base import log
from rookery.base.clock import SystemClock
from rookery.base.config import Config, Problem
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.management import demo as demo_site
from rookery.management.directory_parts import DirectoryParts
from rookery.management.directory_services import DirectoryServices
from rookery.management.fronting import FrontServices
from rookery.management.fronting import listeners as front_listeners
from rookery.management.hosting_services import HostingServices
from rookery.management.keeping import lmtp_socket, open_queue
from rookery.management.membership import Membership, files, has_directory_only, is_outpost, is_perimeter, roles
from rookery.management.metrics import Gauge
from rookery.management.operations.accounts import make_missing, purge_expired
from rookery.management.operations.check import check_tls
from rookery.management.operations.cluster_status import ClusterStatus
from rookery.management.operations.registry import Operation
from rookery.management.operations.status import Health, QueueFigures, health, hosted_here, queue_figures
from rookery.management.outpost import Outpost
from rookery.management.overview import Self
from rookery.management.parts import Parts
from rookery.management.perimeter import PerimeterServices
from rookery.management.pooling import follow, register_pool, report_free
from rookery.management.process import Process, checked, tell
from rookery.management.services import Services
from rookery.management.siblings import Siblings
from rookery.management.site import Site, open_site
from rookery.management.supervisor import supervise
from rookery.management.takeover import take_over_dead
from rookery.net.tls import server_context

LISTENERS = ("smtp", "submission", "submissions", "lmtp", "imap", "imaps")
MAINTAIN_EVERY = 1.0  # seconds between two slices of the store's upkeep
LOOK_EVERY = 60.0  # seconds between two looks for accounts whose time is over, or that are half made
CHECK_EVERY = 86_400.0  # seconds between two looks at the certificate, which warn 14 days before its end
TLS_FROM_THE_START = frozenset({"submissions", "imaps"})
WITH_LOGIN = frozenset({"submission", "submissions", "imap", "imaps"})
REFUSALS = {
    "smtp": b"421 4.7.0 Too many connections\r\n",
    "submission": b"421 4.7.0 Too many connections\r\n",
    "lmtp": b"421 4.7.0 Too many connections\r\n",
    "imap": b"* BYE Too many connections\r\n",
}

_log = logger("node")


class MailNode(Process):
    """A process of a node that keeps accounts and their mail."""

    listeners = LISTENERS

    def __init__(
        self,
        site: Site,
        config: Config,
        warnings: Sequence[Problem],
        tls: ssl.SSLContext,
        backend: str = "",
        before_ready: Callable[[Parts], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(site, config, warnings, tls, backend)
        self._before_ready = before_ready
        self._hosting: HostingServices | None = None

    async def _build(self, stack: AsyncExitStack) -> Services:
        member = files(self.site).state() is not None  # of a cluster: others may ask it, and bring sessions
        replication = self._join(SystemClock())[1] if member else None
        async with self._leaving(stack):
            self._parts = parts = await Parts.open(
                self.site, self.config, backend=self.backend, gate=self._gate, replication=replication
            )
            stack.push_async_callback(parts.close)
        parts.running = self
        await register_pool(parts)
        await make_missing(parts)
        self._mail = services = Services(parts, self._tls)
        stack.push_async_callback(services.close)
        if self.membership is not None:
            self._hosting = HostingServices(parts, services, self.membership)
            stack.push_async_callback(self._hosting.close)
        return services

    async def _begin(self, stack: AsyncExitStack) -> None:
        parts, services = self._parts, self._mail
        await self._serve_management(parts, stack)
        if self.config.store.database:
            await self._serve_siblings(parts, services, stack)
        if self._hosting is not None:
            await self._hosting.start(self._addresses)
        services.start()
        self._spawn(self._maintain(parts))
        if parts.directory.shared:
            self._spawn(follow(parts))
        if self._before_ready is not None:
            await self._before_ready(parts)

    async def _serve_siblings(self, parts: Parts, services: Services, stack: AsyncExitStack) -> None:
        siblings = Siblings(lmtp_socket(self.site, parts.backend), services.serve_sibling)
        await siblings.start()
        stack.push_async_callback(siblings.close)
        if self.config.queue.database:
            self._spawn(take_over_dead(parts))

    async def overview(self) -> ClusterStatus:
        return await super().overview() if self._hosting is None else await self._hosting.overview()

    def connections(self) -> Mapping[str, int]:
        brought = {} if self._hosting is None else {"frontends": self._hosting.sessions}
        return {**super().connections(), **brought}

    async def _leave(self) -> None:
        await self._parts.placement.leave()

    async def _drained(self, seconds: float) -> int:
        return 0 if self._hosting is None else await self._hosting.drain(seconds)

    # --- management ---

    async def _serve_management(self, parts: Parts, stack: AsyncExitStack) -> None:
        async def operate(operation: Operation, arguments: msgspec.Struct) -> object:
            return await operation.run(parts, **msgspec.structs.asdict(arguments))

        async def healthy() -> Health:
            return await health(parts)

        async def queue_gauges() -> list[Gauge]:
            return _queue_gauges(await queue_figures(parts))

        async def hosted_gauge() -> list[Gauge]:
            return [("hosted_accounts", "Accounts that this backend hosts.", {"": await hosted_here(parts)})]

        async def gauges() -> list[Gauge]:
            return [
                ("passwords_waiting", "Password checks begun or waiting.", {"": parts.hasher.waiting}),
                ("store_waiting_octets", "Changes that wait for the store's writer.", {"": parts.store.writer.waiting}),
            ]

        asked = [] if self._hosting is None else [self._hosting.gauges]
        await self._serve_console(stack, operate, healthy, queue_gauges, hosted_gauge, gauges, *asked)

    # --- by itself ---

    async def _maintain(self, parts: Parts) -> None:
        """The store's upkeep every second, and whether this node may go on; now and then accounts whose time is over or
        that are half made, and daily the certificate."""
        look_due = parts.clock.monotonic() + LOOK_EVERY
        check_due = parts.clock.monotonic() + CHECK_EVERY
        while True:
            await parts.store.maintain()
            if not await self._may_go_on(parts.confirm):
                return
            if parts.clock.monotonic() >= check_due:
                check_due = parts.clock.monotonic() + CHECK_EVERY
                tell(check_tls(self.site, self.config, parts.clock.wall()))
            if parts.clock.monotonic() >= look_due:
                look_due = parts.clock.monotonic() + LOOK_EVERY
                try:
                    gone = await purge_expired(parts)
                    if gone:
                        _log.info("accounts-purged", count=gone)
                    if parts.incomplete:
                        await make_missing(parts)
                    await (report_free if parts.registered else register_pool)(parts)
                except RookeryError as error:  # the disk, most likely; looked at again the next time
                    _log.refused("look-failed", error.refusal)
            await asyncio.sleep(MAINTAIN_EVERY)


class FrontNode(Process):
    """A process of a node that is a frontend, and nothing that keeps mail or accounts."""

    def __init__(self, site: Site, config: Config, warnings: Sequence[Problem], tls: ssl.SSLContext) -> None:
        super().__init__(site, config, warnings, tls)
        self.listeners = front_listeners(roles(site))

    async def _build(self, stack: AsyncExitStack) -> FrontServices:
        clock = SystemClock()
        self.membership = membership = Membership(self.site, self.config, clock)
        stack.push_async_callback(membership.close)
        self._front = FrontServices(self.config, membership, self._tls, clock, self.sharing)
        stack.push_async_callback(self._front.close)
        Self(membership, self, clock)
        return self._front

    async def _begin(self, stack: AsyncExitStack) -> None:
        outpost = Outpost(self.site, self.config, self, self._front.problems)

        async def operate(operation: Operation, arguments: msgspec.Struct) -> object:
            return await outpost.run(operation, msgspec.structs.asdict(arguments))

        await self._serve_console(stack, operate, outpost.health, self._front.gauges)
        if self.config.cluster.inner:
            self._front.listen(self._addresses)
        self._front.start()

    def warnings(self) -> list[str]:
        return [*super().warnings(), *self._front.warnings()]

    def connections(self) -> Mapping[str, int]:
        return {**super().connections(), "frontends": len(self._front.handoff.sessions)}

    async def _drained(self, seconds: float) -> int:
        return await self._front.handoff.sessions.drain(seconds)


class PerimeterNode(Process):
    """A process of a node that takes mail into a queue of its own, and keeps neither mail nor accounts."""

    listeners = ("smtp",)

    async def _build(self, stack: AsyncExitStack) -> PerimeterServices:
        clock = SystemClock()
        self.membership = membership = Membership(self.site, self.config, clock)
        stack.push_async_callback(membership.close)
        Self(membership, self, clock)
        spool = await open_queue(self.site, self.config, membership.member.name, clock=clock, gate=self._gate)
        stack.push_async_callback(spool.close)
        self._perimeter = PerimeterServices(self.site, self.config, membership, self._tls, clock, spool, self.sharing)
        stack.push_async_callback(self._perimeter.close)
        return self._perimeter

    async def _begin(self, stack: AsyncExitStack) -> None:
        perimeter = self._perimeter
        outpost = Outpost(self.site, self.config, self, perimeter.problems, queue=perimeter.parts)

        async def operate(operation: Operation, arguments: msgspec.Struct) -> object:
            return await outpost.run(operation, msgspec.structs.asdict(arguments))

        async def queue_gauges() -> list[Gauge]:
            return _queue_gauges(await queue_figures(perimeter.parts.whole))

        await self._serve_console(stack, operate, outpost.health, queue_gauges, perimeter.gauges)
        perimeter.start()


class DirectoryNode(Process):
    """A process of a node that keeps accounts, and no mail."""

    listeners = ()

    async def _build(self, stack: AsyncExitStack) -> DirectoryServices:
        membership, replication = self._join(SystemClock())
        async with self._leaving(stack):
            self._parts = parts = await DirectoryParts.open(
                self.site, self.config, gate=self._gate, replication=replication
            )  # fmt: skip
            stack.push_async_callback(parts.close)
        parts.running = self
        self._directory = DirectoryServices(parts, membership)
        stack.push_async_callback(self._directory.close)
        return self._directory

    async def _begin(self, stack: AsyncExitStack) -> None:
        parts, services = self._parts, self._directory
        outpost = Outpost(self.site, self.config, self, parts=parts)

        async def operate(operation: Operation, arguments: msgspec.Struct) -> object:
            return await outpost.run(operation, msgspec.structs.asdict(arguments))

        await self._serve_console(stack, operate, outpost.health, services.gauges)
        await services.start(self._addresses)
        self._spawn(self._watch(parts))

    async def overview(self) -> ClusterStatus:
        return await self._directory.overview()

    def connections(self) -> Mapping[str, int]:
        return {"frontends": len(self._directory.handoff.sessions)}

    async def _drained(self, seconds: float) -> int:
        return await self._directory.handoff.sessions.drain(seconds)

    async def _watch(self, parts: DirectoryParts) -> None:
        """As long as this node may go on."""
        while await self._may_go_on(parts.confirm):  # noqa: ASYNC110  time is what it waits for
            await asyncio.sleep(MAINTAIN_EVERY)


def _queue_gauges(queue: QueueFigures) -> list[Gauge]:
    return [
        ("queue_messages", "Messages in the queue.", {"": queue.messages}),
        ("queue_recipients", "Recipients in the queue, by state.", dict(queue.states)),
        ("queue_octets", "Octets of the messages in the queue.", {"": queue.octets}),
        (
            "queue_oldest_seconds",
            "How long the oldest message has been in the queue; 0: it is empty.",
            {"": queue.oldest_age},
        ),
    ]


# --- what the command calls -------------------------------------------------------------------------------------------


def serve(folder: Path, backend: str = "", before_ready: Callable[[Parts], Awaitable[None]] | None = None) -> int:
    """Serve in the foreground; returns the exit code. Raises RookeryError when the site cannot be served.

    `backend`: one of the site's several backend processes; without it all of them, each a process of its own.
    """
    site, _ = open_site(folder)
    config, warnings = checked(site)
    names = [name for name, _ in config.store.backends]
    if names and not backend:
        return supervise(site, config)
    if backend and backend not in names:
        raise RookeryError(Cause.NOT_FOUND, f"there is no backend {backend} in store.backends ({', '.join(names)})")
    tls = server_context(site.path(config.tls.certificate), site.path(config.tls.key))

    async def live() -> None:
        if has_directory_only(site):
            await DirectoryNode(site, config, warnings, tls).run()
        elif is_perimeter(site):
            await PerimeterNode(site, config, warnings, tls).run()
        elif is_outpost(site):
            await FrontNode(site, config, warnings, tls).run()
        else:
            await MailNode(site, config, warnings, tls, backend, before_ready).run()

    try:
        uvloop.run(live())
    finally:
        log.flush()
    return 0


def demo(folder: Path, port_offset: int) -> int:
    """Make the demo site if it is not there, and serve it."""
    demo_site.prepare(folder, port_offset)

    async def tell(parts: Parts) -> None:
        await demo_site.fill(parts)
        sys.stdout.write(demo_site.advice(parts.site, parts.config, sys.argv[0]) + "\n")

    return serve(folder, before_ready=tell)
