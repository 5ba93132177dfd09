"""A frontend before which there are others: what they ask it asks for them, the sessions that they bring it passes on.

Who is further out knows only frontends like this one, which the directory and the hosts know; nothing that it says
names a host. What it may ask is counted here, as a directory node counts what this one asks.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable

import msgspec

from rookery.access.directory_service import AGAIN_TIME, EXCHANGE_TIME, EXCHANGES, Allowance
from rookery.access.frontend.login import log
from rookery.access.frontend.way import Opening, Way, handed_over
from rookery.access.handoff import HOPS
from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member
from rookery.distribution.service.calls import (
    Again,
    Answer,
    Begin,
    Cancel,
    Challenge,
    Client,
    Expect,
    Granted,
    Host,
    Nothing,
    Step,
)
from rookery.distribution.service.logins import Directory
from rookery.distribution.service.questions import Questions
from rookery.net.stream import Stream


class InnerWay:
    """Implements way.Way: host after host is asked, as for clients of this node's own."""

    def __init__(self, way: Way, directory: Directory) -> None:
        self._way = way
        self._directory = directory

    async def open(self, granted: Granted, opening: Opening) -> tuple[Stream, bytes]:
        return await handed_over(self._way, self._again, granted, opening, log)

    async def _again(self, granted: Granted, relay: bool) -> Granted:
        return await self._directory.again(granted.exchange, relay=relay)


class _Exchange(msgspec.Struct, frozen=True):
    client: Client
    until: float


class InnerDirectory:
    """`passing`: expect somebody here, who is to be passed on; the handle (handoff.Handoff)."""

    def __init__(self, directory: Directory, passing: Callable[[Expect, Granted], bytes], clock: Clock) -> None:
        self._directory = directory
        self._passing = passing
        self._clock = clock
        self.allowance = Allowance(clock)
        self._exchanges: defaultdict[str, OrderedDict[bytes, _Exchange]] = defaultdict(OrderedDict)  # by node

    def take(self, questions: Questions) -> None:
        """Answer those that are ours."""
        questions.take(Begin, self._begin, "authenticate")
        questions.take(Step, self._step, "authenticate")
        questions.take(Again, self._again, "authenticate")
        questions.take(Cancel, self._cancel, "authenticate")

    async def _begin(self, caller: Member, begin: Begin) -> Answer:
        self.allowance.may_guess(caller)
        client = begin.client
        if client.hops >= HOPS - 1:  # this node would be one more, and a way around a cut another
            raise RookeryError(Cause.UNAVAILABLE, f"passed on by {client.hops} frontends")
        onward = msgspec.structs.replace(client, hops=client.hops + 1)
        return await self._after(caller, client, self._directory.begin(onward, begin.mechanism, begin.initial))

    async def _step(self, caller: Member, step: Step) -> Answer:
        self.allowance.charge(caller)
        client = self._taken(caller, step.exchange)
        return await self._after(caller, client, self._directory.step(step.exchange, step.data))

    async def _again(self, caller: Member, again: Again) -> Answer:
        self.allowance.charge(caller)
        client = self._taken(caller, again.exchange)
        return self._under_way(caller, client, await self._directory.again(again.exchange))

    async def _cancel(self, caller: Member, cancel: Cancel) -> Answer:
        self.allowance.charge(caller)
        self._taken(caller, cancel.exchange)
        await self._directory.cancel(cancel.exchange)
        return Nothing()

    async def _after(self, caller: Member, client: Client, asked: Awaitable[Challenge | Granted]) -> Answer:
        try:
            step = await asked
        except RookeryError as error:
            self.allowance.refused(caller, error.cause)
            raise
        return self._under_way(caller, client, step)

    def _under_way(self, caller: Member, client: Client, step: Challenge | Granted) -> Answer:
        granted = isinstance(step, Granted)
        own, now = self._exchanges[caller.name], self._clock.monotonic()
        while own and (len(own) >= EXCHANGES or next(iter(own.values())).until <= now):
            own.popitem(last=False)
        own[step.exchange] = _Exchange(client, now + (AGAIN_TIME if granted else EXCHANGE_TIME))
        if isinstance(step, Challenge):
            return step
        comes = Expect(step.account, client.protocol, caller.name, client.session)
        here = Host(step.host.backend, "")
        return msgspec.structs.replace(step, host=here, handle=self._passing(comes, step))

    def _taken(self, caller: Member, number: bytes) -> Client:
        found = self._exchanges[caller.name].pop(number, None)
        if found is None or found.until <= self._clock.monotonic():
            raise RookeryError(Cause.UNAVAILABLE, "no such exchange is under way")
        return found.client
