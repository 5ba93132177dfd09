"""The directory as everybody else sees it: synchronous reads, and one coroutine for each act.

Lives on the event loop. Reads answer from memory or by a point read; acts go through the writer thread and have
committed when they return. What an act made stale is forgotten before it is acknowledged, also when its caller has
been cancelled meanwhile.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import TypeVar

from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId, RandomBytes, system_random
from rookery.distribution.directory import acts, listing, reads
from rookery.distribution.directory.addresses import POSTMASTER, canonical_domain, parse_address
from rookery.distribution.directory.copies import Copies
from rookery.distribution.directory.following import Following
from rookery.distribution.directory.logins import LoginBatch
from rookery.distribution.directory.memory import Memory
from rookery.distribution.directory.reading import NotInMemory, Reading, one_moment
from rookery.distribution.directory.resolve import Known, known, resolve
from rookery.distribution.directory.rules import Outcome
from rookery.distribution.directory.rules_accounts import RecordLogins
from rookery.distribution.directory.secrets import Secrets
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.directory.values import (
    AccountRecord,
    Alias,
    Change,
    Credentials,
    Domain,
    Group,
    Kind,
    LastLogin,
    Pool,
    Resolution,
)  # fmt: skip
from rookery.storage.engine import Database, Reader
from rookery.storage.group_commit import Rule
from rookery.storage.writer import Writer

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

READERS = 4  # threads that look aside


class Directory:
    """Made by `opening.open_directory`; `close` ends it. `here`: the pool of this node, 0 while it has none."""

    __slots__ = (
        "_clock",
        "_copy",
        "_database",
        "_following",
        "_logins",
        "_memory",
        "_readers",
        "_reading",
        "_remembered",
        "_watchers",
        "_writer",
        "confirm_release",
        "copies",
        "here",
        "random",
        "secrets",
        "settings",
    )

    def __init__(
        self,
        database: Database,
        writer: Writer,
        *,
        clock: Clock,
        secrets: Secrets,
        settings: DirectorySettings,
        copy: Callable[[Path], None] | None,
        random: RandomBytes = system_random,
    ) -> None:
        self._database = database
        self.confirm_release = database.confirm_release
        self._writer = writer
        self._clock = clock
        self._copy = copy
        self.random = random
        self._reading: Reading = database.read
        self._memory = Memory(self._reading)
        self._logins = LoginBatch(self._write_logins)
        self._watchers: list[Callable[[], None]] = []
        self._following = Following(database, self._memory, self._tell) if database.shared else None
        self._readers = ThreadPoolExecutor(READERS, "directory-reader") if database.shared else None
        self._remembered = self
        self.copies = Copies(database, writer, self._memory, secrets, self._tell)
        self.secrets = secrets
        self.settings = settings
        self.here = 0

    # --- plumbing ---

    def now(self) -> int:
        return int(self._clock.wall())

    async def act(self, rule: Rule[A, Outcome[R]], argument: A) -> R:
        """Run one rule; raises RookeryError with its refusal. On a replica, the primary runs it."""
        if self.copies.replica is not None:
            return await self.copies.replica.act(rule, argument)
        self.copies.need_acts()
        future: asyncio.Future[Outcome[R] | Refusal] = asyncio.get_running_loop().create_future()

        def done(result: Outcome[R] | Refusal) -> None:
            if isinstance(result, Outcome):
                self._forget(result)
            elif result.cause is Cause.UNAVAILABLE and self._following is None:
                self._memory.forget_everything()  # whether it was committed is not known
            if not future.done():
                future.set_result(result)

        await self._writer.room()
        self._writer.submit(rule, argument, done=done)
        result = await future
        if isinstance(result, Refusal):
            raise RookeryError(result.cause, result.what)
        return result.value

    def _forget(self, outcome: Outcome[R]) -> None:
        if outcome.everything:
            self._memory.forget_everything()
        for name in outcome.names:
            self._memory.forget_name(name)
        for account in outcome.accounts:
            self._memory.forget_account(account)
        self._tell()

    def _tell(self) -> None:
        for watcher in list(self._watchers):
            watcher()

    @property
    def shared(self) -> bool:
        """Whether other nodes have it too: on a database server, or as replicas."""
        return self._following is not None or self.copies.replica is not None or self.copies.clustered

    async def catch_up(self) -> None:
        """Everything that another node committed before this call counts here after it. Raises UNAVAILABLE."""
        if self._following is not None:
            await self._following.catch_up()
        if self.copies.replica is not None:
            await self.copies.replica.catch_up()

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Called on the loop after committed acts, here or elsewhere, without saying which: the log is the truth.

        Returns the end.
        """
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    # --- looking without keeping the event loop waiting ---

    @property
    def remembered(self) -> "Directory":
        """This directory, but on a database server it raises NotInMemory rather than ask it."""
        if self._following is None:
            return self
        view = self._remembered
        if view is self or view.here != self.here or view.settings is not self.settings:
            view = self._remembered = self._over(self._memory.alone())
        return view

    def ask(self, look: Callable[["Directory"], T]) -> T | Awaitable[T]:
        """What `look` finds: at once, if nobody has to be asked over the network; else see `aside`."""
        try:
            return look(self.remembered)
        except NotInMemory:
            return self.aside(look)

    async def find(self, look: Callable[["Directory"], T]) -> T:
        """As `ask`."""
        try:
            return look(self.remembered)
        except NotInMemory:
            return await self.aside(look)

    async def aside(self, look: Callable[["Directory"], T]) -> T:
        """What `look` finds at one moment, read in a thread and then remembered here. It may call what only reads."""
        if self._following is None:
            return look(self)
        changes = self._memory.changes
        memory, found = await asyncio.get_running_loop().run_in_executor(self._readers, self._look, look)
        self._memory.take(memory, changes)
        return found

    def _look(self, look: Callable[["Directory"], T]) -> tuple[Memory, T]:
        with one_moment(self._database) as reading:
            memory = Memory(reading)
            return memory, look(self._over(memory))

    def _over(self, memory: Memory) -> "Directory":
        view = copy(self)
        view._memory, view._reading = memory, memory.reading
        return view

    async def apart(self, read: Callable[[Reader], T]) -> T:
        """What may take its time, read at one moment in a thread; nothing of it is remembered."""

        def look() -> T:
            with self._database.read() as reader:
                return read(reader)

        return await asyncio.get_running_loop().run_in_executor(self._readers, look)

    def read(self, read: Callable[[Reader], T]) -> T:  # of a server: within `aside`, or the event loop waits
        with self._reading() as reader:
            return read(reader)

    async def snapshot(self, target: Path) -> None:
        """A consistent copy of this moment as a database file of its own, while acts and reads go on.

        Raises UNSUPPORTED for a directory on a database server, whose copies are that server's affair.
        """
        if self._copy is None:
            raise RookeryError(
                Cause.UNSUPPORTED, "the directory is on PostgreSQL, which makes its own copies; see pg_basebackup"
            )
        await asyncio.get_running_loop().run_in_executor(None, self._copy, target)

    async def close(self) -> None:
        """Write the last logins, finish the acts under way."""
        self._logins.flush()
        if self.copies.replica is not None:
            await self.copies.replica.close()
        await self._writer.close()
        if self._following is not None:
            await self._following.close()
        if self._readers is not None:
            await asyncio.to_thread(self._readers.shutdown)
        self._database.close()

    def holds_credentials(self, account: AccountId) -> bool:
        """Whether a login can be checked here; for an unknown account too. If not, a node with the whole directory is
        to be asked."""
        if self.copies.whole:
            return True
        record = self._memory.account(account)
        return record is None or self.copies.holds(self.pool_of(record))

    # --- domains ---

    @property
    def default_domain(self) -> str:
        """Where a name without @ belongs: the domain of the setting while it exists, else the oldest one, else ""."""
        wanted = self.settings.default_domain
        return wanted if wanted and self.is_local(wanted) else self._memory.oldest_domain()

    def domain(self, name: str) -> Domain | None:
        """By any of its names, in any form; a name that is no domain is simply not there."""
        try:
            canonical = canonical_domain(name)
        except RookeryError:
            return None
        return self.read(lambda reader: reads.domain(reader, canonical))

    def is_local(self, name: str) -> bool:
        """Whether `name` (canonical) is a domain of ours."""
        return self._memory.domain_number(name) is not None

    def domains(self) -> Iterator[Domain]:
        return listing.domains(self)

    # --- accounts ---

    def _entry_of(self, text: str) -> reads.Entry | None:
        """Of text that is no address there is none; a directory that is away is another matter, and raises."""
        try:
            address = parse_address(text)
        except RookeryError:
            return None
        number = self._memory.domain_number(address.domain) if address.domain else reads.SITE_DOMAIN
        return None if number is None else self._memory.entry(number, address.local)

    def account(self, address: str) -> AccountRecord | None:
        """The account that has exactly this address, in whatever state; bare `postmaster` is the built-in one."""
        entry = self._entry_of(address)
        return self._memory.account(entry.object) if entry is not None and entry.kind is Kind.ACCOUNT else None

    def account_by_id(self, account: AccountId) -> AccountRecord | None:
        return self._memory.account(account)

    def login_account(self, login: str) -> AccountRecord | None:
        """As `account`; a bare name belongs to the default domain."""
        if "@" not in login and (domain := self.default_domain):
            found = self.account(f"{login}@{domain}")
            if found is not None or login.lower() != POSTMASTER:
                return found
        return self.account(login)

    def accounts(self, domain: str | None = None) -> Iterator[AccountRecord]:
        """All, domain by domain, in order; the built-in postmaster is not among them. Raises NOT_FOUND."""
        return listing.pages(self, domain, reads.accounts, lambda record: record.address.rpartition("@")[0])

    def count_accounts(self, domain: str | None = None) -> int:
        if domain is None:
            return self.read(reads.count_accounts)
        numbers = [*listing.numbers(self, domain)]
        return self.read(lambda reader: sum(reads.count_accounts(reader, number) for number in numbers))

    def credentials(self, account: AccountId) -> Credentials | None:
        return self._memory.credentials(account)

    def expired_accounts(self, limit: int = listing.PAGE) -> list[AccountRecord]:
        """Removed accounts of this node's pool whose time is over: remove their mail, then `purge_account`."""
        now, pools = self.now(), self._memory.pools()
        if pools and not self.here:
            return []
        pool = 0 if not pools or pools[0].id == self.here else self.here
        return self.read(lambda reader: reads.expired(reader, pool, now, limit))

    def last_login(self, account: AccountId) -> LastLogin | None:
        return self._logins.get(account) or self.read(lambda reader: reads.last_login(reader, account))

    def record_login(self, account: AccountId, protocol: str, address: str, at: int | None = None) -> None:
        """Kept in memory for at most a second, then written with all others."""
        self._logins.add(account, LastLogin(self.now() if at is None else at, protocol[:40], address[:64]))

    def flush_logins(self) -> None:
        self._logins.flush()

    def _write_logins(self, logins: tuple[tuple[AccountId, LastLogin], ...]) -> None:
        act = RecordLogins(logins)
        self._writer.submit(acts.RECORD_LOGINS, act, done=lambda _: None)
        if self.copies.replica is not None:  # kept here at once, and at the primary if it can be
            self.copies.replica.tell(acts.RECORD_LOGINS, act)

    # --- pools ---

    def pools(self) -> list[Pool]:
        """As they are now, with what is free in them; the first one has the accounts that were never given a pool."""
        return self.read(reads.pools)

    def accounts_of_pools(self) -> Counter[int]:
        """How many accounts each has, by its number."""
        return self.read(reads.accounts_of_pools)

    def pool_of(self, record: AccountRecord) -> Pool | None:
        """None while no pool is known at all."""
        return self._memory.pools().get(record.pool)

    @property
    def several_pools(self) -> bool:
        return len(self._memory.pools()) > 2  # the first one is there twice

    def elsewhere(self, account: AccountId) -> Pool | None:
        """The pool that has the account, unless it is this node's own; None for an unknown account too."""
        record = self._memory.account(account)
        pool = self.pool_of(record) if record is not None else None
        return None if pool is None or pool.id == self.here else pool

    # --- aliases and groups ---

    def alias(self, address: str) -> Alias | None:
        return self._expansion(address, Kind.ALIAS, reads.alias)

    def group(self, address: str) -> Group | None:
        return self._expansion(address, Kind.GROUP, reads.group)

    def _expansion(self, address: str, kind: Kind, read: Callable[[Reader, bytes], T | None]) -> T | None:
        entry = self._entry_of(address)
        if entry is None or entry.kind is not kind:
            return None
        return self.read(lambda reader: read(reader, entry.object))

    def aliases(self, domain: str | None = None) -> Iterator[Alias]:
        return listing.pages(self, domain, reads.aliases, lambda alias: alias.address.rpartition("@")[0])

    def groups(self, domain: str | None = None) -> Iterator[Group]:
        return listing.pages(self, domain, reads.groups, lambda group: group.address.rpartition("@")[0])

    # --- resolving ---

    def resolve(self, address: str) -> Resolution:
        """Where mail for `address` goes. Raises RookeryError: INVALID (no address), TOO_MANY (stands for too many)."""
        return resolve(self._memory, self._keepers, self.default_domain, address)

    def known(self, address: str) -> Known:
        """Whether mail for `address` is ours and wanted, without expanding anything. Raises INVALID."""
        return known(self._memory, self.default_domain, address)

    def _keepers(self, number: int | None) -> list[AccountRecord]:
        return self.read(lambda reader: reads.keepers(reader, number))

    # --- the change log ---

    def last_change(self) -> int:
        return self.read(reads.last_change)

    def changes(self, after: int, limit: int = listing.PAGE) -> list[Change]:
        """Rows of the change log after number `after`, oldest first."""
        return self.read(lambda reader: list(reads.changes(reader, after, limit)))
