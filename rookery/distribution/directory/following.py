"""What other nodes change in a shared directory: read from the change log, forgotten here.

The log is the truth. A wake-up says only that it is worth looking; when one is lost, the look comes a second later.
While the database is away nothing is forgotten: who is known goes on being known.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

import msgspec

from rookery.base.errors import RookeryError
from rookery.base.ids import AccountId, account_from_text
from rookery.base.log import logger
from rookery.distribution.directory import reads
from rookery.distribution.directory.memory import Memory
from rookery.distribution.directory.values import Change, Kind, Verb
from rookery.storage.engine import Database, Reader

INTERVAL = 1.0  # seconds between two looks without a wake-up
BEHIND = 2_000  # changes; who is further behind forgets everything

log = logger("directory")


class Stale(msgspec.Struct):
    """What some changes made stale. `absent`: names that were not there may be there now. `last`: the last of them."""

    last: int
    everything: bool = False
    absent: bool = False
    expansions: bool = False
    accounts: set[AccountId] = msgspec.field(default_factory=set)
    purged: set[bytes] = msgspec.field(default_factory=set)


def stale_since(reader: Reader, seen: int) -> Stale:
    """Of the changes after number `seen`. A log that has lost some of them, or went back, makes everything stale."""
    last = reads.last_change(reader)
    changes = list(reads.changes(reader, seen, BEHIND)) if last > seen else []
    return stale_by(changes, last, everything=last - seen != len(changes))


def stale_by(changes: Iterable[Change], last: int, *, everything: bool = False) -> Stale:
    """Of these changes; `everything`: and others that are not known."""
    stale = Stale(last, everything)
    for change in changes:
        if change.kind in (Kind.ACCOUNT, Kind.CREDENTIAL):
            account = account_from_text(change.object)
            stale.accounts.add(account)
            stale.absent |= change.verb is Verb.CREATED
            if change.verb is Verb.DESTROYED:
                stale.purged.add(account)
        elif change.kind is Kind.EXPANSION:
            stale.expansions = True
            stale.absent |= change.verb is Verb.CREATED
            if change.verb is Verb.DESTROYED:
                stale.purged.add(bytes.fromhex(change.object))
        elif change.kind not in (Kind.MEMBER, Kind.AUTHORITY):  # of those nothing is remembered
            stale.everything = True
    return stale


def forget(memory: Memory, stale: Stale) -> None:
    if stale.everything:
        memory.forget_everything()
        return
    if stale.absent:
        memory.forget_absent()
    if stale.expansions:
        memory.forget_expansions()
    for account in stale.accounts:
        memory.forget_account(account)
    if stale.purged:
        memory.forget_names_of(stale.purged)


class Following:
    """Keeps one node's memory true. `changed` is called on the loop after something was forgotten."""

    def __init__(self, database: Database, memory: Memory, changed: Callable[[], None]) -> None:
        with database.read() as reader:
            self._seen = reads.last_change(reader)
        self._database = database
        self._memory = memory
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._looking = asyncio.Lock()
        self._unlisten = database.listen(self._wake)
        self._task = self._loop.create_task(self._run())

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._woken.set)

    async def _run(self) -> None:
        away = False
        while True:
            try:
                await self.catch_up()
                away = False
            except RookeryError as error:
                if not away:
                    log.warning("directory-away", cause=error.cause.value, what=error.what)
                away = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._woken.wait()
            self._woken.clear()

    async def catch_up(self) -> None:
        """When it returns, all that was committed anywhere before the call counts here. Raises RookeryError."""
        async with self._looking:
            stale = await asyncio.to_thread(self._look)
            if stale.last == self._seen:
                return
            forget(self._memory, stale)
            self._seen = stale.last
        self._changed()

    def _look(self) -> Stale:
        with self._database.read() as reader:
            return stale_since(reader, self._seen)

    async def close(self) -> None:
        self._unlisten()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
