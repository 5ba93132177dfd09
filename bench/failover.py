"""How long an account is away when its backend dies or hangs: from the signal to the next login elsewhere.

python -m bench.failover [--times 3] [--chart FILE.svg]

A site of three backends on PostgreSQL. The host of an account is killed; or stopped, as a machine that hangs; or first
stopped in the middle of a transaction, with the account's row locked in the database, in each state in which that can
be (tests/journeys/wiretap.py), and then left stopped or killed. A client asks the two others in turn, 50 times a
second, with a password that neither has seen. `--times`: of each kind, but "stopped" twice and "killed" four times as
often.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.report import dots, spread
from tests.journeys.cluster import BACKENDS, Cluster
from tests.journeys.imap import Client, append, marks
from tests.journeys.tapped import Tapped, tapped_cluster
from tests.journeys.wiretap import STATES

HEADING = f"{'to the next login, ms':<36} {'number':>6} {'median':>8} {'p90':>8} {'p99':>8} {'most':>8}"
UNIT = "milliseconds from the signal to the next login, elsewhere; line: median"
WITHIN = 30.0  # seconds


class Failover:
    """One account after another, each of a backend that has it open."""

    def __init__(self, cluster: Cluster, tap: Tapped) -> None:
        self._cluster, self._tap = cluster, tap
        self._accounts: Iterator[str] = iter(cluster.passwords)

    def _away(self, state: str, *, kill: bool, stop: bool) -> float:
        account = next(self._accounts)
        client, host = self._cluster.log_in(account)
        append(client, "acknowledged")
        process = self._cluster.backend(host)
        if state:
            self._in_mid_transaction(client, process.pid, state)
        began = time.monotonic()
        if stop and not state:
            process.suspend()
        if kill:
            process.kill()
        again, there = self._cluster.log_in(account, *(name for name in BACKENDS if name != host), within=WITHIN)
        took = time.monotonic() - began
        if marks(again, "acknowledged") != 1 or marks(again, "not acknowledged"):
            raise RuntimeError(f"{account} is not whole at {there}")
        again.close()
        client.close()
        self._tap.go_on()
        if not kill:
            process.resume()
        self._cluster.wait_until_served()
        return took

    def _in_mid_transaction(self, client: Client, pid: int, state: str) -> None:
        self._tap.stop_in(pid, state)
        client.send("APPEND INBOX", b"Subject: not acknowledged\r\n\r\nx\r\n")
        self._tap.stopped()

    def measure(self, name: str, times: int, *, state: str = "", kill: bool = False, stop: bool = False) -> list[float]:
        """Milliseconds."""
        found = [self._away(state, kill=kill, stop=stop) * 1000 for _ in range(times)]
        print(f"{name:<36} {spread(found)}", flush=True)
        return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.failover", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--chart", type=Path, default=Path(__file__).parent / "results" / "failover.svg")
    given = parser.parse_args()
    kinds = 4 + 2 + 2 * len(STATES)
    with (
        tempfile.TemporaryDirectory(prefix="rookery-bench-") as folder,
        tapped_cluster(Path(folder), kinds * given.times) as (cluster, tap),
    ):
        failover = Failover(cluster, tap)
        print(f"load {os.getloadavg()[0]:.1f}\n{HEADING}")
        found = {
            "killed": failover.measure("killed", 4 * given.times, kill=True),
            "stopped": failover.measure("stopped", 2 * given.times, stop=True),
        }
        for state in STATES:
            for end, kill in ((", stopped", False), (", killed", True)):
                found[state + end] = failover.measure(state + end, given.times, state=state, kill=kill)
        every = [one for times in found.values() for one in times]
        print(f"{'all':<36} {spread(every)}\nload {os.getloadavg()[0]:.1f}")
    dots(found, given.chart, UNIT, "A backend dies or hangs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
