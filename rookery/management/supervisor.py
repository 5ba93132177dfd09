"""Several processes under one `serve`: started, watched, started again when one dies, stopped together.

Each is the same program with the name of its backend. It says `ready` on its standard output, as the whole does once
all have. Its standard input is a pipe of the supervisor's: when that ends, whatever ended it, the backend stops too.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from rookery.base import log
from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.management.node_log import direct_log
from rookery.management.notify import notify
from rookery.management.site import Site

SOON, LATE = 0.1, 5.0  # seconds until a backend that died is started again: at first, at most
STEADY = 10.0  # seconds after which one that runs is believed to be well
STOPPING = 15.0  # seconds beyond the time for draining until a backend that does not stop is killed

SUPERVISED = "ROOKERY_SUPERVISED"  # in the environment of a backend: the end of its standard input is its own

_log = logger("supervisor")


class _Backend:
    """One process after another under one name."""

    def __init__(self, name: str, command: Sequence[str], ready: Callable[[], None]) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self._command = command
        self._became_ready = ready
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._delay = SOON

    async def run(self) -> None:
        """Until it is told to stop. Raises RookeryError when it ends before it was ready for the first time."""
        loop = asyncio.get_running_loop()
        while not self._stopping:
            process = self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, SUPERVISED: "1"},
            )
            began = loop.time()
            if self._stopping:  # meanwhile
                self.signal(signal.SIGTERM)
            await self._listen(process)
            code = await process.wait()
            self._process = None
            if self._stopping:
                return
            if not self.ready.is_set():
                raise RookeryError(Cause.UNAVAILABLE, f"backend {self.name} ended with {code} before it was ready")
            self._delay = SOON if loop.time() - began > STEADY else min(LATE, self._delay * 2)
            _log.error("backend-ended", backend=self.name, code=code, again_in=self._delay)
            await asyncio.sleep(self._delay)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if line == b"ready\n":
                _log.info("backend-ready", backend=self.name, process=process.pid)
                self.ready.set()
                self._became_ready()

    def signal(self, number: signal.Signals) -> None:
        if number in (signal.SIGTERM, signal.SIGKILL):
            self._stopping = True
        if self._process is not None:
            try:
                self._process.send_signal(number)
            except ProcessLookupError:  # it has just ended by itself
                return


Stage = Callable[[], Mapping[str, Sequence[str]]]


class Supervisor:
    """Runs what the stages say, by name: each is asked, in a thread, once all of those before it are ready.

    `drain`: seconds that a process may take to end its sessions.
    """

    def __init__(self, stages: Iterable[Stage], *, drain: float) -> None:
        self._stages = stages
        self._backends: list[_Backend] = []
        self._running: list[asyncio.Task[object]] = []
        self._drain = drain
        self._stop = asyncio.Event()
        self._all_ready = asyncio.Event()

    def _one_ready(self) -> None:
        if all(backend.ready.is_set() for backend in self._backends):
            self._all_ready.set()

    def stop(self) -> None:
        self._stop.set()

    def reload(self) -> None:
        for backend in self._backends:
            backend.signal(signal.SIGHUP)

    async def run(self, ready: Callable[[], None]) -> None:
        """Until `stop`; `ready` is called once, when everything is. Raises RookeryError when something cannot start."""
        stop: asyncio.Task[object] = asyncio.create_task(self._stop.wait())
        ended: set[asyncio.Task[object]] = set()
        try:
            for stage in self._stages:
                if ended or self._stop.is_set():
                    break
                ended = await self._begin(await asyncio.to_thread(stage), stop)
            if not ended and not self._stop.is_set():
                ready()
                ended, _ = await asyncio.wait([*self._running, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            await self._end()
        for task in ended:
            if task in self._running:
                task.result()

    async def _begin(
        self, commands: Mapping[str, Sequence[str]], stop: "asyncio.Task[object]"
    ) -> "set[asyncio.Task[object]]":
        """Start one stage and wait until it is ready; what has ended instead."""
        if not commands:
            return set()
        self._all_ready.clear()
        started = [_Backend(name, command, self._one_ready) for name, command in commands.items()]
        self._backends += started
        self._running += [asyncio.create_task(backend.run()) for backend in started]
        waiting: asyncio.Task[object] = asyncio.create_task(self._all_ready.wait())
        ended, _ = await asyncio.wait([*self._running, waiting, stop], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return ended - {waiting}

    async def _end(self) -> None:
        if not self._running:
            return
        for backend in self._backends:
            backend.signal(signal.SIGTERM)
        _, late = await asyncio.wait(self._running, timeout=self._drain + STOPPING)
        for backend in self._backends if late else ():
            backend.signal(signal.SIGKILL)
        for task in late:
            task.cancel()
        await asyncio.wait(self._running)


async def orphaned(stop: Callable[[], None]) -> None:
    """In a supervised backend: `stop` when the supervisor is gone, however it ended."""
    if not os.environ.get(SUPERVISED):
        return
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    stop()


def own_command(site: Site, backend: str = "") -> list[str]:
    """What serves a site, or one of its backends, with this very program."""
    chosen = ["--backend", backend] if backend else []
    return [sys.executable, "-m", "rookery", "--site", str(site.folder), "serve", *chosen]


def supervise(site: Site, config: Config) -> int:
    """All backends of a site, in the foreground; prints `ready` when all are. Raises RookeryError."""
    direct_log(site, config)

    def ready() -> None:
        log.flush()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        notify("READY=1", "serving")

    try:
        run_all(
            [lambda: {name: own_command(site, name) for name, _ in config.store.backends}], config.drain.time, ready
        )
    finally:
        log.flush()
    return 0


def run_all(stages: Iterable[Stage], drain: float, ready: Callable[[], None]) -> None:
    """Until SIGTERM or SIGINT; SIGHUP goes to all. Raises RookeryError, or what `ready` or a stage raises, once all
    have ended."""

    async def live() -> None:
        supervisor = Supervisor(stages, drain=drain)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.stop)
        loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
        await supervisor.run(ready)

    asyncio.run(live())
