"""The opened parts of a site: what operations work on, on a running node and on a stopped one alike.

Opening takes the store's lock, so there is only ever one process with a site's parts in its hands.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from rookery.access.underway import UnderWay
from rookery.base.clock import Clock, SystemClock
from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.base.meters import SIZE_BUCKETS, histogram
from rookery.distribution.auth.authenticator import Authenticator, AuthSettings
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.pools import PoolAdministration
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.placement.pools import Hosts
from rookery.distribution.placement.values import Here
from rookery.distribution.queue.control import QueueControl
from rookery.distribution.queue.queue import Queue
from rookery.distribution.spool.spool import Spool
from rookery.management.keeping import Placing, open_accounts, open_mail, open_queue
from rookery.management.mailing import build_queue, queue_settings
from rookery.management.operations.cluster_status import ClusterStatus
from rookery.management.operations.status import MemberFigures
from rookery.management.pooling import across
from rookery.management.replication import Replication, ready
from rookery.management.site import Site
from rookery.management.ways import Ways
from rookery.storage.counters import WHOLE, read_counters
from rookery.storage.engine import EngineFailed
from rookery.storage.gate import Gate
from rookery.storage.store import Store, StoreSettings
from rookery.storage.values import Usage

_commits = histogram("store_commit_seconds", "From the start of a batch of the store until it was durable.")
_batches = histogram("store_batch_items", "Changes that one commit of the store carried.", SIZE_BUCKETS)


def _observe(seconds: float, items: int) -> None:
    """Called by the store's writer thread, the only one that adds to these two."""
    _commits.observe(seconds)
    _batches.observe(items)


