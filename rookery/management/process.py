"""The life of a process that serves: its log, user, listeners and signals; it drains, and stops.

What it serves is made by whoever derives from it (app.py).
"""

import asyncio
import signal
import ssl
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Protocol

from rookery.base import log
from rookery.base.clock import Clock, SystemClock
from rookery.base.config import Config, Problem, differences
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.distribution.service.claims import Claims, Failures, Sharing, count
from rookery.distribution.service.signals import Count
from rookery.management import garbage
from rookery.management.console import Console, Gauges, Operate
from rookery.management.membership import Membership
from rookery.management.node_log import direct_log, log_unhandled, reopen_log
from rookery.management.notify import notify
from rookery.management.operations.check import check_settings, check_tls, ports
from rookery.management.operations.cluster_status import ClusterStatus
from rookery.management.operations.status import Health, MemberFigures
from rookery.management.privileges import allow_open_files, become, must_become
from rookery.management.replication import Replication
from rookery.management.site import Site
from rookery.management.supervisor import orphaned
from rookery.net.limits import ConnectionLimits, Total
from rookery.net.listener import Listener, listen
from rookery.net.stream import Stream
from rookery.net.tls import reload_certificate
from rookery.storage.gate import Gate

TLS_FROM_THE_START = frozenset({"submissions", "imaps"})
WITH_LOGIN = frozenset({"submission", "submissions", "imap", "imaps"})
REFUSALS = {
    "smtp": b"421 4.7.0 Too many connections\r\n",
    "submission": b"421 4.7.0 Too many connections\r\n",
    "lmtp": b"421 4.7.0 Too many connections\r\n",
    "imap": b"* BYE Too many connections\r\n",
}
LAST_WORDS = 1.0  # seconds for sessions to end in any case, when giving accounts away has taken all the time

_log = logger("node")


class Serving(Protocol):
    """What the listeners of a process serve."""

    async def serve(self, name: str, stream: Stream) -> None: ...

    def reload(self, config: Config) -> None: ...


