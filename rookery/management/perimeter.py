"""A mail exchanger at the perimeter: it takes mail into a queue of its own and hands it on to nodes with accounts.

It has no directory, no store and no login to a database: it asks for one address at a time, and what it has of secrets
is its certificate.
"""

import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from rookery.access.frontend.linked import mail_stream, patient_stream, peer
from rookery.access.smtp import serve_mx
from rookery.base.clock import Clock, SystemClock
from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.delivery.local import LocalDelivery, LocalSettings
from rookery.distribution.delivery.pool import InwardDelivery
from rookery.distribution.queue.control import QueueControl
from rookery.distribution.queue.queue import Queue
from rookery.distribution.service.claims import Sharing
from rookery.distribution.service.known import KnownDirectory
from rookery.distribution.service.outskirts import Outskirts
from rookery.distribution.spool.spool import Spool
from rookery.management.fronting import FrontServices
from rookery.management.keeping import open_queue
from rookery.management.mailing import queue_settings, remote, smtp_settings
from rookery.management.membership import Membership
from rookery.management.metrics import Gauge
from rookery.management.queue_parts import QueueParts
from rookery.management.site import Site
from rookery.management.ways import LINGER, PATIENCE, Settled
from rookery.net.stream import Stream
from rookery.storage.gate import Gate

STREAMS = 32  # messages on their way to one node at the same time


class PerimeterServices:
    """What its listener serves, and the queue."""

    def __init__(
        self,
        site: Site,
        config: Config,
        membership: Membership,
        tls: ssl.SSLContext,
        clock: Clock,
        spool: Spool,
        sharing: Sharing,
    ) -> None:
        self._front = FrontServices(config, membership, tls, clock, sharing)
        self._links = membership.links
        self._tls = tls
        self._clock = clock
        self._spool = spool
        self._settled = Settled(clock)
        self._outskirts = Outskirts(self._front.addresses)
        self._settings = LocalSettings(config.site.hostname, STREAMS, PATIENCE, LINGER, lmtp=False)
        dice = random.Random()
        named = [str(one) for one in config.cluster.mail or config.cluster.directory if one is not None]
        self._queue = Queue(
            spool,
            InwardDelivery(named, partial(self._way, alone=len(named) == 1)),
            remote(site, config, clock, dice),
            self._outskirts,
            clock=clock,
            dice=dice,
            settings=queue_settings(config),
            forget=self._forget,
        )
        self.parts = QueueParts(site, config, clock, QueueControl(self._queue), spool)
        self.reload(config)

    async def _forget(self, below: str) -> None:
        self._settled.up_to(below)

    def _way(self, address: str, *, alone: bool) -> LocalDelivery:
        stream = patient_stream if alone else mail_stream

        async def dial() -> Stream:
            return await stream(self._links, peer(address), "smtp", self._settled.below)

        return LocalDelivery(dial, self._settings)

    def reload(self, config: Config) -> None:
        """Take up new settings; sessions that are open keep theirs."""
        self._queue.settings = queue_settings(config)
        self._serve = partial(
            serve_mx,
            spool=self._spool,
            directory=self._outskirts,
            settings=smtp_settings(config),
            clock=self._clock,
            tls=self._tls,
        )

    async def serve(self, name: str, stream: Stream) -> None:
        await self._serve(stream)

    def start(self) -> None:
        self._front.start()
        self._queue.start()

    async def close(self) -> None:
        await self._queue.stop()
        await self._front.close()

    # --- as an administrator sees it ---

    def problems(self) -> list[str]:
        """Why it does not take mail, in plain words."""
        return self._front.problems()

    async def gauges(self) -> list[Gauge]:
        return [
            ("addresses_known", "Addresses whose answers are remembered.", dict(self._front.addresses.kept)),
            ("directory_silent_seconds", "Since no directory node has answered; 0: one did.",
             {"": self._front.addresses.stale}),
        ]  # fmt: skip


@asynccontextmanager
async def stopped_queue(site: Site, config: Config) -> AsyncIterator[QueueParts]:
    """Of a site that nobody serves: for its administrator. Raises RookeryError."""
    clock, dice = SystemClock(), random.Random()

    async def nobody(question: bytes) -> bytes:
        raise RookeryError(Cause.UNAVAILABLE, "the site is stopped")

    def nowhere(address: str) -> LocalDelivery:
        raise AssertionError("nothing is delivered")

    spool = await open_queue(site, config, "", clock=clock, gate=Gate())
    try:
        queue = Queue(
            spool,
            InwardDelivery((), nowhere),
            remote(site, config, clock, dice),
            Outskirts(KnownDirectory(nobody, clock)),
            clock=clock,
            dice=dice,
            settings=queue_settings(config),
        )
        yield QueueParts(site, config, clock, QueueControl(queue), spool)
    finally:
        await spool.close()
