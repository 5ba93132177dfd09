"""Counters and histograms of the process, for /metrics: plain numbers that a component adds to as it works.

    _accepted = counter("smtp_accepted", "Messages answered with 250 after their data.")
    _accepted.add()

A name is made once, at import; values start at 0 with the process. Adding costs an attribute and an addition, takes no
lock, and may lose a step when two threads add to the same one at once: give each thread's work a meter of its own.
"""

from bisect import bisect_left
from collections.abc import Sequence

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds
SIZE_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)  # members of a batch


class Counter:
    """Only rises. `label` tells counters of one name apart, as ("protocol", "imap")."""

    __slots__ = ("label", "name", "text", "value")

    def __init__(self, name: str, text: str, label: tuple[str, str] | None) -> None:
        self.name, self.text, self.label = name, text, label
        self.value = 0

    def add(self, amount: int = 1) -> None:
        self.value += amount


class Histogram:
    """How many observations fell at or below each bound; the last count is of those above all."""

    __slots__ = ("bounds", "counts", "name", "text", "total")

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self.name, self.text, self.bounds = name, text, tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


_counters: dict[tuple[str, tuple[str, str] | None], Counter] = {}
_histograms: dict[str, Histogram] = {}


def counter(name: str, text: str, label: tuple[str, str] | None = None) -> Counter:
    """The one counter of that name and label, made at its first use."""
    found = _counters.get((name, label))
    if found is None:
        found = _counters.setdefault((name, label), Counter(name, text, label))
    return found


def histogram(name: str, text: str, bounds: Sequence[float] = LATENCY_BUCKETS) -> Histogram:
    """The one histogram of that name, made at its first use."""
    found = _histograms.get(name)
    if found is None:
        found = _histograms.setdefault(name, Histogram(name, text, bounds))
    return found


def counters() -> list[Counter]:
    return sorted(_counters.values(), key=lambda c: (c.name, c.label or ("", "")))


def histograms() -> list[Histogram]:
    return sorted(_histograms.values(), key=lambda h: h.name)
