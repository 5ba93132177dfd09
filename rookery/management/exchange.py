"""Signals as a node without a directory has them: it hears of what changes at directory nodes, and tells what it
counts, so that limits hold for all frontends together.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from rookery.access.frontend.linked import LinkedDirectory, link_to
from rookery.base.errors import RookeryError
from rookery.base.members import Role
from rookery.distribution.service.calls import DIRECTORIES
from rookery.distribution.service.signals import COUNTERS, WANT, Count, Want
from rookery.management.membership import Membership
from rookery.net.cluster.link import Link
from rookery.net.stream import Peer
from rookery.wire.cluster.values import Signal

EVERY = 1.0  # seconds between two counts
WANT_EVERY = 5  # counts after which a node says again what it wants to hear

Hear = Callable[[bytes], None]


class Exchange:
    """With each directory node that `linked` knows. `hear`: what is done on hearing of a kind, with the octets that
    came; `count`: what to tell.
    """

    def __init__(
        self, membership: Membership, linked: LinkedDirectory, hear: Mapping[str, Hear], count: Callable[[], Count]
    ) -> None:
        self._links = membership.links
        self._linked = linked
        self._hear = hear
        self._count = count
        self._told: dict[Peer, tuple[Link, int]] = {}  # by which link, and counts since
        self._busy: dict[Peer, asyncio.Task[None]] = {}  # one attempt at a time: a node may be long in answering
        membership.signalled = self.signalled

    def signalled(self, link: Link, signal: Signal) -> None:
        """Only from directory nodes: others have nothing to say."""
        hear = self._hear.get(signal.kind)
        if hear is not None and Role.DIRECTORY in link.peer.roles:
            hear(signal.data)

    @property
    def hears(self) -> bool:
        """Some directory node tells it of changes; behind other frontends none does."""
        return any(not link.closed for link, _ in self._told.values())

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self.beat()
                await asyncio.sleep(EVERY)
        finally:
            for task in self._busy.values():
                task.cancel()

    def beat(self) -> None:
        data = msgspec.msgpack.encode(self._count())
        wanted = self._linked.addresses[:DIRECTORIES]
        for address in [one for one in self._told if one not in wanted]:
            del self._told[address]
        for address in wanted:
            if address not in self._busy:
                task = self._busy[address] = asyncio.create_task(self._tell(address, data))
                task.add_done_callback(lambda _, address=address: self._busy.pop(address))  # type: ignore[misc]

    async def _tell(self, address: Peer, data: bytes) -> None:
        try:
            link = await link_to(self._links, address, Role.DIRECTORY)
        except RookeryError:
            return  # tried again with the next beat
        known, beats = self._told.get(address, (None, 0))
        if known is not link or beats >= WANT_EVERY:
            link.signal(Signal(WANT, msgspec.msgpack.encode(Want(sorted(self._hear)))))
            beats = 0
        self._told[address] = link, beats + 1
        link.signal(Signal(COUNTERS, data))
