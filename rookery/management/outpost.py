"""A node of a cluster without mail, as its administrator asks it: the same commands, as far as they make sense.

Its process answers them, and on a stopped site the command line does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from rookery import __version__
from rookery.base.clock import Clock, SystemClock
from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.management.console import Served
from rookery.management.directory_parts import DirectoryParts, operate
from rookery.management.membership import files
from rookery.management.operations import logs
from rookery.management.operations.check import check_tls
from rookery.management.operations.registry import Operation
from rookery.management.operations.status import (
    Health,
    MemberFigures,
    Status,
    queue_figures,
    spool_problems,
    within,
)
from rookery.management.operations.trace import Trace, logged
from rookery.management.parts import Parts
from rookery.management.queue_parts import QueueParts, operate_queue
from rookery.management.site import Site

NO_PARTS = cast(Parts, None)  # for operations that look at none

Answering = Callable[..., Awaitable[Any]]


def nothing() -> list[str]:
    return []


class Outpost:
    """`process` None: the site is stopped. `problems`: why it does not serve, beside what every node can say.
    `parts`: of a node with the directory, which can do whatever needs no more than that; `queue`: of one with a queue.
    """

    def __init__(
        self,
        site: Site,
        config: Config,
        process: Served | None = None,
        problems: Callable[[], list[str]] = nothing,
        parts: DirectoryParts | None = None,
        queue: QueueParts | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._site = site
        self._config = config
        self._process = process
        self._problems = problems
        self._parts = parts
        self._queue = queue
        self._clock = clock or SystemClock()
        self._answers: dict[str, Answering] = {
            "ping": self.ping,
            "status": self.status,
            "health": self.health,
            "trace": self.trace,
            "log.levels": lambda: logs.log_levels(NO_PARTS),
            "log.set-level": lambda component, level: logs.set_log_level(NO_PARTS, component, level),
        }

    async def run(self, operation: Operation, arguments: Mapping[str, object]) -> object:
        """Raises RookeryError: as the operation does, UNSUPPORTED when this node cannot answer it."""
        answer = self._answers.get(operation.name)
        if self._queue is not None and (answer is None or operation.name == "trace"):
            return await operate_queue(self._queue, operation, arguments)
        if answer is None and self._parts is not None:
            return await operate(self._parts, operation, arguments)
        if answer is None:
            asked = [one.host for one in self._config.cluster.directory if one is not None]
            where = f", such as {' or '.join(asked)}" if asked else ""
            raise RookeryError(
                Cause.UNSUPPORTED,
                f"this node is no more than {self._kind()}: run `rookery {operation.name.replace('.', ' ')}` on a node"
                f" with accounts{where}",
            )
        return await answer(**arguments)

    def _kind(self) -> str:
        return " and ".join(self._member().roles)

    def _member(self) -> MemberFigures:
        """Raises RookeryError."""
        figures = self._process.member() if self._process is not None else None
        if figures is None:
            state = files(self._site).state()
            if state is None:
                raise RookeryError(Cause.NOT_FOUND, "this node is in no cluster")
            figures = MemberFigures(state.member.name, sorted(state.member.roles), state.member.ends)
        return figures

    async def ping(self) -> str:
        return self._member().node

    async def status(self) -> Status:
        process = self._process
        domains, accounts = None, None
        if self._parts is not None:
            domains, accounts = await self._parts.directory.find(
                lambda view: (sum(1 for _ in view.domains()), view.count_accounts())
            )
        return Status(
            version=__version__,
            site=str(self._site.folder),
            backend="",
            hosted=None,
            running=process is not None,
            started=int(process.started) if process else 0,
            domains=domains,
            accounts=accounts,
            connections=dict(process.connections()) if process else {},
            queue=None if self._queue is None else await queue_figures(self._queue.whole),
            member=self._member(),
        )

    async def health(self) -> Health:
        """As every node: the certificate for clients is only warned of."""
        config = self._config if self._process is None else self._process.config
        tls = await asyncio.to_thread(check_tls, self._site, config, self._clock.wall())
        process = self._process
        problems = [*(process.problems() if process else []), *self._problems()]
        if self._queue is not None:
            problems += await spool_problems(self._queue.spool)
        if self._parts is not None:
            read = self._parts.directory.find(lambda directory: directory.last_change())
            problems += [": ".join(one) for one in [await within("the directory cannot be read", read)] if one]
        warnings = [*map(str, tls), *(process.warnings() if process else [])]
        return Health(not problems, problems, warnings)

    async def trace(self, ident: str) -> Trace:
        config = self._config if self._process is None else self._process.config
        return logged(self._site, config, ident)
