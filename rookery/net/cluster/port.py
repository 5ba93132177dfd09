"""The cluster port: links that other nodes dial. Who may connect at all is decided before TLS, by address."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rookery.base.errors import Cause, Refusal
from rookery.base.log import logger
from rookery.net.accepting import Accepting, bound
from rookery.net.cluster.link import Link
from rookery.net.cluster.links import RENEWED, REVOKED
from rookery.net.cluster.node import Node, Service, check_context
from rookery.net.listener import Networks, contains
from rookery.net.sockets import CLOSING_TIME, HANDSHAKE_TIME
from rookery.net.wheel import Wheel

CROWDED = Refusal(Cause.TOO_MANY, "this node has many links with that one already")

log = logger("cluster")


@dataclass(frozen=True, slots=True)
class PortSettings:
    """`allow`: networks of nodes; () lets nobody in. `strangers`: connections that have not said HELLO, of all and of
    one address; `links`: connections in all; `each`: those of one node, with all its processes and those that only end
    what was begun before a certificate was renewed. `handshake`: seconds for TLS.
    """

    allow: Networks
    links: int = 1024
    each: int = 64
    strangers: int = 128
    strangers_each: int = 16
    handshake: float = HANDSHAKE_TIME


class ClusterPort:
    """Made by `open_port`. `context` is for servers and loaded with this node's certificate."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        node: Node,
        service: Service,
        context: ssl.SSLContext,
        *,
        wheel: Wheel,
        settings: PortSettings,
    ) -> None:
        self._node = node
        self._service = service
        self._context = context
        self._wheel = wheel
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._links: set[Link] = set()
        self._strangers: dict[Link, str] = {}  # of them, those that have not said HELLO, and where they come from
        self._counts: Counter[str] = Counter()  # of those, by address
        self._accepting = Accepting(sockets, "cluster", self._take)

    @property
    def ports(self) -> list[int]:
        return self._accepting.ports

    def __len__(self) -> int:
        """Connections, those that have not said HELLO among them."""
        return len(self._links)

    def __iter__(self) -> Iterator[Link]:
        """Those whose peer has introduced itself."""
        return (link for link in list(self._links) if link.known)

    @property
    def streams(self) -> int:
        """On all of them."""
        return sum(link.streams for link in self._links)

    @property
    def strangers(self) -> int:
        """Connections that have not said HELLO."""
        return len(self._strangers)

    def named(self, name: str) -> Link | None:
        """A link from that node, if there is one: it can be used the other way round."""
        return next((link for link in self._links if link.usable and link.peer.name == name), None)

    # --- taking connections

    def _take(self, connection: socket.socket, address: str) -> None:
        refused = self._refused(address)
        if refused:
            log.debug("connection-refused", listener="cluster", address=address, limit=refused)
            connection.close()
            return
        link = Link(self._node, self._service, dialled=False, wheel=self._wheel, greeted=self._greeted, lost=self._lost)
        self._links.add(link)
        self._strangers[link] = address
        self._counts[address] += 1
        task = self._loop.create_task(self._shake_hands(connection, address, link))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    def _refused(self, address: str) -> str:
        """Which limit refuses one more connection of that address; "" for none."""
        settings = self._settings
        if not contains(settings.allow, address):
            return "networks"
        if len(self._links) >= settings.links:
            return "links"
        if self.strangers >= settings.strangers or self._counts.get(address, 0) >= settings.strangers_each:
            return "strangers"
        return ""

    async def _shake_hands(self, connection: socket.socket, address: str, link: Link) -> None:
        """TLS. Everything else is the link's business."""
        try:
            await self._loop.connect_accepted_socket(
                lambda: link,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._settings.handshake,
                ssl_shutdown_timeout=CLOSING_TIME,
            )
        except OSError as error:
            log.debug("not-connected", listener="cluster", address=address, error=str(error))
            self._drop(link, connection)
        except asyncio.CancelledError:
            self._drop(link, connection)
            raise

    def _drop(self, link: Link, connection: socket.socket) -> None:
        link.abort()
        connection.close()
        self._lost(link)

    def _greeted(self, link: Link) -> None:
        self._known(link)
        if sum(other.peer.name == link.peer.name for other in self) > self._settings.each:
            log.warning("too-many-links", node=link.peer.name)
            link.end(CROWDED)

    def _known(self, link: Link) -> None:
        address = self._strangers.pop(link, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def _lost(self, link: Link) -> None:
        self._known(link)
        self._links.discard(link)

    # --- the end

    def renewed(self) -> None:
        """The context has a new certificate: peers are to dial anew, and what is under way goes on until the former one
        ends."""
        for link in list(self._links):
            link.goodbye(RENEWED)

    def sweep(self) -> None:
        """End at once all links whose peer is not admitted any more: somebody was revoked."""
        for link in list(self._links):
            if link.peer is not None and not self._node.admit(link.peer):
                link.end(REVOKED)

    def goodbye(self, reason: str) -> None:
        """Take nothing new, on any link; each ends when what was begun has."""
        self._accepting.stop()
        for link in list(self._links):
            link.goodbye(reason)

    async def close(self) -> None:
        """End everything now."""
        self._accepting.stop()
        tasks = list(self._handshakes)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in list(self._links):
            link.abort()


def open_port(
    addresses: Sequence[str],
    port: int,
    node: Node,
    service: Service,
    context: ssl.SSLContext,
    *,
    wheel: Wheel,
    settings: PortSettings,
) -> ClusterPort:
    """Take links at `port` (0: any free one, the same for all) of every address.

    Raises OSError, naming address and port, and then nothing is open; ValueError when the context does not do.
    """
    check_context(context)
    return ClusterPort(bound(addresses, port), node, service, context, wheel=wheel, settings=settings)
