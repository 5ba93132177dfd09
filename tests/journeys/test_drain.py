"""A backend is drained that has every account open, with clients and senders at work: nobody loses anything, and each
is sent where the account is then. How long that takes is measured by `python -m bench.drain`.
"""

import asyncio
from pathlib import Path

import pytest

from tests.journeys.cluster import Cluster, running_cluster
from tests.journeys.crowd import PATIENCE, Crowd
from tests.journeys.waiting import wait_until

pytestmark = pytest.mark.postgres

ACCOUNTS, WRITING, ASKING = 40, 8, 8
DRAINED = "b2"


async def _drained(cluster: Cluster) -> None:
    crowd = Crowd(cluster, DRAINED, writing=WRITING, asking=ASKING)
    await crowd.log_in()
    assert _hosted(cluster)[DRAINED] == ACCOUNTS
    async with crowd.at_work():
        await asyncio.to_thread(cluster.rookery, "backend", "drain", DRAINED)
        await crowd.all_moved(PATIENCE)
    hosted = _hosted(cluster)
    assert hosted[DRAINED] == 0
    assert sum(hosted.values()) == ACCOUNTS
    assert all(program.referrals for program in crowd.writing + crowd.idle)
    wait_until(lambda: not cluster.json("queue", "list"), "the queue to be empty")
    assert not await crowd.complaints()


def _hosted(cluster: Cluster) -> dict[str, int]:
    """How many accounts each backend hosts."""
    return {row["backend"]: row["accounts"] for row in cluster.json("backend", "list")}


def test_drain_under_load(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "site", ACCOUNTS) as cluster:
        asyncio.run(_drained(cluster))
