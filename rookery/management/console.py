"""What an administrator has of a process that serves: its control socket, and /healthz and /metrics.

Every kind of node has the same; what it lets be done there, how it is, and what it counts beside, it hands in.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import msgspec

from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.management.certificates import expires
from rookery.management.control import ControlServer
from rookery.management.http import HttpServer, Page
from rookery.management.metrics import Gauge, Metrics
from rookery.management.operations.check import ports
from rookery.management.operations.registry import Operation, load_all
from rookery.management.operations.status import Health
from rookery.management.parts import Running
from rookery.management.site import Site

Operate = Callable[[Operation, msgspec.Struct], Awaitable[object]]
Gauges = Callable[[], Awaitable[Iterable[Gauge]]]


class Served(Running, Protocol):
    """The process, as its administrator asks about it."""

    site: Site
    config: Config
    backend: str


class Console:
    """Of one process. `operate` runs an operation with its arguments; `health` says whether the node serves."""

    def __init__(
        self, process: Served, operate: Operate, health: Callable[[], Awaitable[Health]], *gauges: Gauges
    ) -> None:
        load_all()
        self._process = process
        self._health = health
        self._control = ControlServer(process.site.control(process.config, process.backend), operate)
        self._http = HttpServer({"/healthz": self._healthz, "/metrics": Metrics(*gauges, self._gauges).page})

    async def start(self, address: str) -> None:
        """`address`: of HTTP, where the settings have a port for it. Raises RookeryError(UNAVAILABLE)."""
        await self._control.start()
        port = ports(self._process.config).get("http")
        if not port:
            return
        try:
            await self._http.start(address, port)
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"http.port: {error.strerror or error}") from error

    async def close(self) -> None:
        await self._http.close()
        await self._control.close()

    async def _healthz(self) -> Page:
        found = await self._health()
        lines = [*(["ok"] if found.ok else found.problems), *found.warnings, ""]
        return Page(200 if found.ok else 503, "text/plain; charset=utf-8", "\n".join(lines).encode())

    async def _gauges(self) -> list[Gauge]:
        process = self._process
        return [
            ("connections", "Open connections, by listener.", dict(process.connections())),
            (
                "certificate_end_seconds",
                "When the certificate ends, UTC; 0: unreadable.",
                {"": self._certificate_end()},
            ),
            ("started_seconds", "When the node was started, UTC.", {"": process.started}),
        ]

    def _certificate_end(self) -> float:
        process = self._process
        try:
            return expires(process.site.path(process.config.tls.certificate)).timestamp()
        except (OSError, ValueError):
            return 0.0
