"""The cluster of `cluster.py` behind two frontends, through which its clients come: processes of sites of their own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.journeys.cluster import BACKENDS, Cluster, PostgresServer, running_server
from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until

FRONTENDS = {"f1": "127.0.1.11", "f2": "127.0.1.12"}
FIRST = next(iter(BACKENDS.values()))  # where the authority is


class Fronted(Cluster):
    """`frontends`: their sites, by name. All nodes have the same ports, each on its own address."""

    def __init__(self, folder: Path, database: PostgresServer) -> None:
        super().__init__(folder, database)
        self.frontends: dict[str, RunningSite] = {}

    def set_up(self, accounts: int, **settings: str) -> None:
        super().set_up(accounts, **settings)
        self.rookery("cluster", "init")
        self.restart()
        for name, address in FRONTENDS.items():
            self._join(name, address)
        self.doors = dict(FRONTENDS)

    def _join(self, name: str, address: str) -> None:
        desk = f"{FIRST}:{self.ports['join']}"
        roles = ["--role", "frontend", "--role", "mx-in"]
        token = self.rookery("node", "add", name, *roles, "--address", desk).stdout.strip()
        site = self.frontends[name] = RunningSite(self.folder.parent / name, hostname=f"{name}.{self.domain}")
        site.offset, site.ports = self.offset, self.ports
        directory = [word for host in BACKENDS.values() for word in ("--directory", f"{host}:{self.ports['cluster']}")]
        here = ["--listen", address, "--port-offset", str(self.offset)]
        site.rookery("node", "join", token, *directory, "--hostname", site.hostname, *here)
        site.configure(http__address=f'"{address}"', limits__before_login="100")
        site.start()

    def kill(self) -> None:
        for site in self.frontends.values():
            site.kill()
        super().kill()

    def wait_until_steady(self) -> None:
        super().wait_until_steady()
        for name in FRONTENDS:
            wait_until(lambda at=name: self._greets(at), f"frontend {name} to serve")  # type: ignore[misc]


@contextlib.contextmanager
def running_fronted(folder: Path, accounts: int, **settings: str) -> Iterator[Fronted]:
    """Everything it started has ended when it returns."""
    with running_server() as database:
        cluster = Fronted(folder, database)
        try:
            cluster.set_up(accounts, **settings)
            yield cluster
        finally:
            cluster.kill()
