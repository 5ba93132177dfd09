"""Account by account: claimed when somebody asks for it and nobody hosts it, held under an epoch, released, lost.

    closed --locate--> claiming --epoch--> held --release--> leaving --> closed
                                           held --fence, unknown outcome, incarnation over--> closed

Whoever asks while an account is being claimed waits for the same claim; what is asked for meanwhile goes into the next
statement together. An answer to a claim that was sent before everything was lost (`generation`) is thrown away, and
the claim is sent again: the row may name an incarnation that is over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from itertools import islice, takewhile
from typing import Protocol

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import AccountId, RandomBytes, account_text, system_random
from rookery.base.log import Level, logger
from rookery.base.outage import Outage
from rookery.distribution.placement.handing import Handing
from rookery.distribution.placement.heartbeat import Heartbeat, Me, Surroundings
from rookery.distribution.placement.rendezvous import ranked
from rookery.distribution.placement.values import (
    Backend,
    Claimed,
    Elsewhere,
    Here,
    Location,
    Moved,
    MovedTo,
    Nobody,
    Peer,
    Pool,
)
from rookery.storage.hosting import application

GROUP = 64  # accounts claimed by one statement, and at once
WAITING = 10_000  # accounts that wait to be claimed; more are refused
PATIENCE = 5.0  # seconds for an account to be found or claimed
AGAIN = 0.05  # seconds between two attempts
IDLE = 300.0  # seconds without anybody asking for an account, until it is released
TIDY = 10.0  # seconds between two looks for such

log = logger("placement")

Answer = Location | Moved | Refusal
Waiting = asyncio.Future[Answer]


class Opened(Protocol):
    """What has accounts in memory."""

    def drop_account(self, account: AccountId) -> None:
        """Its sessions end, claiming nothing; what is under way for it is not answered."""

    def drop_all(self) -> None: ...

    def in_memory(self, account: AccountId) -> bool: ...


class _Held:
    __slots__ = ("asked", "epoch")

    def __init__(self, epoch: int, asked: float) -> None:
        self.epoch = epoch
        self.asked = asked  # for the last time, when


async def _nothing(account: AccountId) -> None:
    return


class Placement:
    """`address`: where clients and deliveries of what is hosted here are to go. Made and used on the event loop.

    `renamed`: the name of this process's sessions at the pool's database from now on, so that others can end them.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        backend: str,
        address: str,
        around: Surroundings = Surroundings(),  # noqa: B008  immutable
        random: RandomBytes = system_random,
        renamed: Callable[[str], None] = lambda application: None,
    ) -> None:
        self.generation = 0
        self.heart = Heartbeat(
            pool, around, backend=backend, address=address, random=random, lost=self._drop_all, registered=self._lives
        )
        self._pool = pool
        self._now, self._pause = around.now, around.pause
        self._renamed = renamed
        self._opened: Opened | None = None
        self._settle: Callable[[AccountId], Awaitable[None]] = _nothing
        self._held: dict[AccountId, _Held] = {}  # the one that was not asked for for longest first
        self._asked: dict[AccountId, Waiting] = {}
        self._leaving: dict[AccountId, asyncio.Future[None]] = {}
        self._claiming = False  # a claim is on its way
        self._claims = Outage(log, "claim-failed", around.now, Level.INFO)
        self._living = asyncio.Event()
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def attach(self, opened: Opened, settle: Callable[[AccountId], Awaitable[None]] = _nothing) -> None:
        """`settle`: begin no new commands of the account, wait for those under way. Before a release."""
        self._opened, self._settle = opened, settle

    # --- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Registers as soon as the database can be reached."""
        self._tasks = [asyncio.ensure_future(work) for work in (self.heart.run(), self._claim_all(), self._tidy())]

    async def close(self) -> None:
        """The accounts may be claimed by others at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for account in list(self._asked):
            self._answer(account, Refusal(Cause.UNAVAILABLE, "the server is stopping"))
        with suppress(RookeryError):
            await self.heart.leave()

    def _lives(self, me: Me) -> None:
        self._renamed(application(me.incarnation))
        self._living.set()

    def _drop_all(self) -> None:
        self.generation += 1
        self._held.clear()
        if self.heart.me is None:
            self._living.clear()
        if self._opened is not None:
            self._opened.drop_all()

    @property
    def timeline(self) -> str:
        """Under which everything that is held was claimed; empty while nothing is."""
        return self.heart.me.timeline if self.heart.me is not None else ""

    # --- what the fence asks and tells (storage/fence.py, Hosting) --------------------------------------------------

    def epoch(self, account: AccountId) -> int | None:
        held = self._held.get(account)
        return held.epoch if held is not None else None

    def fenced(self, accounts: Collection[AccountId]) -> None:
        self._drop(accounts, "fenced")

    def doubtful(self, accounts: Collection[AccountId]) -> None:
        self._drop(accounts, "outcome unknown")

    def moved_on(self, timeline: str) -> None:
        if self.heart.me is not None and timeline != self.heart.me.timeline:
            self.heart.void("the database is on another timeline")

    def _drop(self, accounts: Collection[AccountId], why: str) -> None:
        for account in accounts:
            if self._held.pop(account, None) is not None:
                log.warning("account-lost", account=account_text(account), why=why)
                if self._opened is not None:
                    self._opened.drop_account(account)

    # --- what access asks ------------------------------------------------------------------------------------------

    def may_read(self) -> bool:
        return self.heart.may_read()

    async def fresh(self) -> None:
        """Before each reply from memory. Raises UNAVAILABLE: then the session ends."""
        await self.heart.fresh()

    def here(self, account: AccountId) -> bool:
        """Whether this backend is its host already."""
        return account in self._held and account not in self._leaving

    async def locate(self, account: AccountId) -> Location:
        """Where it is; claims it when nobody hosts it. Raises NOT_FOUND, MOVED (MovedTo, to another pool), BUSY,
        UNAVAILABLE.
        """
        if self.here(account):
            return self._again(account)
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._locate(account)
        except TimeoutError:
            self._answer(account, Refusal(Cause.UNAVAILABLE, "it cannot be found out now who hosts the account"))
            raise RookeryError(Cause.UNAVAILABLE, "it cannot be found out now who hosts the account") from None

    async def _locate(self, account: AccountId) -> Location:
        while True:
            leaving = self._leaving.get(account)
            if leaving is not None:
                await asyncio.shield(leaving)
                continue
            if self.here(account):
                return self._again(account)
            found = await asyncio.shield(self._ask(account))
            if isinstance(found, Refusal):
                raise RookeryError(found.cause, found.what)
            if isinstance(found, Moved):
                raise MovedTo(found.pool)
            if isinstance(found, Elsewhere):
                return found

    def _again(self, account: AccountId) -> Here:
        held = self._held[account] = self._held.pop(account)
        held.asked = self._now()
        return Here(held.epoch)

    def _ask(self, account: AccountId) -> Waiting:
        asked = self._asked.get(account)
        if asked is None:
            if len(self._asked) >= WAITING:
                raise RookeryError(Cause.BUSY, f"more than {WAITING} accounts wait to be opened")
            asked = self._asked[account] = asyncio.get_running_loop().create_future()
            self._wanted.set()
        return asked

    def _answer(self, account: AccountId, found: Answer) -> None:
        asked = self._asked.pop(account, None)
        if asked is not None and not asked.done():
            asked.set_result(found)

    # --- claims ----------------------------------------------------------------------------------------------------

    async def _claim_all(self) -> None:
        while True:
            if not self._asked:
                self._wanted.clear()
                await self._wanted.wait()
            await self._living.wait()
            if not await self.claim_some():
                await self._pause(AGAIN)

    async def claim_some(self) -> bool:
        """One statement for the accounts that have waited longest; false: nothing came of it, try again a bit later."""
        me, generation = self.heart.me, self.generation
        group = list(islice(self._asked, GROUP))
        if me is None or not group:
            return False
        self._claiming = True
        try:
            claimed = await self._pool.claim(me.incarnation, group, take=not self.heart.draining)
        except RookeryError as error:
            self._claims.failed(error.cause.value, what=error.what)
            return False
        except Exception as error:  # noqa: BLE001  an error of ours must not end all claiming; logged with its type
            log.error("claim-failed", error=type(error).__name__)
            return False
        finally:
            self._claiming = False
        self._claims.over()
        if self.generation != generation or self.heart.me is not me:
            return True
        if not claimed.living or claimed.timeline != me.timeline:
            self.heart.void("a claim found it so")
            return False
        return self._take_over(claimed)

    def _take_over(self, claimed: Claimed) -> bool:
        progress = False
        for account, found in claimed.found.items():
            answer = self._successor(account) if isinstance(found, Nobody) else found
            if isinstance(answer, Here):
                self._held[account] = _Held(answer.epoch, self._now())
            elif not isinstance(answer, Moved) and self._is_for_now(answer):
                again = self._asked.pop(account, None)
                if again is not None:
                    self._asked[account] = again
                continue
            self._answer(account, answer)
            progress = True
        return progress

    def _is_for_now(self, answer: Elsewhere | Refusal) -> bool:
        """Better asked again than told: nobody is sent to a host that is perhaps dead; a row may be locked for long."""
        if isinstance(answer, Refusal):
            return answer.cause is Cause.BUSY
        return self.heart.silent(answer.incarnation)

    def _successor(self, account: AccountId) -> Elsewhere | Refusal:
        """While this backend is being drained: who is to be asked for an account that nobody hosts."""
        able = self._able()
        if not able:
            return Refusal(Cause.UNAVAILABLE, "this backend is being drained, and there is no other")
        peer = ranked(account, able, lambda peer: peer.backend)[0]
        return Elsewhere(peer.backend, peer.address, peer.incarnation)

    def _able(self) -> list[Peer]:
        """The others that claim accounts."""
        return [peer for peer in self.heart.others if not peer.draining and not self.heart.silent(peer.incarnation)]

    # --- giving away -----------------------------------------------------------------------------------------------

    async def release(self, account: AccountId) -> None:
        """After its commands under way it is nobody's. Whether the database heard of it does not matter: if not, the
        row names this incarnation, which may claim it again.
        """
        leaving = self._leaving.get(account)
        if leaving is not None:
            await asyncio.shield(leaving)
            return
        held = self._held.get(account)
        if held is None:
            return
        leaving = self._leaving[account] = asyncio.get_running_loop().create_future()
        try:
            await self._settle(account)
            if self._held.get(account) is not held:
                return
            del self._held[account]
            if self._opened is not None:
                self._opened.drop_account(account)
            if self.heart.me is not None:
                await self._pool.release(self.heart.me.incarnation, account, held.epoch)
        except RookeryError as error:
            log.info("release-failed", account=account_text(account), cause=error.cause.value, what=error.what)
        finally:
            del self._leaving[account]
            leaving.set_result(None)

    async def release_idle(self) -> None:
        """After a rolling restart accounts so return to where they are asked for first."""
        idle = list(takewhile(lambda account: self._now() - self._held[account].asked >= IDLE, self._held))
        for account in idle:
            if self._opened is not None and self._opened.in_memory(account):
                if self.here(account):
                    self._again(account)
            else:
                await self.release(account)

    async def _tidy(self) -> None:
        while True:
            await self._pause(TIDY)
            await self.release_idle()

    async def drain(self) -> None:
        """Account by account to the others, at their pace; none is claimed until `undrain`, which also ends this."""
        await self._give_away(lambda: True)

    async def leave(self) -> None:
        """As `drain`, as long as there are others: this backend is about to end."""
        await self._give_away(lambda: bool(self._able()))

    async def _give_away(self, on: Callable[[], bool]) -> None:
        self.heart.draining = True  # the others see it with the next beat
        handing = Handing(self._taken, self._now, self._pause)
        while self.heart.draining and (self._held or self._claiming) and on():
            account = next(iter(self._held), None)
            if account is None:
                await self._pause(AGAIN)
                continue
            in_use = self._opened is not None and self._opened.in_memory(account)
            await self.release(account)
            if in_use:
                await handing.given(account)

    async def _taken(self, accounts: Sequence[AccountId]) -> Collection[AccountId]:
        """Those that others have by now; all when it cannot be found out."""
        if self.heart.me is None:
            return accounts
        try:
            claimed = await self._pool.claim(self.heart.me.incarnation, accounts, take=False)
        except RookeryError:
            return accounts
        return [account for account, found in claimed.found.items() if not isinstance(found, Nobody)]

    def undrain(self) -> None:
        self.heart.draining = False

    @property
    def draining(self) -> bool:
        return self.heart.draining

    # --- what administrators ask -----------------------------------------------------------------------------------

    def hosted(self) -> dict[AccountId, int]:
        """The accounts held here, with their epochs."""
        return {account: held.epoch for account, held in self._held.items()}

    def living(self) -> set[str]:
        """The backends that live as of the last beat, this one included; costs nothing."""
        return {self.heart.backend, *(peer.backend for peer in self.heart.others)}

    def takers(self) -> list[tuple[str, str]]:
        """The backends that claim accounts, with their addresses; all living ones when there is none."""
        heart = self.heart
        found = [(peer.backend, peer.address) for peer in self._able()]
        if heart.draining and not found:
            found = [(peer.backend, peer.address) for peer in heart.others]
        if not heart.draining or not found:
            found.append((heart.backend, heart.address))
        return found

    async def backends(self) -> list[Backend]:
        """The living ones, in order of their names. Counts all hosted accounts of the pool. Raises UNAVAILABLE."""
        return [
            Backend(
                peer.backend, peer.incarnation, peer.address, peer.draining,
                self.heart.silence(peer.incarnation), accounts,
            )
            for peer, accounts in await self._pool.living()
        ]  # fmt: skip
