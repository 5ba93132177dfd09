"""How the queue reaches the other backends: those of this process's site by a socket file, those of a cluster by the
cluster port, where their delivery ids are believed too, and pools that are in no cluster by LMTP over the network.
"""

from collections.abc import Callable, Iterable
from functools import partial

from rookery.access.frontend.linked import mail_stream, patient_stream, peer
from rookery.base.clock import Clock
from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.delivery.hosted import Delivery
from rookery.distribution.delivery.local import LocalDelivery, LocalSettings
from rookery.distribution.delivery.pool import PoolDelivery
from rookery.distribution.delivery.session import Patience
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.values import Pool, PoolKind, Presence
from rookery.distribution.placement.values import Elsewhere
from rookery.distribution.spool.ids import message_number, message_text, number_at
from rookery.distribution.spool.spool import LATE
from rookery.management.keeping import at_port, lmtp_socket
from rookery.management.site import Site
from rookery.net.cluster.links import Links
from rookery.net.dial import dial, dial_path
from rookery.net.stream import Stream

STREAMS = 16  # messages on their way to one backend elsewhere at the same time
LINGER = 10.0  # seconds; less than any server's patience
PATIENCE = Patience(connect=5.0, greeting=10.0, hello=10.0, mail=30.0, rcpt=30.0)  # a frozen one costs no minutes


def giver(node: str, presences: Iterable[Presence], pools: Iterable[Pool], here: int) -> str:
    """Whose delivery ids a node gives, as the directory knows it: "" for a backend of the pool `here`, whose queue is
    ours too. The backends of another dynamic pool take over from each other, so that those are the pool's; else they
    are the node's own. `presences`: of that node.
    """
    said = {(one.backend, one.address) for one in presences}
    for pool in pools:
        if pool.kind is PoolKind.DYNAMIC and said & {(one.backend, one.cluster) for one in pool.backends}:
            return "" if pool.id == here else f"+{pool.name}"
    return node


class Settled:
    """Which of our delivery ids will not come again: others are told when a stream to them is opened.

    An id is older than the message's arrival. So an hour is left, in which one with a low id may still come.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.below = ""

    def up_to(self, below: str) -> None:
        self.below = message_text(min(message_number(below), number_at(self._clock.wall() - LATE)))


class Ways:
    """`links`: set once this node is a member of a cluster, before anything is delivered."""

    def __init__(self, site: Site, config: Config, directory: Directory, clock: Clock) -> None:
        self.links: Links | None = None
        self._site = site
        self._config = config
        self._directory = directory
        self.settled = Settled(clock)
        self._settings = LocalSettings(config.site.hostname, STREAMS, PATIENCE, LINGER)

    def to(self, host: Elsewhere) -> Delivery:
        if host.pool:
            linked = self.links is not None and bool(host.cluster)
            return PoolDelivery(host.pool, host.cluster, self._linked(host)) if linked else self._unlinked(host)
        if host.backend in dict(self._config.store.backends):
            return LocalDelivery(
                partial(dial_path, lmtp_socket(self._site, host.backend)), LocalSettings(self._config.site.hostname)
            )
        return LocalDelivery(partial(self._dial_sibling, host), self._settings)

    def _linked(self, host: Elsewhere) -> Callable[[str], LocalDelivery]:
        dial = partial(self._dial_link, alone=len(host.cluster) == 1)
        return lambda address: LocalDelivery(partial(dial, address), self._settings)

    def _unlinked(self, host: Elsewhere) -> PoolDelivery:
        return PoolDelivery(
            host.pool, host.lmtp, lambda address: LocalDelivery(partial(_dial, address), self._settings)
        )

    async def _dial_link(self, address: str, *, alone: bool = True) -> Stream:
        """`alone`: nobody else can have the mailbox."""
        if self.links is None:
            raise RookeryError(Cause.UNAVAILABLE, "this node is in no cluster")
        stream = patient_stream if alone else mail_stream
        return await stream(self.links, peer(address), "lmtp", self.settled.below)

    async def _dial_sibling(self, host: Elsewhere) -> Stream:
        """A backend of this pool on another machine. One of the former release tells no cluster port: it is taken to
        be the same as ours.
        """
        pools = await self._directory.find(lambda directory: directory.pools())
        own = (one for pool in pools if pool.id == self._directory.here for one in pool.backends)
        told = next((one.cluster for one in own if one.backend == host.backend), "")
        listen = self._config.listen
        return await self._dial_link(
            told or at_port(peer(host.address).address, listen.cluster + listen.port_offset), alone=False
        )  # fmt: skip


async def _dial(address: str) -> Stream:
    host, _, port = address.rpartition(":")
    return await dial(host.strip("[]"), int(port), PATIENCE.connect)