class DeliveryIds:
    """What the store remembers of deliveries is forgotten when the queue says so, unless a snapshot needs it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept = 0

    async def forget(self, below: str) -> None:
        """Passed over while they are kept: the queue says it again, with a higher id."""
        if not self._kept:
            await self._store.forget_deliveries(below)

    @contextmanager
    def kept(self) -> Iterator[None]:
        self._kept += 1
        try:
            yield
        finally:
            self._kept -= 1


class Running(Protocol):
    """What a node that serves can say of itself, beyond its parts."""

    @property
    def started(self) -> float:
        """Seconds UTC."""
        ...

    def connections(self) -> Mapping[str, int]:
        """By listener."""
        ...

    def member(self) -> MemberFigures | None:
        """As it is in its cluster, if it is in one."""
        ...

    async def overview(self) -> ClusterStatus:
        """All of its cluster. Raises RookeryError, NOT_FOUND when it is in none."""
        ...

    def problems(self) -> list[str]:
        """Of its being a member, in plain words: others do not take it for one."""
        ...

    def warnings(self) -> list[str]:
        """The same: soon they may not."""
        ...


@dataclass(slots=True)
class Parts:
    """`running` is None on a stopped site. `incomplete`: an account in the directory may be missing in the store.
    `placement` knows the accounts of this pool, `hosts` those of all."""

    site: Site
    config: Config
    clock: Clock
    gate: Gate
    hasher: Hasher
    directory: Directory
    administration: Administration
    authenticator: Authenticator
    store: Store
    backend: str
    placement: Placing
    hosts: Hosts
    pools: PoolAdministration
    underway: UnderWay
    delivery_ids: DeliveryIds
    ways: Ways
    spool: Spool
    queue: Queue
    queue_control: QueueControl
    running: Running | None
    incomplete: bool
    replication: Replication | None
    registered: bool
    _opened: AsyncExitStack

    @classmethod
    async def open(
        cls,
        site: Site,
        config: Config,
        *,
        backend: str = "",
        gate: Gate | None = None,
        clock: Clock | None = None,
        replication: Replication | None = None,
    ) -> "Parts":
        """`backend`: which of the site's backend processes this is, when there are several. `replication`: of
        a node that runs, so that a copy of the directory has something to read, and goes on.

        Raises RookeryError: IN_USE while another process has the site, UNSUPPORTED for one of a newer release.
        """
        name = backend or config.site.hostname
        clock, gate = clock or SystemClock(), gate or Gate()
        async with AsyncExitStack() as opened:
            underway = UnderWay()
            store, placement = await open_mail(
                site,
                config,
                name,
                settle=underway.ended,
                clock=clock,
                gate=gate,
                settings=store_settings(config),
                observe=_observe,
                opened=opened,
            )
            spool = await open_queue(site, config, name, clock=clock, gate=gate)
            opened.push_async_callback(spool.close)
            hasher = Hasher(config.auth.threads)
            opened.callback(hasher.close)
            directory = open_accounts(
                site,
                config,
                clock=clock,
                gate=gate,
                hasher=hasher,
                settings=directory_settings(config),
                backend=name,
                store=store.identity.store,
            )
            opened.push_async_callback(directory.close)
            await ready(directory, replication)
            delivery_ids = DeliveryIds(store)
            hosts = across(store, placement, directory)
            pools = PoolAdministration(directory)
            pools.recognise(store.identity.store)
            ways = Ways(site, config, directory, clock)

            async def forget(below: str) -> None:
                ways.settled.up_to(below)
                await delivery_ids.forget(below)

            queue = build_queue(site, config, store, directory, spool, clock, forget, hosts, ways)
            authenticator = Authenticator(directory, hasher, clock=clock, settings=auth_settings(config))
            opened.push_async_callback(authenticator.settle)
            return cls(
                site=site,
                config=config,
                clock=clock,
                gate=gate,
                hasher=hasher,
                directory=directory,
                administration=Administration(directory),
                authenticator=authenticator,
                store=store,
                backend=name,
                placement=placement,
                hosts=hosts,
                pools=pools,
                underway=underway,
                delivery_ids=delivery_ids,
                ways=ways,
                spool=spool,
                queue=queue,
                queue_control=QueueControl(queue),
                running=None,
                incomplete=False,
                replication=replication,
                registered=False,
                _opened=opened.pop_all(),
            )

    def take_up(self, config: Config) -> None:
        """New settings of those that are not read at the start only."""
        self.config = config
        self.queue.settings = queue_settings(config)
        self.authenticator.settings = auth_settings(config)
        self.directory.settings = directory_settings(config)
        self.directory.secrets.keyed = self.directory.settings.scram

    async def confirm(self) -> None:
        """That this node may go on. Raises UNSUPPORTED once a newer release has changed tables that it shares so that
        this one may not use them any more, and CONFLICT once another copy of its store was promoted.
        """
        if self.directory.shared or self.store.database.shared:
            await asyncio.to_thread(self._confirm)

    def _confirm(self) -> None:
        owner = self.store.identity
        for confirm in (
            self.store.database.confirm_release, self.spool.database.confirm_release, self.directory.confirm_release,
            partial(self.pools.confirm, owner.store, owner.generation),
        ):  # fmt: skip
            with suppress(EngineFailed):  # the database is away
                confirm()

    async def close(self) -> None:
        await self._opened.aclose()

    async def usage(self, account: AccountId) -> Usage:
        """What an account holds; opens it for the moment, unless another backend has it open."""
        if not isinstance(await self.hosts.locate(account), Here):
            return await self.store.away(lambda: self._usage_elsewhere(account))
        opened = await self.store.open_account(account)
        try:
            return opened.usage()
        finally:
            opened.release()

    def _usage_elsewhere(self, account: AccountId) -> Usage:
        with self.store.read() as reader:
            row = reader.row("SELECT account, size_limit, message_limit FROM account WHERE id = ?", account)
            whole = None if row is None else read_counters(reader, row[0]).get(WHOLE)
        if row is None or whole is None:
            raise RookeryError(Cause.NOT_FOUND, "no such account in this store")
        return Usage(whole.size, whole.messages, row[1], row[2])


def store_settings(config: Config) -> StoreSettings:
    return StoreSettings(keep_expunged=int(config.store.keep_expunged))


def directory_settings(config: Config) -> DirectorySettings:
    return DirectorySettings(
        scram=config.auth.scram, default_domain=config.site.domain, placing=config.directory.placement
    )


def auth_settings(config: Config) -> AuthSettings:
    return AuthSettings(
        scram=config.auth.scram,
        plaintext_on_loopback=config.auth.plaintext_on_loopback,
        remember=config.auth.remember,
    )
