"""The event loop gives way to the writer.

A saturated asyncio loop starves a writer thread of the GIL: CPython hands it over only when asked for `switchinterval`,
and the writer must ask again after every call that released it. While a writer has work the
loop therefore gives the GIL up on purpose, about half a millisecond for each millisecond of its own.
bench/commit_latency.py has the figures.
"""

import threading
import time

WORK = 0.001  # seconds of loop work between two rests
REST = 0.0005  # seconds


class Gate:
    """Shared by all writers of a process and everything that runs on its event loop."""

    __slots__ = ("_lock", "_open", "_rested")

    def __init__(self) -> None:
        self._open = 0
        self._lock = threading.Lock()
        self._rested = 0.0

    def open(self) -> None:
        """A writer has work: from the first item that waits, because waking up needs the GIL too. Any thread."""
        with self._lock:
            self._open += 1

    def close(self) -> None:
        """It has none left."""
        with self._lock:
            self._open -= 1

    def give_way(self) -> None:
        """Called by the event loop at every piece of work; costs next to nothing while no writer has work."""
        if self._open and time.perf_counter() - self._rested > WORK:
            time.sleep(REST)
            self._rested = time.perf_counter()
