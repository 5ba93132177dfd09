"""The links that we dialled: one to each address, kept while there is room for it.

One attempt at a time for each address. After a failed one there is none for a while, ever longer while they fail:
whoever asks meanwhile is refused at once, and nobody waits for the next one for long, nor for the first one after the
peer fell silent, so that what can be done another way is.
"""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.net.cluster.link import SILENCE, Link
from rookery.net.cluster.node import Node, Service, check_context
from rookery.net.dial import connect_soon
from rookery.net.stream import Peer
from rookery.net.wheel import Wheel

RENEWED = "the certificate was renewed"
LEAVING = "this node is leaving: it dials nobody"
REVOKED = Refusal(Cause.DENIED, "the node was revoked")
RESTING = 1024  # addresses remembered as unreachable


@dataclass(frozen=True, slots=True)
class DialSettings:
    """`size`: links kept. `connect`: seconds for an attempt, HELLO included; `again`: that anybody waits for one that
    follows a failed one or silence. `local`: our address for them, "" for any. `pause` and `pause_most`: seconds
    without an attempt after the first failed one, and at most.
    """

    size: int = 256
    connect: float = 5.0
    again: float = 1.0
    local: str = ""
    pause: float = 0.05
    pause_most: float = 0.5


class _Rest:
    """Of an address that could not be reached: no attempt before `until` (monotonic seconds)."""

    __slots__ = ("delay", "until", "why")

    def __init__(self, delay: float, until: float, why: str) -> None:
        self.delay, self.until, self.why = delay, until, why


class Links:
    """`context` is for clients and loaded with this node's certificate; raises ValueError when it does not do."""

    def __init__(
        self,
        node: Node,
        service: Service,
        context: ssl.SSLContext,
        *,
        wheel: Wheel,
        settings: DialSettings | None = None,
    ) -> None:
        check_context(context)
        self._node = node
        self._service = service
        self._context = context
        self._wheel = wheel
        self._settings = settings or DialSettings()
        self._links: OrderedDict[Peer, Link] = OrderedDict()  # the least recently used first
        self._all: set[Link] = set()  # those too that are no longer given out
        self._dialling: dict[Peer, asyncio.Task[Link]] = {}
        self._rests: dict[Peer, _Rest] = {}
        self._leaving = False

    async def to(self, address: Peer) -> Link:
        """A link to the cluster port at that address; which node is there, and with what roles, its `peer` says.

        Raises RookeryError: UNAVAILABLE or what the node there said, TOO_MANY when all links that there may be are in
        use.
        """
        link = self._links.get(address)
        if link is None or not link.usable:
            dialling = self._dialling.get(address)
            if dialling is None:
                dialling = self._begin(address)
            link = await self._outcome(address, dialling)
        if address in self._links:
            self._links.move_to_end(address)
        return link

    def use(self, context: ssl.SSLContext) -> None:
        """For links that are dialled from now on: the certificate was renewed. What is under way on those that are
        there has until the former one ends. Raises ValueError as the constructor.
        """
        check_context(context)
        self._context = context
        for link in list(self._all):
            link.goodbye(RENEWED)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Link]:
        """Those whose peer has introduced itself."""
        return (link for link in list(self._all) if link.known)

    @property
    def streams(self) -> int:
        """On all of them."""
        return sum(link.streams for link in self._all)

    def sweep(self) -> None:
        """End at once all links whose peer is not admitted any more: somebody was revoked."""
        for link in list(self._all):
            if link.peer is not None and not self._node.admit(link.peer):
                link.end(REVOKED)

    def goodbye(self, reason: str) -> None:
        """Begin nothing new on any link, and dial none; each ends when what was begun has."""
        self._leaving = True
        for link in list(self._all):
            link.goodbye(reason)

    async def close(self) -> None:
        """End everything now."""
        self._leaving = True
        tasks = list(self._dialling.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in list(self._all):
            link.abort()

    # --- dialling

    def _begin(self, address: Peer) -> asyncio.Task[Link]:
        """Raises RookeryError while the last failure is fresh, and when there is no room."""
        if self._leaving:
            raise RookeryError(Cause.UNAVAILABLE, LEAVING)
        rest = self._rests.get(address)
        if rest is not None and self._wheel.now() < rest.until:
            raise RookeryError(Cause.UNAVAILABLE, f"{_text(address)} is tried again shortly: {rest.why}")
        self._make_room()
        task = self._dialling[address] = asyncio.get_running_loop().create_task(self._dial(address))
        task.add_done_callback(lambda task: self._dialled(address, task))
        return task

    async def _outcome(self, address: Peer, dialling: asyncio.Task[Link]) -> Link:
        """Of an attempt that others may wait for too. Raises RookeryError."""
        rest = self._rests.get(address)
        await asyncio.wait([dialling], timeout=None if rest is None else self._settings.again)
        if rest is not None and not dialling.done():
            raise RookeryError(Cause.UNAVAILABLE, f"{_text(address)} is tried again: {rest.why}")
        if dialling.cancelled():
            raise RookeryError(Cause.UNAVAILABLE, LEAVING)
        return dialling.result()

    def _make_room(self) -> None:
        if len(self._links) + len(self._dialling) < self._settings.size:
            return
        for address, link in self._links.items():
            if link.idle:
                del self._links[address]
                link.goodbye("the link is not used")
                return
        raise RookeryError(Cause.TOO_MANY, f"all {self._settings.size} links are in use")

    async def _dial(self, address: Peer) -> Link:
        settings, loop = self._settings, asyncio.get_running_loop()
        link = Link(self._node, self._service, dialled=True, wheel=self._wheel, lost=self._lost)
        try:
            async with asyncio.timeout(settings.connect):
                connection = await connect_soon(address.address, address.port, settings.local)
                await loop.create_connection(lambda: link, sock=connection, ssl=self._context, server_hostname="")
                await link.greeting()
        except (OSError, ValueError) as error:  # UnicodeError, ValueError: it is no name of a host
            link.abort()
            why = "no answer" if isinstance(error, TimeoutError) else str(error)
            raise RookeryError(Cause.UNAVAILABLE, f"{_text(address)}: {why}") from error
        except asyncio.CancelledError:
            link.abort()
            raise
        return link

    def _dialled(self, address: Peer, task: asyncio.Task[Link]) -> None:
        del self._dialling[address]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._rests.pop(address, None)
            link = task.result()
            if not link.closed:
                self._links[address] = link
                self._all.add(link)
            return
        rest = self._rests.pop(address, None)
        delay = min(max(rest.delay * 2 if rest else 0.0, self._settings.pause), self._settings.pause_most)
        self._leave_alone(address, delay, str(error))

    def _leave_alone(self, address: Peer, delay: float, why: str) -> None:
        while len(self._rests) >= RESTING:
            del self._rests[next(iter(self._rests))]
        self._rests[address] = _Rest(delay, self._wheel.now() + delay, why)

    def _lost(self, link: Link) -> None:
        self._all.discard(link)
        address = next((address for address, kept in self._links.items() if kept is link), None)
        if address is not None:
            del self._links[address]
            if link.silent >= SILENCE:
                self._leave_alone(address, 0.0, "it fell silent")


def _text(address: Peer) -> str:
    return f"{address.address} port {address.port}"
