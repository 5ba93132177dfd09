"""All nodes of a cluster are restarted, one after the other, with clients and senders at work: nobody notices more than
a closed connection.
"""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from tests.journeys.cluster import BACKENDS
from tests.journeys.fronted import FRONTENDS, Fronted, running_fronted
from tests.journeys.rolling import SETTLED, Load
from tests.journeys.waiting import wait_until

pytestmark = pytest.mark.postgres

ACCOUNTS = 5


def _restart(cluster: Fronted, name: str) -> None:
    """By SIGTERM; whoever supervises it starts it again."""
    former = cluster.backend(name)
    former.terminate()

    def ready() -> bool:
        process = cluster.backends().get(name)
        if process is None or process.pid == former.pid:
            return False
        said = f"backend-ready backend={name} process={process.pid}"
        return any(line.endswith(said) for line in cluster.log_text().splitlines())

    wait_until(ready, f"backend {name} to be ready again")


async def _rolled(cluster: Fronted) -> None:
    load = Load(cluster)
    async with load.at_work():
        await asyncio.sleep(SETTLED)
        for name in BACKENDS:
            await load.during(f"backend {name}", partial(_restart, cluster, name))
        for name in FRONTENDS:
            await load.during(f"frontend {name}", cluster.frontends[name].restart)
    await load.judge()


def test_nobody_notices_that_all_nodes_are_restarted(tmp_path: Path) -> None:
    with running_fronted(tmp_path / "site", ACCOUNTS) as cluster:
        asyncio.run(_rolled(cluster))
