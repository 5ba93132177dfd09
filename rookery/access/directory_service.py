"""The directory, as nodes without one ask it over the cluster port: may this client log in, does this address exist.

A frontend relays what its client says and learns where to go, never a hash, a list or another account. What it may ask
is told by the roles in its certificate, how much by a budget of its own, so that a stolen one guesses slowly and is
seen. When a login is right the account's host is asked to expect it, and the frontend gets the handle.
"""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable

import msgspec

from rookery.access.frontend.way import Bring
from rookery.access.login import Accepted, Rejected, SaslSession, SaslStep
from rookery.base.clock import Clock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.base.ids import RandomBytes, system_random
from rookery.base.log import logger
from rookery.base.members import Member
from rookery.distribution.auth.abuse import Budgets, network_of
from rookery.distribution.auth.authenticator import Authenticator
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.resolve import Known
from rookery.distribution.directory.values import AccountRecord, Resolved
from rookery.distribution.service.calls import (
    Again,
    Answer,
    Begin,
    Cancel,
    Challenge,
    Expect,
    Granted,
    Host,
    Nothing,
    Recipient,
    Step,
    Verdict,
    refused,
)
from rookery.distribution.service.questions import Questions
from rookery.net.cluster.member import permits

BURST = 2_000  # questions of one node at once
REFILL = 0.0005  # seconds for one more: 2,000 a second
NODES = 10_000  # budgets kept
FAILURES = 5_000  # logins through one node that were wrong, at once
FORGIVEN = 0.1  # seconds for one of them
EXCHANGES = 1_000  # of one node, under way
EXCHANGE_TIME = 120.0  # seconds for the client's next answer
AGAIN_TIME, AGAIN = 30.0, 5  # seconds, and times, in which another host may be asked for after a login
FINDING, PAUSE = 3.0, 0.2  # seconds in which a host is looked for, and between two attempts
LIFETIME = 300.0  # seconds for which an answer may be remembered; signals make it shorter
ABSENT_LIFETIME = 30.0  # of an address that does not exist: it may be made at any time

log = logger("directory")


Relay = Callable[[Expect, Granted], bytes]
Where = Callable[[AccountRecord, str], Awaitable[Host]]


class Allowance:
    """How much each node may ask, and how many of the logins that it brings may be wrong."""

    def __init__(self, clock: Clock) -> None:
        self._questions: Budgets[str] = Budgets(clock, BURST, REFILL, NODES)
        self._failures: Budgets[str] = Budgets(clock, FAILURES, FORGIVEN, NODES)
        self.failed: dict[str, float] = {}  # logins, by node; those of nodes whose certificates were checked

    def charge(self, caller: Member) -> None:
        """For a question, of whatever kind. Raises TOO_MANY."""
        if not self._questions.room(caller.name):
            raise RookeryError(Cause.TOO_MANY, "this node asks too much")
        self._questions.charge(caller.name)

    def may_guess(self, caller: Member) -> None:
        """For the question that begins a login. Raises TOO_MANY."""
        self.charge(caller)
        if not self._failures.room(caller.name):
            log.warning("too-many-failures", node=caller.name, failed=self.failed[caller.name])
            raise RookeryError(Cause.TOO_MANY, "too many failed logins through this node")

    def refused(self, caller: Member, cause: Cause) -> None:
        """A login that it has brought."""
        if cause is Cause.BAD_CREDENTIALS or cause is Cause.TOO_MANY:
            self.failed[caller.name] = self.failed.get(caller.name, 0) + 1
            self._failures.charge(caller.name)


class _Exchange:
    """Of one client. `account`: whose it is, once it is granted; `left`: how often its host may be asked for."""

    __slots__ = ("account", "begin", "left", "sasl", "until")

    def __init__(self, begin: Begin, sasl: SaslSession) -> None:
        self.begin = begin
        self.sasl = sasl
        self.account: AccountRecord | None = None
        self.left = AGAIN
        self.until = 0.0


