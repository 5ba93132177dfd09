"""/metrics: the process's meters and a few gauges, as Prometheus text (made by prometheus-client)."""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from rookery.base import log, meters
from rookery.base.errors import RookeryError
from rookery.management.http import Page

PREFIX = "rookery_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Events of the log that are figures of their own: (component, event) -> name, label, value.
EVENTS = {
    ("smtp", "accepted"): ("accepted", "listener", "smtp"),
    ("submission", "accepted"): ("accepted", "listener", "submission"),
    ("lmtp", "delivered"): ("stored", "", ""),
    ("queue", "delivered"): ("deliveries", "fate", "delivered"),
    ("queue", "relayed"): ("deliveries", "fate", "relayed"),
    ("queue", "deferred"): ("deliveries", "fate", "deferred"),
    ("queue", "failed"): ("deliveries", "fate", "failed"),
    ("auth", "login"): ("logins", "result", "good"),
    ("auth", "login-failed"): ("logins", "result", "failed"),
    ("imap", "referred"): ("referrals", "", ""),
    ("placement", "found-dead"): ("backends_found_dead", "", ""),
    ("placement", "account-lost"): ("accounts_lost", "", ""),
    ("net", "connection-refused"): ("connections_refused", "", ""),
}
_TEXTS = {
    "accepted": "Messages answered with 250 after their data.",
    "stored": "Messages stored in mailboxes by LMTP, by the queue and by others.",
    "deliveries": "What attempts to deliver did to recipients.",
    "logins": "Logins, by result.",
    "referrals": "Logins that were sent to the backend that hosts the account.",
    "backends_found_dead": "Other backends whose death this one recorded.",
    "accounts_lost": "Accounts that this backend hosted, and another has, or may have, now.",
    "connections_refused": "Addresses that began to be refused for too many connections.",
}

Gauge = tuple[str, str, dict[str, float]]  # name, text, value by label ("" when there is only one)


class _Collector:
    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily] = {}
        for counter in meters.counters():
            family = families.get(counter.name)
            if family is None:
                labels = [counter.label[0]] if counter.label else []
                family = families[counter.name] = CounterMetricFamily(
                    PREFIX + counter.name, counter.text, labels=labels
                )
            family.add_metric([counter.label[1]] if counter.label else [], counter.value)
        failures = CounterMetricFamily(PREFIX + "failures", "Refusals, by whose doing they were.", labels=["fault"])
        for fault, count in log.failures.items():
            failures.add_metric([fault.value], count)
        yield from families.values()
        yield failures
        yield from _events()
        for histogram in meters.histograms():
            yield _histogram(histogram)
        for name, text, values in self._gauges:
            gauge = GaugeMetricFamily(PREFIX + name, text, labels=[] if "" in values else ["name"])
            for label, value in values.items():
                gauge.add_metric([label] if label else [], value)
            yield gauge


def _events() -> Iterator[Metric]:
    counts = log.counts()
    named: dict[str, CounterMetricFamily] = {}
    for key, (name, label, value) in EVENTS.items():
        family = named.get(name)
        if family is None:
            family = named[name] = CounterMetricFamily(PREFIX + name, _TEXTS[name], labels=[label] if label else [])
        family.add_metric([value] if label else [], counts.get(key, 0))
    yield from named.values()
    every = CounterMetricFamily(PREFIX + "events", "Events above debug, logged or not.", labels=["component", "event"])
    for (component, event), count in counts.items():
        every.add_metric([component, log.clean(event)], count)
    yield every


def _histogram(histogram: meters.Histogram) -> HistogramMetricFamily:
    reached, buckets = 0, []
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        reached += count
        buckets.append((bound, float(reached)))
    return HistogramMetricFamily(PREFIX + histogram.name, histogram.text, buckets=buckets, sum_value=histogram.total)


class Metrics:
    """`gauges` are asked at every scrape for what is counted elsewhere: queue length, connections, what waits. Those
    that need a database that is away are left out: the others are wanted most then.
    """

    def __init__(self, *gauges: Callable[[], Awaitable[Iterable[Gauge]]]) -> None:
        self._gauges = gauges
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    async def page(self) -> Page:
        registry, found = CollectorRegistry(), list[Gauge]()
        for ask in self._gauges:
            with contextlib.suppress(RookeryError):
                found += await ask()
        registry.register(_Collector(found))
        return Page(200, CONTENT_TYPE, generate_latest(registry) + generate_latest(self._process))
