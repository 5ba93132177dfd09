"""The directory of this node and those of the others: a replica follows its primary over the cluster port, and all hear
which of them counts.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from rookery.access.frontend.linked import link_to, peer
from rookery.base.config import Config
from rookery.base.errors import RookeryError
from rookery.base.log import logger
from rookery.base.members import Role
from rookery.distribution.directory import reads
from rookery.distribution.directory.copies import Copies
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.members import Members
from rookery.distribution.directory.values import Change
from rookery.distribution.service import carry
from rookery.distribution.service.calls import AskStanding, Standing, decode_answer, encode
from rookery.distribution.service.primary import Ask, NamedPrimary
from rookery.management.metrics import Gauge
from rookery.net.cluster.link import Link
from rookery.net.cluster.links import Links

ANSWER = 20.0  # seconds for something of an answer to come
LOOK_EVERY = 5.0  # seconds between two looks at what the directories of other nodes are
LOST = 1_000  # changes that are counted
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

    def __init__(self, folder: Path, config: Config, links: Links, member: Callable[[], str]) -> None:
        """`folder`: of the site. `member`: this node's name."""
        self._folder = folder
        self._links = links
        self._member = member
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
        """What the directories of the other nodes are now, and act on it: the highest generation counts."""
        with suppress(RookeryError):
            self._primary.know(await self._told())
        self.heard = list(await asyncio.gather(*(self._hear(address) for address in self._primary.addresses)))
        copies = self._copies
        primaries = {
            one.standing.generation: one.address
            for one in self.heard
            if one.standing is not None and one.standing.state == "primary"
        }
        if primaries:
            best = max(primaries)
            copies.hear(best)
            if best > copies.generation or copies.replica is not None:
                self._primary.prefer(primaries[best])
        if copies.fenced is not None and copies.make is not None and not await self.lost():
            await self.follow()
        return self.heard

    async def _told(self) -> list[str]:
        """The cluster ports of other nodes with a directory, as they have said."""
        assert self._directory is not None
        members = Members(self._directory)
        having = {one.name for one in await members.members() if Role.DIRECTORY in one.roles and not one.revoked}
        own = self._member()
        return [one.address for one in await members.presences() if one.name in having and one.name != own]

    async def lost(self) -> list[Change]:
        """The first acts that the directory which counts instead of this one does not have."""
        assert self._directory is not None
        fenced = self._copies.fenced
        if fenced is None:
            return []
        return await self._directory.apart(lambda reader: list(reads.changes(reader, fenced.began, LOST)))

    async def follow(self) -> None:
        """This directory was the primary, and is a copy of the one that counts from now on. What it had is kept aside.
        Raises RookeryError."""
        directory, copies = self._directory, self._copies
        assert directory is not None
        if copies.fenced is not None and copies.make is not None:
            log.warning("directory-follows", lost=len(await self.lost()), counts=copies.fenced.number)
            await directory.snapshot(self.aside)
        await copies.step_back()
        assert copies.replica is not None
        copies.replica.start(self._primary)

    @property
    def aside(self) -> Path:
        """Where `follow` keeps what the directory was."""
        return self._folder / f"directory.db.generation-{self._copies.generation.number}"

    async def _hear(self, address: str) -> Heard:
        try:
            link = await link_to(self._links, peer(address), Role.DIRECTORY)
            answer = await link.call(encode(AskStanding(self._copies.generation)), STANDING)
            return Heard(address, link.peer.name, decode_answer(answer, Standing))
        except RookeryError as error:
            return Heard(address, what=error.what or error.cause.value)

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except RookeryError as error:
                log.refused("not-looked", error.refusal)
            await asyncio.sleep(LOOK_EVERY)

    # --- as an administrator sees it ---

    def warnings(self) -> list[str]:
        """Why it takes no acts, or answers what is old, in plain words."""
        if self._directory is None:
            return []
        copies = self._copies
        if copies.fenced is not None:
            return [
                "its directory takes no acts any more, for another node's was promoted, and it has some that this one"
                " has not; see `rookery directory status`"
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