class Process(ABC):
    """One process that serves one site. `run` is its whole life. `listeners`: those that it opens."""

    listeners: Sequence[str]

    def __init__(
        self, site: Site, config: Config, warnings: Sequence[Problem], tls: ssl.SSLContext, backend: str = ""
    ) -> None:
        """`backend`: the name of this process, when the site has several."""
        self.site = site
        self.backend = backend
        self.config = config
        self._warnings = warnings
        self.started = time.time()
        self._tls = tls
        self._gate = Gate()
        self._listeners: dict[str, Listener] = {}
        self._services: asyncio.Future[Serving] = asyncio.get_running_loop().create_future()
        self._stopping = asyncio.Event()
        self._draining_time = config.drain.time
        self._failure: RookeryError | None = None
        self.membership: Membership | None = None
        self._clock = clock = SystemClock()
        self.sharing = Sharing(Claims(clock), Failures(clock), self._counted)
        self._replication: Replication | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what it serves ---

    @abstractmethod
    async def _build(self, stack: AsyncExitStack) -> Serving:
        """Make what the listeners serve; `stack` closes it. Raises RookeryError."""

    @abstractmethod
    async def _begin(self, stack: AsyncExitStack) -> None:
        """All listeners serve: begin whatever else there is. Raises RookeryError."""

    def _join(self, clock: Clock) -> tuple[Membership, Replication]:
        """Be a member of the cluster, from which a copy of the directory may come. Raises RookeryError."""
        self.membership = membership = Membership(self.site, self.config, clock)
        self._replication = replication = Replication(
            self.site.folder, self.config, membership.links, lambda: membership.member.name
        )
        return membership, replication

    @asynccontextmanager
    async def _leaving(self, stack: AsyncExitStack) -> AsyncIterator[None]:
        """While what needs the links is opened: they are closed before it, whether it could be or not."""
        try:
            yield
        finally:
            if self.membership is not None:
                stack.push_async_callback(self.membership.close)
            if self._replication is not None:
                stack.push_async_callback(self._replication.close)

    # --- its life ---

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises RookeryError when it cannot start."""
        asyncio.get_running_loop().set_exception_handler(log_unhandled)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close_listeners)
            if must_become(self.config.site.user):
                await self._listen()  # as root; sessions wait for what is served
                become(self.config.site.user)
            self._begin_log()  # only now: as root it would make a file that this process may not reopen
            self._services.set_result(await self._build(stack))
            if not self._listeners:
                await self._listen()
            stack.push_async_callback(self._drain)
            stack.push_async_callback(self._end_tasks)
            self._handle_signals()
            self._spawn(orphaned(self._stopping.set))
            await self._begin(stack)
            await self._until_stopped()
        _log.info("stopped")

    async def _until_stopped(self) -> None:
        garbage.settle()
        self._say_ready()
        await self._stopping.wait()
        notify("STOPPING=1", "draining")
        _log.info("stopping", sessions=sum(self.connections().values()))
        if self._failure is not None:
            raise self._failure
        ends = self._clock.monotonic() + self.config.drain.time
        try:
            async with asyncio.timeout(self.config.drain.time):
                await self._leave()
        except TimeoutError:
            _log.warning("not-all-handed-over")
        self._draining_time = max(LAST_WORDS, ends - self._clock.monotonic())

    async def _leave(self) -> None:
        """While everything is served yet: give to other nodes what they can do as well."""
        return

    def _begin_log(self) -> None:
        direct_log(self.site, self.config, self.backend)
        tell(self._warnings)
        allow_open_files(self.config.limits.connections)

    def _say_ready(self) -> None:
        opened = [f"{name}:{listener.ports[0]}" for name, listener in self._listeners.items()]
        _log.info("ready", site=str(self.site.folder), listeners=opened)
        log.flush()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        notify("READY=1", "serving")

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    def connections(self) -> Mapping[str, int]:
        """By listener."""
        return {name: listener.sessions for name, listener in self._listeners.items()}

    def member(self) -> MemberFigures | None:
        """As it is in its cluster, if it is in one."""
        return None if self.membership is None else self.membership.figures()

    async def overview(self) -> ClusterStatus:
        """All of its cluster. Raises RookeryError, NOT_FOUND when it is in none."""
        raise RookeryError(Cause.NOT_FOUND, "this node is in no cluster; found one with `rookery cluster init`")

    def problems(self) -> list[str]:
        """Of its being a member, in plain words: others do not take it for one."""
        return [] if self.membership is None else self.membership.problems()

    def warnings(self) -> list[str]:
        """The same: soon they may not, or what it knows may be old."""
        of_member = [] if self.membership is None else self.membership.warnings()
        return [*of_member, *([] if self._replication is None else self._replication.warnings())]

    async def _serve_console(
        self, stack: AsyncExitStack, operate: Operate, health: Callable[[], Awaitable[Health]], *gauges: Gauges
    ) -> None:
        """Let its administrator ask. Raises RookeryError(UNAVAILABLE)."""
        of_member = [] if self.membership is None else [self.membership.gauges]
        console = Console(self, operate, health, *gauges, *of_member)
        stack.push_async_callback(console.close)
        await console.start(self._addresses[0] if self.backend else self.config.http.address)

    # --- listeners ---

    @property
    def _addresses(self) -> Sequence[str]:
        own = dict(self.config.store.backends).get(self.backend)
        return self.config.listen.addresses if own is None else (own,)

    async def _listen(self) -> None:
        total = Total(self.config.limits.connections)
        for name, port in ports(self.config).items():
            if name in self.listeners:
                self._listeners[name] = await self._open(name, port, total)

    async def _open(self, name: str, port: int, total: Total) -> Listener:
        limits = self.config.limits
        before_login = limits.before_login if name in WITH_LOGIN else None

        async def serve(stream: Stream) -> None:
            services = await asyncio.shield(self._services)
            await services.serve(name, stream)

        try:
            return await listen(
                self._addresses,
                port,
                serve,
                name=name,
                limits=ConnectionLimits(limits.connections_per_address, before_login),
                total=total,
                tls=self._tls if name in TLS_FROM_THE_START else None,
                proxy_from=self.config.listen.proxy_from,
                refusal=REFUSALS.get(name, b""),
                give_way=self._gate.give_way,
                elsewhere=partial(self.sharing.claims.elsewhere, name),
            )
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"listen.{name}: {error.strerror or error}") from error

    def _counted(self) -> Count:
        connections = {name: listener.counted() for name, listener in self._listeners.items()}
        return count(connections, self.sharing.failures.counted())

    async def _drain(self) -> None:
        """Take no more connections, let every session finish its command."""
        seconds = self._draining_time
        if self.membership is not None:
            self.membership.goodbye()
        draining = [listener.drain(seconds) for listener in self._listeners.values()]
        ended = await asyncio.gather(self._drained(seconds), *draining)
        if any(ended):
            _log.warning("sessions-ended", count=sum(ended))

    async def _drained(self, seconds: float) -> int:
        """The same for sessions that no listener has taken; how many had to be ended."""
        return 0

    async def _close_listeners(self) -> None:
        for listener in self._listeners.values():
            await listener.close()

    # --- SIGHUP ---

    def reload(self) -> None:
        """The log file is reopened always, for it may have been rotated. Settings and certificate are taken up whole or
        not at all: with any problem the old ones stay."""
        notify("RELOADING=1", "reloading")
        reopen_log()
        try:
            config, warnings = checked(self.site)
            direct_log(self.site, config, self.backend)
            tell(warnings)
            reload_certificate(self._tls, self.site.path(config.tls.certificate), self.site.path(config.tls.key))
        except RookeryError as error:
            for line in error.what.split("\n"):
                _log.error("reload-refused", what=line)
        else:
            changed = differences(self.config, config)
            waiting = [row.key for row in changed if row.restart]
            if waiting:
                _log.warning("needs-restart", settings=waiting)
            self.config = config
            self._services.result().reload(config)
            _log.info("reloaded", changed=[row.key for row in changed if not row.restart])
        notify("READY=1", "serving")

    # --- work of its own ---

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Work of the node itself never ends by itself: if it did, the node is not whole and stops, to be restarted."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task-failed", error=f"{type(error).__name__}: {error}")
            self._stopping.set()

    async def _may_go_on(self, confirm: Callable[[], Awaitable[None]]) -> bool:
        """Whether `confirm` raises nothing; else the process stops, and says why."""
        try:
            await confirm()
        except RookeryError as error:
            _log.error("must-stop", what=error.what)
            self._failure = error
            self._stopping.set()
            return False
        return True

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


# --- settings ---------------------------------------------------------------------------------------------------------


def checked(site: Site) -> tuple[Config, list[Problem]]:
    """The settings of a site and warnings; raises RookeryError naming what is wrong with them or the certificate."""
    config, problems = site.load()
    problems += check_settings(site, config)
    problems += check_tls(site, config, time.time())
    errors = [str(problem) for problem in problems if not problem.warning]
    if errors:
        raise RookeryError(Cause.INVALID, "\n".join(errors))
    return config, problems


def tell(warnings: Sequence[Problem]) -> None:
    for problem in warnings:
        _log.warning("check", what=str(problem))


# --- what the command calls -------------------------------------------------------------------------------------------
