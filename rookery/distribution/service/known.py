"""What a mail exchanger knows of the addresses of the directory: answers with a lifetime, kept in use when stale while
every directory node is away, and how old that makes them.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

from rookery.base.clock import Clock
from rookery.base.errors import RookeryError
from rookery.distribution.service.calls import Question, Recipient, Verdict, decode_answer, encode

KEPT = 65_536  # addresses
ABSENT_KEPT = 8_192  # that do not exist: whoever guesses does not push the real ones out
STALE = 7 * 86_400.0  # seconds after which an answer is no longer used, whoever is away

Call = Callable[[bytes], Awaitable[bytes]]


class Addresses(Protocol):
    """What listeners for mail ask of a directory that is elsewhere; raises RookeryError, UNAVAILABLE above all."""

    async def recipient(self, address: str, *, host: bool = False, tried: str = "") -> Verdict:
        """`host`: with where deliveries go; `tried`: a backend that has refused them."""
        ...


class _Held:
    """`host`: it was asked for too."""

    __slots__ = ("at", "host", "verdict")

    def __init__(self, verdict: Verdict, at: float, host: bool) -> None:
        self.verdict = verdict
        self.at = at
        self.host = host


class KnownDirectory:
    """Implements Addresses. `call` asks some directory node; it raises RookeryError(UNAVAILABLE) when none answers."""

    def __init__(self, call: Call, clock: Clock, *, kept: int = KEPT, absent: int = ABSENT_KEPT) -> None:
        self._call = call
        self._clock = clock
        self._verdicts: tuple[OrderedDict[str, _Held], ...] = (OrderedDict(), OrderedDict())  # absent, existing
        self._most = absent, kept
        self._away_since: float | None = None

    @property
    def stale(self) -> float:
        """Seconds for which no directory node has answered; 0.0: the last question was answered."""
        return 0.0 if self._away_since is None else self._clock.monotonic() - self._away_since

    @property
    def kept(self) -> dict[str, int]:
        """Answers remembered, of addresses that exist and that do not."""
        absent, existing = map(len, self._verdicts)
        return {"existing": existing, "absent": absent}

    async def _ask(self, question: Question) -> bytes:
        try:
            data = await self._call(encode(question))
        except RookeryError:
            if self._away_since is None:
                self._away_since = self._clock.monotonic()
            raise
        self._away_since = None
        return data

    def remembered(self, address: str) -> Verdict | None:
        """What need not be asked."""
        held = self._held(address)
        return held.verdict if held is not None and held.at + held.verdict.lifetime > self._clock.monotonic() else None

    async def recipient(self, address: str, *, host: bool = False, tried: str = "") -> Verdict:
        held = self._held(address)
        now = self._clock.monotonic()
        if held is not None and not tried and (held.host or not host) and now - held.at < held.verdict.lifetime:
            return held.verdict
        try:
            verdict = decode_answer(await self._ask(Recipient(address, host, tried)), Verdict)
        except RookeryError as error:
            if held is None or not error.cause.temporary or now - held.at >= STALE:
                raise
            return held.verdict
        self._hold(address, verdict, host)
        return verdict

    def _held(self, address: str) -> _Held | None:
        for known in self._verdicts:
            found = known.get(address)
            if found is not None:
                known.move_to_end(address)
                return found
        return None

    def _hold(self, address: str, verdict: Verdict, host: bool) -> None:
        for known in self._verdicts:
            known.pop(address, None)
        known = self._verdicts[verdict.exists]
        known[address] = _Held(verdict, self._clock.monotonic(), host)
        if len(known) > self._most[verdict.exists]:
            known.popitem(last=False)

    def forget(self) -> None:
        """A signal says that names have changed: all is asked again, and used as it is only while nobody answers."""
        for known in self._verdicts:
            for held in known.values():
                held.at = min(held.at, self._clock.monotonic() - held.verdict.lifetime)
