"""All nodes of a cluster are restarted, or become ones of the next release, one after the other, with clients and
senders at work: nobody notices more than a closed connection.
"""

import asyncio
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.journeys.cluster import BACKENDS, running_server
from tests.journeys.fronted import FRONTENDS, Fronted, running_fronted
from tests.journeys.rolling import SETTLED, Load
from tests.journeys.test_two_releases import TREE, Releases, make_release
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


class Upgraded(Releases, Fronted):
    """All of this release at first: backends that are started one by one, and frontends."""

    def restart(self) -> None:
        self.end("b1", signal.SIGTERM)
        for name in BACKENDS:
            self.serve(name, TREE)

    def upgrade(self, name: str, tree: Path) -> None:
        if name in BACKENDS:
            assert self.end(name, signal.SIGTERM) == 0
            self.serve(name, tree)
        else:
            assert self.frontends[name].stop() == 0
            self.frontends[name].start(environment={"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"})

    def kill(self) -> None:
        for site in self.frontends.values():
            site.kill()
        super().kill()

    def releases(self) -> dict[str, str]:
        """Of all processes."""
        nodes = self.json("cluster", "status")["nodes"]
        return {one["node"] if one["node"] in FRONTENDS else one["backend"]: one["release"] for one in nodes}


async def _upgraded(cluster: Upgraded, following: Path) -> None:
    load = Load(cluster)
    async with load.at_work():
        await asyncio.sleep(SETTLED)
        for name in BACKENDS:
            await load.during(f"backend {name}", partial(cluster.upgrade, name, following))
        found = await asyncio.to_thread(cluster.releases)
        assert found == dict.fromkeys(BACKENDS, "0.2.0") | dict.fromkeys(FRONTENDS, "0.1.0")
        for name in FRONTENDS:
            await load.during(f"frontend {name}", partial(cluster.upgrade, name, following))
    await load.judge()
    assert set(cluster.releases().values()) == {"0.2.0"}


@pytest.mark.soak
def test_nor_that_all_become_the_next_release(tmp_path: Path) -> None:
    following = make_release(tmp_path / "next", "0.2.0", 98, "0.1.0")
    with running_server() as database:
        cluster = Upgraded(tmp_path / "site", database)  # type: ignore[arg-type]
        try:
            cluster.set_up(ACCOUNTS)
            asyncio.run(_upgraded(cluster, following))
        finally:
            cluster.kill()
