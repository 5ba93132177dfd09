"""How long each account is away while a backend is drained that has all of them open, under load.

python -m bench.drain [--accounts 1000] [--writing 20]

A site of three backends on PostgreSQL, with a mail program for each account at one of them. The pause of an account
begins with the last word of its old host (BYE), or with the command that it did not answer. It ends, for a tenth of the
accounts, when a delivery finds it open elsewhere; for the others when the program is in again: it connects where it
was, follows the referral, proves its password to a backend that has never seen it, and its SELECT is answered.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench.report import spread
from tests.journeys.cluster import Cluster, running_cluster
from tests.journeys.crowd import Crowd
from tests.journeys.waiting import wait_until

DRAINED = "b1"
BEFORE = 2.0  # seconds at work before the drain
PATIENCE = 600.0  # seconds
HEADING = f"{'pause of an account, ms':<32} {'number':>6} {'median':>8} {'p90':>8} {'p99':>8} {'most':>8}"


async def measure(cluster: Cluster, writing: int) -> list[str]:
    """Prints the pauses; returns what is wrong with what was acknowledged."""
    crowd = Crowd(cluster, DRAINED, writing=writing, asking=len(cluster.passwords) // 10)
    began = time.monotonic()
    await crowd.log_in()
    print(f"{len(crowd.everybody)} logged in after {time.monotonic() - began:.1f} s", flush=True)
    async with crowd.at_work():
        await asyncio.sleep(BEFORE)
        began, before = time.monotonic(), len(crowd.acknowledged)
        await asyncio.to_thread(cluster.rookery, "backend", "drain", DRAINED)
        took = time.monotonic() - began
        print(f"drained after {took:.1f} s, while {(len(crowd.acknowledged) - before) / took:.0f} messages/s came")
        await crowd.all_moved(PATIENCE)
    print(HEADING)
    for name, programs in (
        ("until a delivery finds it open", crowd.asking),
        ("of a program in IDLE", crowd.idle),
        ("of a program that writes", crowd.writing),
    ):
        print(f"{name:<32} {spread([program.pauses[0] * 1000 for program in programs])}", flush=True)
    wait_until(lambda: not cluster.json("queue", "list"), "the queue to be empty")
    complaints = await crowd.complaints()
    print("\n".join(complaints) or f"all {len(crowd.acknowledged)} acknowledged messages are there, once")
    return complaints


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.drain", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--writing", type=int, default=20, help="of them, that write all the time")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="rookery-bench-") as folder,
        running_cluster(Path(folder) / "site", given.accounts, limits__connections_per_address="12000") as cluster,
    ):
        complaints = uvloop.run(measure(cluster, given.writing))
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
