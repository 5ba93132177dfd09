"""Which accounts are in memory: being opened, open, or kept a while for the next session.

Here each learns what committed batches did to it. One whose fate is not known after a batch is read again; one that is
hosted here no longer is dropped, and its sessions end.
"""

import asyncio
from collections import ChainMap
from collections.abc import Container

from rookery.base.clock import Clock
from rookery.base.errors import RookeryError
from rookery.base.ids import AccountId, account_text
from rookery.base.log import logger
from rookery.storage.batch import Progress
from rookery.storage.fence import NOT_HERE, Hosting
from rookery.storage.home import Home
from rookery.storage.open_account import OpenAccount
from rookery.storage.parts import StoreSettings
from rookery.storage.schema import ACTIVE

log = logger("store")


class _Opening:
    """An account that is being read. `made`: what batches did to it meanwhile."""

    __slots__ = ("made", "task")

    def __init__(self) -> None:
        self.made: list[Progress] = []
        self.task: asyncio.Task[OpenAccount] | None = None


class OpenAccounts:
    """One per store. All members belong to the event loop."""

    def __init__(self, home: Home, hosting: Hosting, clock: Clock, settings: StoreSettings) -> None:
        self._home = home
        self._hosting = hosting
        self._clock = clock
        self._settings = settings
        self._open: dict[AccountId, OpenAccount] = {}
        self._opening: dict[AccountId, _Opening] = {}
        self._idle: dict[AccountId, OpenAccount] = {}  # those without a session, the longest idle first
        self._lost: set[AccountId] = set()

    @property
    def watched(self) -> Container[AccountId]:
        """A view of those whose changes batches are to report in detail."""
        if not self._home.remote:
            return self._open
        return ChainMap[AccountId, object](self._open, self._opening)  # type: ignore[arg-type]

    async def open(self, account: AccountId) -> OpenAccount:
        """The one OpenAccount that all sessions of the account share; `release` it.

        Raises NOT_FOUND; UNAVAILABLE when the account is not hosted here, or no longer.
        """
        found = self._open.get(account)
        if found is None:
            if self._home.remote:
                found = await self._read_account(account)
            else:
                # A batch that ran before this and is committed after it reports without details, and is read again.
                found = self._open[account] = OpenAccount(self._home, account, self._epoch(account))
        found.need_active()
        self._idle.pop(account, None)
        found.holders += 1
        return found

    async def _read_account(self, account: AccountId) -> OpenAccount:
        opening = self._opening.get(account)
        if opening is None:
            epoch = self._epoch(account)
            opening = self._opening[account] = _Opening()
            opening.task = asyncio.create_task(self._opened(account, epoch, opening))
            opening.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be waiting
        assert opening.task is not None
        found = await asyncio.shield(opening.task)
        if found.lost:
            raise RookeryError(NOT_HERE.cause, NOT_HERE.what)
        return found

    async def _opened(self, account: AccountId, epoch: int | None, opening: _Opening) -> OpenAccount:
        """Read it, and then take over what was committed meanwhile, as far as it was not read. A batch that had begun
        before does not say what it did to an account that nobody wanted: it is waited for, and the account read again.
        """
        try:
            while True:
                found = await self._home.read_behind(lambda: OpenAccount(self._home, account, epoch))
                if self._opening.get(account) is not opening:
                    raise RookeryError(NOT_HERE.cause, NOT_HERE.what)
                made, opening.made = opening.made, []
                if all(found.advance(one) for one in made if found.epoch in (None, one.epoch)):
                    break
            found.need_active()
            self._open[account] = self._idle[account] = found
            found.idle_since = self._clock.monotonic()
        finally:
            if self._opening.get(account) is opening:
                del self._opening[account]
        return found

    def _epoch(self, account: AccountId) -> int | None:
        """Under which it is hosted here; None where that does not matter. Raises UNAVAILABLE when it is not."""
        epoch = self._hosting.epoch(account)
        if epoch is None:
            raise RookeryError(NOT_HERE.cause, NOT_HERE.what)
        return epoch or None

    def drop(self, account: AccountId) -> None:
        """Forget what is in memory: the account is not hosted here any more. Its sessions end, nothing is claimed."""
        self._opening.pop(account, None)
        found = self._open.pop(account, None)
        self._idle.pop(account, None)
        self._lost.discard(account)
        if found is not None:
            found.lose()

    def __contains__(self, account: AccountId) -> bool:
        """Sessions have it open, had it open lately, or are about to."""
        return account in self._open or account in self._opening

    def __len__(self) -> int:
        return len(self._open)

    def drop_all(self) -> None:
        for account in [*self._opening, *self._open]:
            self.drop(account)

    def release(self, account: OpenAccount) -> None:
        account.holders -= 1
        if account.holders > 0 or account.lost:
            return
        account.idle_since = self._clock.monotonic()
        self._idle[account.account] = account
        if len(self._idle) > self._settings.idle_accounts:
            self._forget(next(iter(self._idle.values())))

    def _forget(self, account: OpenAccount) -> None:
        self._idle.pop(account.account, None)
        self._open.pop(account.account, None)

    def close_idle(self) -> int:
        """Forget what nobody has used for a while; returns how many are still in memory."""
        oldest = self._clock.monotonic() - self._settings.idle
        for account in list(self._idle.values()):  # in order of their last use
            if account.idle_since > oldest:
                break
            self._forget(account)
        return len(self._open)

    def advance(self, made: dict[AccountId, Progress]) -> None:
        opened, opening = self._open, self._opening
        if self._lost:
            self.find_again()
        if opened:
            for account in made.keys() & opened.keys():
                self._advance_one(opened[account], made[account])
        if opening:
            for account in made.keys() & opening.keys():
                opening[account].made.append(made[account])

    def _advance_one(self, account: OpenAccount, made: Progress) -> None:
        if account.epoch is not None and account.epoch != made.epoch:
            return  # of before this process lost the account and had it again: that was read
        try:
            if not account.advance(made):
                account.reload()
        except RookeryError as error:
            self.lose({account.account})
            name = account_text(account.account)
            log.warning("account-lost", account=name, cause=error.cause.value, what=error.what)
        if account.state != ACTIVE:
            self.drop(account.account)

    def lose(self, accounts: set[AccountId]) -> None:
        """What a batch did to these is not known: read them again, or with the next batch."""
        self._lost |= accounts & self._open.keys()
        self.find_again()

    def find_again(self) -> None:
        """Read again what a batch left unknown, as soon as the database answers. Where others may have the account it
        is lost until then: memory lacks what was committed, and nobody may read that.
        """
        for account in list(self._lost):
            found = self._open.get(account)
            try:
                if found is not None:
                    found.reload()
                    if found.state != ACTIVE:
                        self.drop(account)
            except RookeryError:
                if found is None or found.epoch is None:
                    return  # the database is away; asked again with the next batch or upkeep
                self._hosting.doubtful([account])
            self._lost.discard(account)
