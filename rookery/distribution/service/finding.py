"""The host of an account, found by asking the backends of its pool: who knows only their names and addresses finds it.

The first in rendezvous order hosts it, claims it, or names the host that it knows (hosting.md); so accounts that nobody
hosts are spread evenly, and one whose first backend hosts it costs one question. Who did not answer is asked last for a
while.
"""

from collections.abc import Awaitable, Callable, Sequence

from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.placement.rendezvous import ranked
from rookery.distribution.service.away import Away
from rookery.distribution.service.calls import Expect, Expected, Host, Moved

REFERRALS = 2  # followed for one login
# The next one may do better.
_NEXT = frozenset({Cause.UNAVAILABLE, Cause.DENIED, Cause.UNSUPPORTED})

Ask = Callable[[Host, Expect], Awaitable[Expected | Moved]]


class Finder:
    """`ask` has a host expect somebody; it raises RookeryError, UNAVAILABLE when it does not answer."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._away: Away[str] = Away(clock)

    async def find(self, expect: Expect, backends: Sequence[Host]) -> tuple[Host, bytes]:
        """The host, and the handle that it gave. Raises RookeryError; UNAVAILABLE: try again in a moment."""
        failure = RookeryError(Cause.UNAVAILABLE, "no backend of the pool is known")
        order = ranked(expect.account, backends, lambda host: host.backend)
        for host in self._away.last(order, lambda host: host.address):
            try:
                answer = await self._asked(host, expect)
            except RookeryError as error:
                if error.cause not in _NEXT:
                    raise
                failure = error
                continue
            return await self._followed(host, expect, answer)
        raise failure

    async def _followed(self, host: Host, expect: Expect, answer: Expected | Moved) -> tuple[Host, bytes]:
        """Whoever is named lives, and nobody else may have the account."""
        for _ in range(REFERRALS):
            if isinstance(answer, Expected):
                break
            host = answer.host
            answer = await self._asked(host, expect)
        if isinstance(answer, Expected):
            return host, answer.handle
        raise RookeryError(Cause.UNAVAILABLE, "the account is on its way from one backend to another")

    async def _asked(self, host: Host, expect: Expect) -> Expected | Moved:
        self._away.tried(host.address)
        try:
            answer = await self._ask(host, expect)
        except RookeryError as error:
            if error.cause in _NEXT:
                self._away.failed(host.address)
            raise
        self._away.answered(host.address)
        return answer
