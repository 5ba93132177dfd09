"""One fault after another, as dice say: what happens to backends and to the database while clients are at work."""

import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import psutil
import psycopg

from tests.checker.history import History
from tests.journeys.cluster import BACKENDS, Cluster
from tests.journeys.fronted import FRONTENDS, Fronted
from tests.journeys.site import ROOKERY, RunningSite

SHORTEST, LONGEST = 0.5, 4.0  # seconds of quiet between two faults
FROZEN = (1.0, 5.0)  # seconds
PAUSED = (1.0, 4.0)  # seconds, of the database
COMMAND = 60.0  # seconds


class Nemesis:
    def __init__(self, cluster: Cluster, history: History, seed: str) -> None:
        self._cluster = cluster
        self._history = history
        self._dice = random.Random(seed)
        self.faults: dict[str, int] = {}

    def run(self, seconds: float) -> None:
        """Returns when everything is whole again, but not yet recovered."""
        faults = self.possible()
        stop = threading.Event()
        end = time.monotonic() + seconds
        unseen = list(faults)
        while time.monotonic() < end:
            stop.wait(self._dice.uniform(SHORTEST, LONGEST))
            fault = self._dice.choice(unseen or faults)  # each once before any comes again
            if fault in unseen:
                unseen.remove(fault)
            self._do(fault)

    def possible(self) -> list[Callable[[], None]]:
        """Those that are twice in it come twice as often."""
        return [
            self.kill, self.kill, self.freeze, self.freeze, self.drain, self.end_sessions, self.pause_database,
            self.restart_database, self.kill_all_but_one, self.freeze_and_kill,
        ]  # fmt: skip

    def _do(self, fault: Callable[[], None]) -> None:
        name = fault.__name__
        self.faults[name] = self.faults.get(name, 0) + 1
        self._note(f"{name} begins")
        try:
            fault()
        except (psutil.Error, psycopg.Error, subprocess.SubprocessError) as error:  # it was gone already
            self._note(f"{name}: {type(error).__name__}: {error}")
        self._note(f"{name} is over")

    def _note(self, what: str) -> None:
        self._history.note("nemesis", "fault", None, what, time.monotonic())

    def _wait(self, least: float, most: float) -> None:
        threading.Event().wait(self._dice.uniform(least, most))

    def _one(self) -> str:
        return self._dice.choice(list(BACKENDS))

    # --- backends --------------------------------------------------------------------------------------------------

    def _kill(self, name: str) -> None:
        self._note(f"SIGKILL to {name}")
        self._cluster.backend(name).kill()

    def kill(self) -> None:
        self._kill(self._one())

    def kill_all_but_one(self) -> None:
        spared = self._one()
        for name in BACKENDS:
            if name != spared:
                self._kill(name)

    def freeze(self, meanwhile: Callable[[str], None] = lambda name: None) -> None:
        name = self._one()
        process = self._cluster.backend(name)
        self._note(f"SIGSTOP to {name}")
        process.suspend()
        try:
            meanwhile(name)
            self._wait(*FROZEN)
        finally:
            self._note(f"SIGCONT to {name}")
            process.resume()

    def freeze_and_kill(self) -> None:
        self.freeze(lambda frozen: self._kill(self._dice.choice([name for name in BACKENDS if name != frozen])))

    def drain(self) -> None:
        name = self._one()
        self._rookery("backend", "drain", name)
        self._wait(0.5, 3.0)
        self._rookery("backend", "undrain", name)

    def _rookery(self, *words: str) -> None:
        """It may well fail: the backend may have been killed a moment ago."""
        command = [*ROOKERY, "--site", str(self._cluster.folder), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND, check=False)
        self._note(f"{' '.join(words)}: {done.returncode} {done.stdout}{done.stderr}")

    # --- the database ----------------------------------------------------------------------------------------------

    def end_sessions(self) -> None:
        self._cluster.database.end_sessions()

    def pause_database(self) -> None:
        self._cluster.database.pause()
        try:
            self._wait(*PAUSED)
        finally:
            self._cluster.database.go_on()

    def restart_database(self) -> None:
        self._cluster.database.restart()

    def heal(self) -> None:
        """Whatever was left: all backends run and take accounts."""
        for process in self._cluster.backends().values():
            process.send_signal(signal.SIGCONT)
        for name in BACKENDS:
            self._rookery("backend", "undrain", name)


class FrontedNemesis(Nemesis):
    """The same, and what happens to frontends."""

    _cluster: Fronted

    def possible(self) -> list[Callable[[], None]]:
        return [*super().possible(), self.kill_frontend, self.kill_frontend, self.freeze_frontend]

    def _frontend(self) -> RunningSite:
        return self._cluster.frontends[self._dice.choice(list(FRONTENDS))]

    def kill_frontend(self) -> None:
        site = self._frontend()
        self._note(f"SIGKILL to {site.hostname}")
        site.kill()
        self._wait(0.0, 2.0)
        site.start()

    def freeze_frontend(self) -> None:
        site = self._frontend()
        assert site.process is not None
        self._note(f"SIGSTOP to {site.hostname}")
        site.process.send_signal(signal.SIGSTOP)
        try:
            self._wait(*FROZEN)
        finally:
            self._note(f"SIGCONT to {site.hostname}")
            site.process.send_signal(signal.SIGCONT)
