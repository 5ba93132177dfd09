"""The sites of a cluster to try: the first is founded, the others are invited and join, as an administrator does it."""

from pathlib import Path

from rookery.base.config.kinds import quote
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Keeps, Role
from rookery.management.client import Client
from rookery.management.membership import files
from rookery.management.operations.cluster import add_node, init_cluster
from rookery.management.operations.init import initialise, pool_settings
from rookery.management.operations.joining import CLUSTER_PORT, Plan, join_cluster
from rookery.management.site import Site, open_site
from rookery.management.trial.layout import DOMAIN, HOSTNAME, ONE_OF_OTHERS, Layout, Planned

JOIN_PORT = 7144


class Making:
    """In `folder`, a site for each node by its name. `database`: "" for a layout without one. May be done again: what
    is there stays. Raises RookeryError."""

    def __init__(self, folder: Path, layout: Layout, port_offset: int, database: str) -> None:
        self.folder = folder
        self.layout = layout
        self._database = database
        first = self.site(layout.first)
        known = first.config_file.is_file()
        self.port_offset = open_site(first.folder)[1].listen.port_offset if known else port_offset

    def site(self, node: Planned) -> Site:
        return Site(self.folder / node.name)

    def port(self, listener: str) -> int:
        """The same on every node."""
        return {"cluster": CLUSTER_PORT, "join": JOIN_PORT}[listener] + self.port_offset

    def found(self) -> None:
        """The first node, which is not running."""
        first = self.layout.first
        site = self.site(first)
        if site.config_file.is_file():
            self._reach(site)
        else:
            backends = [f"{name}={address}" for name, address in self.layout.backends.items()]
            pool = pool_settings(self._database, backends) if backends else {}
            initialise(
                site.folder,
                domain=DOMAIN,
                hostname=HOSTNAME,
                port_offset=self.port_offset,
                settings=pool | self._common(first),
            )
        if files(site).state() is None:
            Client(site.folder).call(init_cluster)

    def join(self) -> None:
        """The others, while the first one serves."""
        for node in self.layout.others:
            site = self.site(node)
            if site.config_file.is_file():
                self._reach(site)
            if files(site).state() is None:
                join_cluster(site.folder, self._token(node), self._plan(node))

    def _token(self, node: Planned) -> str:
        client = Client(self.site(self.layout.first).folder)
        desk = f"{self.layout.first.address}:{self.port('join')}"
        return client.call(add_node, node.name, [role.value for role in node.roles], [desk])

    def _plan(self, node: Planned) -> Plan:
        near = [one.address for one in (*self.layout.others, self.layout.first) if Role.DIRECTORY in one.roles]
        shared = self._database if self.layout.shared and node.keeps is not Keeps.NOTHING else ""
        return Plan(
            hostname=node.hostname,
            domain=DOMAIN,
            port_offset=self.port_offset,
            directory=[f"{address}:{self.port('cluster')}" for address in near if address != node.address],
            pool=node.name if node.keeps is Keeps.MAIL else "",
            shared=shared,
            copy=node.keeps is Keeps.DIRECTORY and not shared,
            listen=[node.address],
            settings=self._common(node),
        )

    def _common(self, node: Planned) -> dict[str, object]:
        pool: dict[str, object] = {"store.pool": node.name} if node.keeps is Keeps.MAIL else {}
        here: dict[str, object] = (
            {} if node is self.layout.first and self.layout.backends else {"listen.addresses": (node.address,)}
        )
        return {"log.file": "rookery.log", "http.address": node.address, **pool, **here}

    def _reach(self, site: Site) -> None:
        """The socket of the server may be elsewhere this time."""
        before = open_site(site.folder)[1].directory.database
        if before and before != self._database:
            text = site.config_file.read_text(encoding="utf-8")
            site.config_file.write_text(text.replace(quote(before), quote(self._database)), encoding="utf-8")


def refuse_other(folder: Path, layout: Layout) -> None:
    """Raises RookeryError(IN_USE) for the folder of a cluster of the other kind, or of an older release."""
    sites = {path.parent.name for path in folder.glob("*/rookery.toml")}
    if sites and (layout.first.name not in sites or sites & (ONE_OF_OTHERS - {node.name for node in layout.nodes})):
        raise RookeryError(Cause.IN_USE, f"{folder} is another kind of cluster; give another folder, or remove it")
