"""Logging in, as a node without accounts asks others for it: a directory node; and while all of those are away, for
users it knows, the backend that had their account. Nothing of a password is kept.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol, TypeVar, cast

import msgspec

from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import Level, logger
from rookery.base.outage import Outage
from rookery.distribution.service.calls import (
    Again,
    Begin,
    Cancel,
    Challenge,
    Client,
    Granted,
    Host,
    Nothing,
    Question,
    Step,
    decode_answer,
    encode,
)

USERS = 65_536  # whose hosts are remembered
EXCHANGES = 65_536  # under way
NAME_LIMIT = 320  # octets of a login name that is remembered

_SCRAM_NAME = re.compile(rb"[^,]*,[^,]*,n=([^,]*),")  # RFC 5802 section 7: after the gs2-header

K = TypeVar("K")
V = TypeVar("V")

log = logger("frontend")


class Ask(Protocol):
    async def __call__(self, question: bytes, node: str = "") -> tuple[bytes, str]:
        """The answer of some directory node, and its host:port; or of `node`, and nobody else. Raises RookeryError
        (UNAVAILABLE) when nobody answers."""
        ...


class Directory(Protocol):
    """What listeners of a node without a directory of its own ask; raises RookeryError, UNAVAILABLE above all."""

    async def begin(self, client: Client, mechanism: str, initial: bytes | None) -> Challenge | Granted: ...

    async def step(self, exchange: bytes, data: bytes) -> Challenge | Granted: ...

    async def cancel(self, exchange: bytes) -> None: ...

    async def again(self, exchange: bytes, *, relay: bool = False) -> Granted: ...


class _Exchange(msgspec.Struct, frozen=True):
    """node: that knows it, as host:port; name: of the login, as the client spells it."""

    node: str
    name: bytes


class Logins:
    """Implements Directory. `passed_on`: who is asked passes all sessions on, wherever it says that their hosts are."""

    def __init__(
        self, ask: Ask, clock: Clock, *, passed_on: bool = False, users: int = USERS, exchanges: int = EXCHANGES
    ) -> None:
        self._ask = ask
        self._passed_on = passed_on
        self._clock = clock
        self._most = users, exchanges
        self._hosts: OrderedDict[bytes, Host] = OrderedDict()  # by name of the login
        self._exchanges: OrderedDict[bytes, _Exchange] = OrderedDict()
        self._away_since: float | None = None
        self._outage = Outage(log, "no-directory", clock.monotonic, Level.WARNING)

    @property
    def stale(self) -> float:
        """Seconds for which no directory node has answered, and known users' hosts are as they were; 0.0: one does."""
        return 0.0 if self._away_since is None else self._clock.monotonic() - self._away_since

    @property
    def known(self) -> int:
        """Users who could log in if all directory nodes were away."""
        return len(self._hosts)

    async def ask(self, question: Question) -> bytes:
        """Any directory node. Raises RookeryError(UNAVAILABLE) when none answers."""
        return (await self._asked(question))[0]

    async def _asked(self, question: Question, node: str = "") -> tuple[bytes, str]:
        if node:
            return await self._ask(encode(question), node)
        try:
            said = await self._ask(encode(question))
        except RookeryError as error:
            if self._away_since is None:
                self._away_since = self._clock.monotonic()
            self._outage.failed(error.cause.value, what=error.what)
            raise
        self._away_since = None
        self._outage.over()
        return said

    # --- exchanges: each goes on where it began ---

    async def begin(self, client: Client, mechanism: str, initial: bytes | None) -> Challenge | Granted:
        name = login_name(mechanism, initial)
        question = Begin(client, mechanism, initial)
        host = self._hosts.get(name)
        if host is None:
            return self._under_way(name, *await self._asked(question))
        if not self.stale:
            try:
                return self._under_way(name, *await self._asked(question))
            except RookeryError as error:
                if error.cause is not Cause.UNAVAILABLE:
                    raise
                log.info("asked-its-host", session=client.session, backend=host.backend, what=error.what)
        answered = not self.stale
        try:
            return self._under_way(name, *await self._asked(question, host.address))
        except RookeryError as error:
            if answered and error.cause is Cause.BAD_CREDENTIALS:  # the host may not have heard of a new password
                raise RookeryError(Cause.UNAVAILABLE, "the directory reaches no host of the account") from error
            raise

    async def step(self, exchange: bytes, data: bytes) -> Challenge | Granted:
        found = self._taken(exchange)
        return self._under_way(found.name, *await self._asked(Step(exchange, data), found.node))

    async def cancel(self, exchange: bytes) -> None:
        found = self._taken(exchange)
        decode_answer((await self._asked(Cancel(exchange), found.node))[0], Nothing)

    async def again(self, exchange: bytes, *, relay: bool = False) -> Granted:
        found = self._taken(exchange)
        step = self._under_way(found.name, *await self._asked(Again(exchange, relay), found.node))
        if isinstance(step, Challenge):
            raise RookeryError(Cause.UNAVAILABLE, "the other node began anew")
        return step

    def _under_way(self, name: bytes, data: bytes, node: str) -> Challenge | Granted:
        step = cast(Challenge | Granted, decode_answer(data, Challenge, Granted))
        _keep(self._exchanges, step.exchange, _Exchange(node, name), self._most[1])
        if isinstance(step, Challenge):
            return step
        if self._passed_on or not step.host.address:  # who was asked passes the session on
            return msgspec.structs.replace(step, host=Host(step.host.backend, node))
        if name:
            _keep(self._hosts, name, step.host, self._most[0])
        return step

    def _taken(self, exchange: bytes) -> _Exchange:
        found = self._exchanges.pop(exchange, None)
        if found is None:
            raise RookeryError(Cause.UNAVAILABLE, "nobody knows of that exchange any more")
        return found


def _keep(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)


def login_name(mechanism: str, initial: bytes | None) -> bytes:
    """As the client spells it, in lower case; b"" when it is not told at once, or too long to be remembered."""
    if initial is None:
        return b""
    if mechanism == "PLAIN":
        parts: Iterable[bytes] = initial.split(b"\0", 2)[1:2]
    else:
        found = _SCRAM_NAME.match(initial)
        parts = found.groups() if found is not None else ()
    name = next(iter(parts), b"").strip().lower()
    return name if len(name) <= NAME_LIMIT else b""
