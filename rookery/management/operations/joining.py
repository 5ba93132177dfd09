"""`rookery node join`: a folder becomes a node of a cluster.

One that is a site already only becomes a member. A new one is made to be a frontend, a machine of a dynamic pool, a
static pool, or a node with the directory only, and holds no more than such a one needs.
"""

import asyncio
import datetime
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rookery.base.clock import SystemClock
from rookery.base.config import Config
from rookery.base.config.kinds import LISTEN_ADDRESS, NAME, parse_endpoint, parse_host_name
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Keeps, Member
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.cluster import tokens
from rookery.distribution.cluster.joining import join
from rookery.distribution.directory.values import PoolKind
from rookery.management.certificates import make_self_signed
from rookery.management.desk import ask
from rookery.management.keeping import DIRECTORY
from rookery.management.membership import files
from rookery.management.operations.init import initialise, pool_settings
from rookery.management.site import Site, open_site, refuse_in_use, write_config
from rookery.storage.gate import Gate

CLUSTER_PORT = 7143
FOR_GOOD = frozenset({Cause.DENIED, Cause.INVALID, Cause.EXISTS})  # trying again with the same words is of no use


@dataclass(frozen=True, slots=True)
class Plan:
    """A new folder, as the options of the command say. `database`: of a dynamic pool; `shared`: of the directory;
    `copy`: it keeps a copy of that. `listen`: addresses, none: all; `own_domain`: of its pool alone;
    `settings`: more of them, typed, by key."""

    hostname: str = "localhost"
    domain: str = ""
    port_offset: int = 0
    directory: Sequence[str] = ()
    upstream: Sequence[str] = ()
    inner: bool = False
    pool: str = ""
    database: str = ""
    backends: Sequence[str] = ()
    shared: str = ""
    copy: bool = False
    own_domain: str = ""
    listen: Sequence[str] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def keeps(self) -> Keeps:
        if self.database or self.pool or self.backends:
            return Keeps.MAIL
        return Keeps.DIRECTORY if self.shared or self.copy else Keeps.NOTHING

    @property
    def copies(self) -> bool:
        """A static pool without a database has a copy."""
        return self.copy or (self.keeps is Keeps.MAIL and not self.database and not self.shared)


def join_cluster(folder: Path, token: str, plan: Plan) -> Member:
    """May be tried again. Raises RookeryError: EXISTS, INVALID, DENIED, UNAVAILABLE (the authority)."""
    parsed = tokens.parse(token)
    site = Site(folder.absolute())
    made = not site.config_file.is_file()
    existed = site.folder.exists()
    if made:
        refuse_in_use(folder)
        _make(site, plan)
    try:
        keeps = kept(site) if files(site).state() is None else ""
        return asyncio.run(join(parsed, files(site), ask, keeps))
    except RookeryError as error:
        if made and error.cause in FOR_GOOD:  # half a node would only be in the way of the next attempt
            shutil.rmtree(site.folder)
            if existed:
                site.folder.mkdir(mode=0o700)
        raise


def kept(site: Site) -> Keeps:
    """What the folder is made to keep. Raises RookeryError: INVALID for a site whose accounts no other node sees."""
    config = open_site(site.folder)[1]
    if config.store.database or site.store.is_dir():
        if not config.directory.database and not config.directory.replica:
            raise RookeryError(
                Cause.INVALID,
                "the accounts of this site are in its own folder, where no other node sees them; a node with mail has"
                " the directory of the cluster: give it directory.database or directory.replica",
            )
        return Keeps.MAIL
    return Keeps.DIRECTORY if config.directory.database or config.directory.replica else Keeps.NOTHING


def _make(site: Site, plan: Plan) -> None:
    try:
        settings = _settings(plan)
    except ValueError as error:
        raise RookeryError(Cause.INVALID, str(error)) from error
    if plan.keeps is Keeps.MAIL:
        if not plan.domain:
            raise RookeryError(Cause.INVALID, "--domain: a node with mail needs it, as the other nodes have it")
        initialise(
            site.folder,
            domain=plan.domain,
            hostname=plan.hostname,
            port_offset=plan.port_offset,
            settings=settings,
        )
        return
    if plan.keeps is Keeps.NOTHING and not plan.directory and not plan.upstream:
        raise RookeryError(Cause.INVALID, "--directory: a frontend needs the cluster port of a directory node")
    try:
        names = [parse_host_name(text) for text in (plan.hostname, plan.domain) if text]
    except ValueError as error:
        raise RookeryError(Cause.INVALID, str(error)) from error
    _make_folders(site)
    settings |= {"site.hostname": plan.hostname, "listen.port_offset": plan.port_offset}
    write_config(site, settings | ({"site.domain": plan.domain} if plan.domain else {}))
    make_self_signed(site.tls / "cert.pem", site.tls / "key.pem", names, datetime.datetime.now(datetime.UTC))


def _settings(plan: Plan) -> dict[str, object]:
    """Beside names and ports. Raises ValueError, RookeryError."""
    endpoints = tuple(parse_endpoint(text, CLUSTER_PORT) for text in plan.directory)
    settings: dict[str, object] = {"cluster.directory": endpoints} if endpoints else {}
    if plan.upstream:
        settings["cluster.upstream"] = tuple(parse_endpoint(text, CLUSTER_PORT) for text in plan.upstream)
    if plan.inner:
        settings["cluster.inner"] = True
    if plan.listen:
        settings["listen.addresses"] = tuple(LISTEN_ADDRESS.read(text) for text in plan.listen)
    if plan.database or plan.backends:
        settings |= pool_settings(plan.database, plan.backends)
    if plan.shared:
        settings["directory.database"] = plan.shared
    if plan.copies:
        if not endpoints or plan.shared or plan.database:
            raise RookeryError(
                Cause.INVALID,
                "--directory: a node with a copy of the directory needs the cluster port of its primary, and no"
                " database for it; other nodes with mail need --directory-database or --database",
            )
        settings["directory.replica"] = True
    if plan.keeps is Keeps.MAIL:
        if plan.copies and not plan.pool:
            raise RookeryError(Cause.INVALID, "--pool: a static pool needs a name that no other has")
        pool = plan.pool or asyncio.run(_pool_of(plan.shared or plan.database))
        settings["store.pool"] = NAME.read(pool)
        if plan.own_domain:
            settings["site.own_domain"] = parse_host_name(plan.own_domain)
    elif plan.own_domain:
        raise RookeryError(Cause.INVALID, "--own-domain: its accounts are on this node, and it is made to keep no mail")
    return {**settings, **plan.settings}


async def _pool_of(database: str) -> str:
    """The name of the one dynamic pool in that directory."""
    from rookery.distribution.directory.shared import open_shared_directory  # needs a database client

    hasher = Hasher(1)
    directory = open_shared_directory(database, clock=SystemClock(), gate=Gate(), hasher=hasher, schema=DIRECTORY)
    try:
        names = [pool.name for pool in directory.pools() if pool.kind is PoolKind.DYNAMIC]
    finally:
        await directory.close()
        hasher.close()
    if len(names) > 1:
        raise RookeryError(Cause.INVALID, f"--pool: there are several dynamic pools, {', '.join(names)}; name one")
    return names[0] if names else Config().store.pool


def _make_folders(site: Site) -> None:
    try:
        for part in (site.folder, site.tls):
            part.mkdir(mode=0o700, parents=part is site.folder, exist_ok=True)
        site.folder.chmod(0o700)
    except OSError as error:
        raise RookeryError(Cause.DENIED, f"{site.folder} cannot be made: {error.strerror or error}") from error
