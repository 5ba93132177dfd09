"""When another backend is dead. An engine: beats and times come in, verdicts go out.

A backend is dead when its counter stood still for DEAD seconds of this watcher's own time, or for SILENT and a probe
of it failed too, while this watcher's own beats succeeded without a gap: a gap, or a beat that failed, restarts all
watches, else the first backend back after a pause of the database would take everybody's accounts. A refused
connection is a failed probe and no more: a cut between two backends alone kills neither.

Interleaving alone makes a healthy counter look still for one interval, and one short pause for two; hence three.
"""

from collections.abc import Iterable

import msgspec

from rookery.distribution.placement.values import INTERVAL

GAP = 2 * INTERVAL  # seconds between the sendings of two beats that restart the watches
PROBE = INTERVAL  # of silence until it is probed, so that there is time for an answer from far away
QUIET = 2 * INTERVAL  # more than a healthy one is silent
SILENT = 3 * INTERVAL  # and dead, if the probe failed
DEAD = 1.0


class Verdict(msgspec.Struct, frozen=True):
    """probe: incarnations to ask whether they are there. dead: incarnation, and the counter it was seen with."""

    probe: tuple[int, ...] = ()
    dead: tuple[tuple[int, int], ...] = ()


class _Watched:
    __slots__ = ("beat", "failed", "probing", "since")

    def __init__(self) -> None:
        self.moved(-1, 0.0)

    def moved(self, beat: int, since: float) -> None:
        self.beat = beat
        self.since = since
        self.probing = self.failed = False


class Watch:
    __slots__ = ("_sent", "_watched")

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}
        self._sent: float | None = None

    def clear(self) -> None:
        """A beat failed: what was seen before it says nothing."""
        self._watched.clear()
        self._sent = None

    def beaten(self, sent: float, got: float, others: Iterable[tuple[int, int]]) -> Verdict:
        """An own beat was confirmed, sent and answered at these times; `others`: incarnations and their counters."""
        if self._sent is not None and sent - self._sent >= GAP:
            self.clear()
        self._sent = sent
        before, self._watched = self._watched, {}
        probe, dead = [], []
        for incarnation, beat in others:
            watched = self._watched[incarnation] = before.get(incarnation) or _Watched()
            if watched.beat != beat:
                watched.moved(beat, got)
                continue
            still = sent - watched.since  # the shortest that it can have been
            if still >= DEAD or (still >= SILENT and watched.failed):
                dead.append((incarnation, beat))
            elif still >= PROBE and not watched.probing and not watched.failed:
                watched.probing = True
                probe.append(incarnation)
        return Verdict(tuple(probe), tuple(dead))

    def probed(self, incarnation: int, beat: int, answered: bool) -> None:
        """What became of a probe that began when the counter was `beat`."""
        watched = self._watched.get(incarnation)
        if watched is not None and watched.beat == beat and watched.probing:
            watched.probing = False
            watched.failed = not answered

    def beat(self, incarnation: int) -> int:
        return self._watched[incarnation].beat

    def silence(self, incarnation: int, now: float) -> float | None:
        """Seconds since its counter was first seen where it is; None: not watched yet."""
        watched = self._watched.get(incarnation)
        return None if watched is None else max(0.0, now - watched.since)
