"""The event loop gives way to the writer.

A saturated asyncio loop starves a writer thread of the GIL: CPython hands it over only when asked for `switchinterval`,
and the writer must ask again after every call that released it, of which a batch makes dozens. So while a writer is
among its rules (its turn) the loop stands still; while it waits for a disk the loop works, and rests for a moment
now and then, for the writer may be back and needs the GIL to say so. bench/commit_latency.py has the figures.
"""

import threading
import time

WORK = 0.0005  # seconds of loop work between two rests
REST = 0.00005  # seconds
PATIENCE = 0.005  # seconds that the loop stands still at most: a batch of heavy work takes longer


class Gate:
    """Shared by all writers of a process and everything that runs on its event loop.

    `turn`: a writer holds it while it runs rules, and not while it flushes or commits. One writer at a time, as the GIL
    would have it anyway.
    """

    __slots__ = ("_again", "_lock", "_open", "_rested", "turn")

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self._open = 0
        self._lock = threading.Lock()
        self._rested = 0.0  # when the loop last stood still
        self._again = 0.0  # not before it stands still for a turn again: it has its share of heavy work's time

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
        if not self._open:
            return
        now = time.perf_counter()
        if self.turn.locked() and now >= self._again:
            if self.turn.acquire(timeout=PATIENCE):
                self.turn.release()
            else:
                self._again = now + 2 * PATIENCE
            self._rested = time.perf_counter()
        elif now - self._rested > WORK:
            time.sleep(REST)
            self._rested = time.perf_counter()
