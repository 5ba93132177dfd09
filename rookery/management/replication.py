"""The directory of this node and those of the others: a replica follows its primary over the cluster port, and all hear
which of them counts.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from rookery.access.frontend.linked import link_to, peer
from rookery.base.config import Config
from rookery.base.errors import RookeryError
from rookery.base.log import logger
from rookery.base.members import Role
from rookery.distribution.directory.copies import Copies
from rookery.distribution.directory.directory import Directory
from rookery.distribution.service import carry
from rookery.distribution.service.calls import AskStanding, Standing, decode_answer, encode
from rookery.distribution.service.primary import Ask, NamedPrimary
from rookery.management.metrics import Gauge
from rookery.net.cluster.link import Link
from rookery.net.cluster.links import Links

ANSWER = 20.0  # seconds for something of an answer to come
LOOK_EVERY = 5.0  # seconds between two looks at what the directories of other nodes are
STANDING = 3.0  # seconds for that answer

log = logger("directory")


class Heard(msgspec.Struct, frozen=True):
    """Of the directory of another node, at its address. `standing` None: it did not answer, and `what` says why."""

    address: str
    node: str = ""
    standing: Standing | None = None
    what: str = ""


class Replication:
    """Of one process of a node that has joined."""

    def __init__(self, config: Config, links: Links) -> None:
        self._links = links
        addresses = [str(one) for one in config.cluster.directory if one is not None]
        self._primary = NamedPrimary(addresses, self._reach)
        self._task: asyncio.Task[None] | None = None
        self._directory: Directory | None = None
        self.heard: list[Heard] = []

    async def start(self, directory: Directory) -> None:
        """Returns when there is something to read."""
        self._directory = directory
        replica = directory.copies.replica
        if replica is not None:
            replica.start(self._primary)
            await replica.ready()
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._directory is not None and self._directory.copies.replica is not None:
            await self._directory.copies.replica.close()

    @property
    def _copies(self) -> Copies:
        assert self._directory is not None  # started
        return self._directory.copies

    async def _reach(self, address: str) -> Ask:
        link = await link_to(self._links, peer(address), Role.DIRECTORY)
        return partial(_ask, link)

    async def look(self) -> Sequence[Heard]:
        """What the directories of the named nodes are now, and act on it: the highest generation counts."""
        self.heard = list(await asyncio.gather(*(self._hear(address) for address in self._primary.addresses)))
        copies = self._copies
        for one in self.heard:
            if one.standing is not None and one.standing.state == "primary":
                copies.hear(one.standing.generation)
        known = [one for one in self.heard if one.standing is not None and one.standing.state == "primary"]
        if copies.replica is not None and known:
            best = max(known, key=lambda one: one.standing.generation)  # type: ignore[union-attr]
            if self._primary.addresses[0] != best.address:
                self._primary.prefer(best.address)
        return self.heard

    async def _hear(self, address: str) -> Heard:
        try:
            link = await link_to(self._links, peer(address), Role.DIRECTORY)
            answer = await link.call(encode(AskStanding(self._copies.generation)), STANDING)
            return Heard(address, link.peer.name, decode_answer(answer, Standing))
        except RookeryError as error:
            return Heard(address, what=error.what or error.cause.value)

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY)

    # --- as an administrator sees it ---

    def warnings(self) -> list[str]:
        """Why it takes no acts, or answers what is old, in plain words."""
        if self._directory is None:
            return []
        copies = self._copies
        if copies.fenced is not None:
            return [
                "its directory takes no acts any more, for another node's was promoted; make it a replica: `rookery"
                " directory follow`"
            ]
        replica = copies.replica
        if replica is not None and (replica.last_word is None or replica.last_word > ANSWER):
            word = "since the start" if replica.last_word is None else f"for {replica.last_word:.0f} s"
            return [f"the primary of its directory has not answered {word}; what it knows may be old"]
        return []

    @property
    def lag(self) -> tuple[int, float] | None:
        """Of a copy: changes that are not here yet, and seconds since the primary last answered (-1: not since the
        start)."""
        replica = self._copies.replica
        if replica is None:
            return None
        return replica.behind, -1.0 if replica.last_word is None else replica.last_word

    async def gauges(self) -> list[Gauge]:
        if self.lag is None:
            return []
        behind, word = self.lag
        return [
            ("directory_lag_changes", "Changes of the directory that are not here yet.", {"": behind}),
            (
                "directory_last_word_seconds",
                "Since the primary of the directory last answered; -1: not since the start.",
                {"": word},
            ),
        ]


async def ready(directory: Directory, replication: Replication | None) -> None:
    """Wait until a copy has something to read. Raises RookeryError(UNAVAILABLE) when nobody is there to fetch it."""
    if replication is not None:
        await replication.start(directory)
    elif directory.copies.replica is not None:
        await directory.copies.replica.ready()


async def _ask(link: Link, question: bytes) -> bytes:
    return await carry.ask(link, question, ANSWER)