class DirectoryService:
    """`bring`: have the host of an account expect somebody; that host and its handle. `where`: a backend to deliver to,
    another one than the backend so called, which has refused. Both raise RookeryError.

    `relay`: expect somebody here, who is to be passed on; the handle. `node`: our name, under which hosts see those.
    """

    def __init__(
        self,
        directory: Directory,
        authenticator: Authenticator,
        bring: Bring,
        relay: Relay,
        where: Where,
        *,
        node: str,
        clock: Clock,
        random: RandomBytes = system_random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._directory = directory
        self._authenticator = authenticator
        self._bring = bring
        self._relay = relay
        self._node = node
        self._where = where
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._allowance = Allowance(clock)
        self._exchanges: defaultdict[str, OrderedDict[bytes, _Exchange]] = defaultdict(OrderedDict)  # by node
        self.charge = self._allowance.charge
        self.failed = self._allowance.failed

    def take(self, questions: Questions) -> None:
        """Answer those that are ours."""
        questions.take(Begin, self._begin, "authenticate")
        questions.take(Step, self._step, "authenticate")
        questions.take(Again, self._again, "authenticate")
        questions.take(Cancel, self._cancel, "authenticate")
        questions.take(Recipient, self._recipient, "recipient")

    # --- logging in ---

    async def _begin(self, caller: Member, begin: Begin) -> Answer:
        self._allowance.may_guess(caller)
        client = begin.client
        if not permits(caller.roles, client.protocol):
            raise RookeryError(Cause.DENIED, "this node brings nobody who speaks that")
        if not network_of(client.address) or "%" in client.address:  # by which its guesses are counted; it is kept
            raise RookeryError(Cause.INVALID, "a client has an IP address")
        sasl = SaslSession(
            self._authenticator, protocol=client.protocol, peer=client.address, session=client.session, tls=client.tls
        )
        return await self._after(caller, _Exchange(begin, sasl), await sasl.start(begin.mechanism, begin.initial))

    async def _step(self, caller: Member, step: Step) -> Answer:
        self.charge(caller)
        found = self._taken(caller, step.exchange)
        return await self._after(caller, found, await found.sasl.answer(step.data))

    async def _cancel(self, caller: Member, cancel: Cancel) -> Answer:
        self.charge(caller)
        self._exchanges[caller.name].pop(cancel.exchange, None)
        return Nothing()

    async def _again(self, caller: Member, again: Again) -> Answer:
        self.charge(caller)
        return await self._granted(caller, self._taken(caller, again.exchange), relay=again.relay)

    async def _after(self, caller: Member, exchange: _Exchange, step: SaslStep) -> Answer:
        if isinstance(step, Accepted):
            exchange.account = step.account
            return await self._granted(caller, exchange)
        if isinstance(step, Rejected):
            self._allowance.refused(caller, step.cause)
            return refused(Refusal(step.cause, step.what))
        return Challenge(self._kept(caller, exchange, EXCHANGE_TIME), step.data)

    async def _granted(self, caller: Member, exchange: _Exchange, *, relay: bool = False) -> Granted:
        """Where to go, and the handle that opens the account there; or here, from where it is passed on."""
        account, client = exchange.account, exchange.begin.client
        if account is None or not exchange.left:
            raise RookeryError(Cause.INVALID, "nobody has logged in there")
        exchange.left -= 1
        number = self._kept(caller, exchange, AGAIN_TIME)
        comes = Expect(account.account, client.protocol, caller.name, client.session)
        expect = msgspec.structs.replace(comes, frontend=self._node) if relay else comes
        host, handle = await self.bring(account, expect)
        granted = Granted(number, account.account, account.address, host, handle)
        if not relay:
            return granted
        log.info("passing-on", node=caller.name, session=client.session, backend=host.backend)
        here = Host(host.backend, "")
        return msgspec.structs.replace(granted, host=here, handle=self._relay(comes, granted))

    async def bring(self, account: AccountRecord, expect: Expect) -> tuple[Host, bytes]:
        """A host that has just died is found dead within a second."""
        until = self._clock.monotonic() + FINDING
        while True:
            try:
                return await self._bring(account, expect)
            except RookeryError as error:
                if error.cause not in (Cause.UNAVAILABLE, Cause.MOVED) or self._clock.monotonic() >= until:
                    raise
            await self._sleep(PAUSE)

    def _kept(self, caller: Member, exchange: _Exchange, seconds: float) -> bytes:
        """Under a number of its own, which only this node may name."""
        own, now = self._exchanges[caller.name], self._clock.monotonic()
        while own and (len(own) >= EXCHANGES or next(iter(own.values())).until <= now):
            own.popitem(last=False)
        number = self._random(16)
        exchange.until = now + seconds
        own[number] = exchange
        return number

    def _taken(self, caller: Member, number: bytes) -> _Exchange:
        found = self._exchanges[caller.name].pop(number, None)
        if found is None or found.until <= self._clock.monotonic():
            raise RookeryError(Cause.UNAVAILABLE, "no such exchange is under way")  # it is over, or of before a restart
        return found

    # --- addresses ---

    async def _recipient(self, caller: Member, question: Recipient) -> Verdict:
        self.charge(caller)
        known, account = await self._directory.find(lambda directory: _known(directory, question))
        if known is not Known.LOCAL:
            return Verdict(False, known is not Known.NOT_LOCAL, ABSENT_LIFETIME)
        host = await self._where(account, question.tried) if account is not None else None
        return Verdict(True, True, LIFETIME, host)


def _known(directory: Directory, question: Recipient) -> tuple[Known, AccountRecord | None]:
    """With the account, where a host is asked for and the address stands for one mailbox."""
    known = directory.known(question.address)
    if known is not Known.LOCAL or not question.host:
        return known, None
    found = directory.resolve(question.address)
    if not isinstance(found, Resolved) or found.through or found.outside or len(found.targets) != 1:
        return known, None
    return known, directory.account_by_id(found.targets[0].account)
