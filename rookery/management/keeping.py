"""Opens what keeps a node's data: mail, directory and queue, each in the folder of the site or on PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Protocol

from rookery.base.clock import Clock
from rookery.base.config import Config
from rookery.base.config.tree import Share
from rookery.base.ids import AccountId, pooled, short_id, system_random
from rookery.base.members import Role
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.opening import open_directory
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.placement.heartbeat import Surroundings
from rookery.distribution.placement.placement import Placement
from rookery.distribution.placement.static import StaticPlacement
from rookery.distribution.placement.values import Backend, Location
from rookery.distribution.spool.opening import open_spool
from rookery.distribution.spool.spool import Spool
from rookery.management.bodies import elsewhere
from rookery.management.site import Site
from rookery.storage.gate import Gate
from rookery.storage.hosting import application
from rookery.storage.store import Store, StoreSettings

STORE, DIRECTORY, SPOOL = "store", "directory", "spool"  # schemas

Observe = Callable[[float, int], None]


class Placing(Protocol):
    """Which backend hosts an account; see distribution/placement."""

    def here(self, account: AccountId) -> bool: ...

    async def locate(self, account: AccountId) -> Location: ...

    def may_read(self) -> bool: ...

    async def fresh(self) -> None: ...

    async def release(self, account: AccountId) -> None: ...

    async def drain(self) -> None: ...

    async def leave(self) -> None: ...

    def undrain(self) -> None: ...

    @property
    def draining(self) -> bool: ...

    def hosted(self) -> dict[AccountId, int]: ...

    def living(self) -> set[str]: ...

    def takers(self) -> list[tuple[str, str]]: ...

    async def backends(self) -> list[Backend]: ...


async def open_mail(
    site: Site,
    config: Config,
    backend: str,
    *,
    settle: Callable[[AccountId], Awaitable[None]],
    clock: Clock,
    gate: Gate,
    settings: StoreSettings,
    observe: Observe,
    opened: AsyncExitStack,
) -> tuple[Store, Placing]:
    """The mail store, and who hosts what of it. `settle`: wait until nothing is under way for an account that is to
    be given away. `opened` closes both.
    """
    random = pooled(system_random)
    address = backend_address(config, backend)
    if not config.store.database:
        store = await Store.open(
            site.store, clock=clock, random=random, gate=gate, settings=settings, observe=observe
        )  # fmt: skip
        opened.push_async_callback(store.close)
        return store, StaticPlacement(backend, address, store.moved)
    from rookery.distribution.placement.database import DatabasePool  # needs a database client

    pool = await asyncio.to_thread(DatabasePool, config.store.database, STORE, clock=clock)
    opened.callback(pool.close)
    made: list[Store] = []  # placement is asked by the store, and asks it
    placement = Placement(
        pool,
        backend=backend,
        address=address,
        around=Surroundings(stuck=lambda: made[0].writer.stuck() if made else 0.0, probe=answers),
        renamed=lambda name: made[0].rename(name),
    )
    store = await Store.open_shared(
        config.store.database,
        site.own(backend),
        application=application(0),
        hosting=placement,
        clock=clock,
        random=random,
        gate=gate,
        settings=settings,
        observe=observe,
        schema=STORE,
        bodies=elsewhere(site, config),
    )
    made.append(store)
    opened.push_async_callback(store.close)
    placement.attach(store, settle)
    placement.start()
    opened.push_async_callback(placement.close)
    return store, placement


async def open_queue(site: Site, config: Config, backend: str, *, clock: Clock, gate: Gate) -> Spool:
    if not config.queue.database:
        return await open_spool(site.spool, clock=clock, gate=gate)
    from rookery.distribution.spool.shared import open_shared_spool

    staging = site.own(backend) / "queue"
    return await open_shared_spool(
        config.queue.database, staging, holder=f"{backend}/{short_id()}", clock=clock, gate=gate, schema=SPOOL
    )  # fmt: skip


def open_accounts(
    site: Site,
    config: Config,
    *,
    clock: Clock,
    gate: Gate,
    hasher: Hasher,
    settings: DirectorySettings,
    backend: str = "",
    store: str = "",
) -> Directory:
    """`store`: of this node's pool."""
    if not config.directory.database:
        own = config.directory.replica and config.store.backends  # of several processes each has its own copy
        return open_directory(
            (site.own(backend) if own else site.folder) / site.directory.name,
            clock=clock,
            gate=gate,
            hasher=hasher,
            settings=settings,
            copy=config.directory.replica,
            store=store if config.directory.replica and _shares(site, config) else "",
        )
    from rookery.distribution.directory.shared import open_shared_directory

    return open_shared_directory(
        config.directory.database, clock=clock, gate=gate, hasher=hasher, settings=settings, schema=DIRECTORY
    )


def _shares(site: Site, config: Config) -> bool:
    """Whether a copy has the credentials of this node's pool only: nodes with the directory may have all."""
    from rookery.management.membership import roles  # loads what only members need

    return config.directory.share is Share.POOL or Role.DIRECTORY not in roles(site)


def backend_address(config: Config, backend: str) -> str:
    """Where clients reach a backend: host and IMAP port."""
    return at_port(backend_host(config, backend), config.listen.imap + config.listen.port_offset)


def backend_host(config: Config, backend: str) -> str:
    return dict(config.store.backends).get(backend) or config.listen.addresses[0]


def at_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def answers(address: str) -> bool:
    """Whether a backend greets. A process that is stopped still gets connections from its kernel, and says nothing."""
    host, _, port = address.rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except OSError:
        return False
    try:
        return bool(await reader.read(1))
    except OSError:
        return False
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def lmtp_socket(site: Site, backend: str) -> Path:
    """Where a backend takes deliveries of the other backends on this machine; only the site's owner may."""
    return site.own(backend) / "lmtp.sock"
