"""The composition root: read the settings, build the parts, open the listeners, serve, drain, stop.

Nothing imports this but the command itself. Only here does one component learn of another; each is handed the two or
three things that it uses, and its settings as a value of its own.
"""

import asyncio
import signal
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import uvloop

from rookery.base import log
from rookery.base.config import Config, Problem, differences
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.management import demo as demo_site
from rookery.management import garbage
from rookery.management.certificates import expires
from rookery.management.control import ControlServer
from rookery.management.http import HttpServer, Page
from rookery.management.keeping import lmtp_socket
from rookery.management.metrics import Gauge, Metrics
from rookery.management.node_log import direct_log, log_unhandled, reopen_log
from rookery.management.notify import notify
from rookery.management.operations.accounts import make_missing, purge_expired
from rookery.management.operations.check import check_settings, check_tls, ports
from rookery.management.operations.registry import Operation, load_all
from rookery.management.operations.status import health, hosted_here, queue_figures
from rookery.management.parts import Parts
from rookery.management.pooling import follow, register_pool, report_free
from rookery.management.privileges import allow_open_files, become, must_become
from rookery.management.services import Services
from rookery.management.siblings import Siblings
from rookery.management.site import Site, open_site
from rookery.management.supervisor import orphaned, supervise
from rookery.management.takeover import take_over_dead
from rookery.net.limits import ConnectionLimits, Total
from rookery.net.listener import Listener, listen
from rookery.net.stream import Stream
from rookery.net.tls import reload_certificate, server_context
from rookery.storage.gate import Gate

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


