"""What a directory is among its copies: the primary, a replica, or one that was primary before another was promoted."""

from collections.abc import Callable

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import RandomBytes
from rookery.base.log import logger
from rookery.distribution.directory import standing
from rookery.distribution.directory.following import Stale, forget
from rookery.distribution.directory.memory import Memory
from rookery.distribution.directory.reads_members import cluster
from rookery.distribution.directory.replica import Replica
from rookery.distribution.directory.secrets import Secrets
from rookery.distribution.directory.values import Pool
from rookery.distribution.service.calls import Generation, Standing
from rookery.storage.engine import Database
from rookery.storage.writer import Writer

_FENCED = (
    "this directory was the primary until another one was promoted, and takes no acts any more; make it a replica:"
    " `rookery directory follow`"
)

log = logger("directory")


class Copies:
    """Of one directory. `replica` None: it is none. `changed` is called when something came from elsewhere.
    `clustered`: it had a cluster when it was opened, so that other nodes may have copies."""

    def __init__(
        self, database: Database, writer: Writer, memory: Memory, secrets: Secrets, changed: Callable[[], None]
    ) -> None:
        self._writer = writer
        self._memory = memory
        self._secrets = secrets
        self._changed = changed
        self.replica: Replica | None = None
        self.make: Callable[[], Replica] | None = None  # where the database is a file, which may become a copy
        with database.read() as reader:
            self._generation = standing.generation(reader)
            self._fenced = standing.generation(reader, standing.FENCED)
            self.clustered = bool(cluster(reader))

    @property
    def generation(self) -> Generation:
        return self._generation if self.replica is None else self.replica.state.generation

    @property
    def fenced(self) -> Generation | None:
        """The generation that counts in place of this one; no acts are taken any more."""
        return self._fenced if self._fenced.number else None

    def standing(self, last: int) -> Standing:
        """`last`: the number of the last change."""
        state = "replica" if self.replica is not None else "fenced" if self.fenced else "primary"
        return Standing(self.generation, state, last)

    @property
    def whole(self) -> bool:
        """Whether the credentials of all accounts are here."""
        return self.replica is None or self.replica.state.whole

    def holds(self, pool: Pool | None) -> bool:
        """Whether those of the accounts of one pool are, where not all are."""
        if self.replica is None or pool is None:
            return False
        state = self.replica.state
        return bool(pool.store) and pool.store == state.store and not state.missing

    def need_primary(self) -> None:
        """Raises RookeryError(MOVED): it is another node's."""
        if self.replica is not None:
            raise RookeryError(Cause.MOVED, "this node has a replica of the directory, not the primary")
        if self.fenced is not None:
            raise RookeryError(Cause.MOVED, _FENCED)

    def need_acts(self) -> None:
        """Raises RookeryError(UNAVAILABLE): there are none any more."""
        if self._fenced.number:
            raise RookeryError(Cause.UNAVAILABLE, _FENCED)

    def hear(self, generation: Generation) -> None:
        """Of another node's directory. A higher one fences this."""
        if self.replica is None and self.fenced is None and generation > self._generation:
            log.error("directory-fenced", generation=self._generation.number, counts=generation.number)
            self._fenced = generation
            self._writer.submit(standing.FENCE, generation, done=lambda _: None)
            self._changed()

    def arrived(self, stale: Stale) -> None:
        """Something came from the primary."""
        forget(self._memory, stale)
        if stale.everything:
            with self._memory.reading() as reader:
                self._secrets.use(*standing.secrets(reader))
        self._changed()

    async def step_back(self) -> None:
        """Be a copy from now on, and forget what is here as soon as that has come. Raises RookeryError: CONFLICT unless
        another directory counts, UNSUPPORTED."""
        if self.make is None:
            raise RookeryError(
                Cause.UNSUPPORTED,
                "the directory of this node is in a database that others may use; take directory.database out of the"
                " settings, and set directory.replica = true",
            )
        if self.fenced is None:
            raise RookeryError(
                Cause.CONFLICT, "no other directory was promoted in place of this one, as far as it knows"
            )
        await self._writer.exclusive(standing.step_back)
        self._fenced = Generation(0)
        self.replica = self.make()
        self._changed()

    async def promote(self, random: RandomBytes, now: int) -> Generation:
        """This replica is the primary from now on. Raises RookeryError; CONFLICT when it is none."""
        replica = self.replica
        if replica is None or not replica.state.generation.number:
            raise RookeryError(Cause.CONFLICT, "the directory of this node is no replica that could be promoted")
        if not replica.state.whole:
            raise RookeryError(
                Cause.CONFLICT, "this node has the credentials of its own accounts only; promote one that has all"
            )
        await replica.close()
        self._generation = await self._writer.exclusive(lambda tx: standing.promote(tx, random, now))
        self.replica = None
        self._memory.forget_everything()
        self._changed()
        return self._generation