class Node:
    """One process that serves one site. `run` is its whole life."""

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
        self._services: asyncio.Future[Services] = asyncio.get_running_loop().create_future()
        self._stopping = asyncio.Event()
        self._failure: RookeryError | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- its life ---

    async def run(self, before_ready: Callable[[Parts], Awaitable[None]] | None) -> None:
        """Serve until SIGTERM or SIGINT. Raises RookeryError when it cannot start."""
        asyncio.get_running_loop().set_exception_handler(log_unhandled)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close_listeners)
            if must_become(self.config.site.user):
                await self._listen()  # as root; sessions wait for the parts
                become(self.config.site.user)
            self._begin_log()  # only now: as root it would make a file that this process may not reopen
            parts = await Parts.open(self.site, self.config, backend=self.backend, gate=self._gate)
            stack.push_async_callback(parts.close)
            parts.running = self
            await register_pool(parts)
            await make_missing(parts)
            services = Services(parts, self._tls)
            stack.push_async_callback(services.close)
            self._services.set_result(services)
            if not self._listeners:
                await self._listen()
            stack.push_async_callback(self._drain)
            await self._serve_management(parts, stack)
            if self.config.store.database:
                await self._serve_siblings(parts, services, stack)
            services.start()
            self._handle_signals(parts)
            self._spawn(self._maintain(parts))
            if parts.directory.shared:
                self._spawn(follow(parts))
            self._spawn(orphaned(self._stopping.set))
            stack.push_async_callback(self._end_tasks)
            if before_ready is not None:
                await before_ready(parts)
            garbage.settle()
            self._say_ready()
            await self._stopping.wait()
            notify("STOPPING=1", "draining")
            _log.info("stopping", sessions=sum(self.connections().values()))
            if self._failure is not None:
                raise self._failure
        _log.info("stopped")

    def _begin_log(self) -> None:
        direct_log(self.site, self.config, self.backend)
        _tell(self._warnings)
        allow_open_files(self.config.limits.connections)

    def _say_ready(self) -> None:
        opened = [f"{name}:{listener.ports[0]}" for name, listener in self._listeners.items()]
        _log.info("ready", site=str(self.site.folder), listeners=opened)
        log.flush()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        notify("READY=1", "serving")

    def _handle_signals(self, parts: Parts) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload, parts)

    async def _serve_siblings(self, parts: Parts, services: Services, stack: AsyncExitStack) -> None:
        siblings = Siblings(lmtp_socket(self.site, parts.backend), services.serve_sibling)
        await siblings.start()
        stack.push_async_callback(siblings.close)
        if self.config.queue.database:
            self._spawn(take_over_dead(parts))

    def connections(self) -> Mapping[str, int]:
        return {name: listener.sessions for name, listener in self._listeners.items()}

    # --- listeners ---

    @property
    def _addresses(self) -> Sequence[str]:
        own = dict(self.config.store.backends).get(self.backend)
        return self.config.listen.addresses if own is None else (own,)

    async def _listen(self) -> None:
        total = Total(self.config.limits.connections)
        for name, port in ports(self.config).items():
            if name in LISTENERS:
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
            )
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"listen.{name}: {error.strerror or error}") from error

    async def _drain(self) -> None:
        """Take no more connections, let every session finish its command; then the queue finishes its deliveries."""
        seconds = self.config.drain.time
        ended = await asyncio.gather(*(listener.drain(seconds) for listener in self._listeners.values()))
        if any(ended):
            _log.warning("sessions-ended", count=sum(ended))

    async def _close_listeners(self) -> None:
        for listener in self._listeners.values():
            await listener.close()

    # --- management ---

    async def _serve_management(self, parts: Parts, stack: AsyncExitStack) -> None:
        load_all()

        async def operate(operation: Operation, arguments: msgspec.Struct) -> object:
            return await operation.run(
                parts, **{name: getattr(arguments, name) for name in arguments.__struct_fields__}
            )

        async def healthz() -> Page:
            found = await health(parts)
            lines = [*(["ok"] if found.ok else found.problems), *found.warnings, ""]
            return Page(200 if found.ok else 503, "text/plain; charset=utf-8", "\n".join(lines).encode())

        async def queue_gauges() -> list[Gauge]:
            queue = await queue_figures(parts)
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

        async def hosted_gauge() -> list[Gauge]:
            return [("hosted_accounts", "Accounts that this backend hosts.", {"": await hosted_here(parts)})]

        async def gauges() -> list[Gauge]:
            return [
                ("connections", "Open connections, by listener.", dict(self.connections())),
                ("passwords_waiting", "Password checks begun or waiting.", {"": parts.hasher.waiting}),
                ("store_waiting_octets", "Changes that wait for the store's writer.", {"": parts.store.writer.waiting}),
                (
                    "certificate_end_seconds",
                    "When the certificate ends, UTC; 0: unreadable.",
                    {"": self._certificate_end()},
                ),
                ("started_seconds", "When the node was started, UTC.", {"": self.started}),
            ]

        control = ControlServer(self.site.control(self.config, self.backend), operate)
        await control.start()
        stack.push_async_callback(control.close)
        port = ports(self.config).get("http")
        if port:
            http = HttpServer({"/healthz": healthz, "/metrics": Metrics(queue_gauges, hosted_gauge, gauges).page})
            try:
                await http.start(self._addresses[0] if self.backend else self.config.http.address, port)
            except OSError as error:
                raise RookeryError(Cause.UNAVAILABLE, f"http.port: {error.strerror or error}") from error
            stack.push_async_callback(http.close)

    def _certificate_end(self) -> float:
        try:
            return expires(self.site.path(self.config.tls.certificate)).timestamp()
        except (OSError, ValueError):
            return 0.0

    # --- SIGHUP ---

    def reload(self, parts: Parts) -> None:
        """The log file is reopened always, for it may have been rotated. Settings and certificate are taken up whole or
        not at all: with any problem the old ones stay."""
        notify("RELOADING=1", "reloading")
        reopen_log()
        try:
            config, warnings = checked(self.site)
            direct_log(self.site, config, self.backend)
            _tell(warnings)
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

    # --- by itself ---

    async def _maintain(self, parts: Parts) -> None:
        """The store's upkeep every second, and whether this node may go on; now and then accounts whose time is over or
        that are half made, and daily the certificate."""
        look_due = parts.clock.monotonic() + LOOK_EVERY
        check_due = parts.clock.monotonic() + CHECK_EVERY
        while True:
            await parts.store.maintain()
            try:
                await parts.confirm()
            except RookeryError as error:
                _log.error("must-stop", what=error.what)
                self._failure = error
                self._stopping.set()
                return
            if parts.clock.monotonic() >= check_due:
                check_due = parts.clock.monotonic() + CHECK_EVERY
                _tell(check_tls(self.site, self.config, parts.clock.wall()))
            if parts.clock.monotonic() >= look_due:
                look_due = parts.clock.monotonic() + LOOK_EVERY
                try:
                    gone = await purge_expired(parts)
                    if gone:
                        _log.info("accounts-purged", count=gone)
                    if parts.incomplete:
                        await make_missing(parts)
                    await report_free(parts)
                except RookeryError as error:  # the disk, most likely; looked at again the next time
                    _log.refused("look-failed", error.refusal)
            await asyncio.sleep(MAINTAIN_EVERY)

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


def _tell(warnings: Sequence[Problem]) -> None:
    for problem in warnings:
        _log.warning("check", what=str(problem))


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
        await Node(site, config, warnings, tls, backend).run(before_ready)

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
