"""A node's certificate is renewed by itself, at half of its life; one that has ended is got back with its key.

While the authority is away the node goes on with what it has, for the other half. The wall clock decides, for the
other nodes look at theirs; it may be stepped, so it is looked at every minute.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

from rookery.base.clock import Clock
from rookery.base.errors import Refusal, RookeryError
from rookery.base.log import Level, logger
from rookery.base.outage import Outage
from rookery.distribution.cluster.contexts import Contexts
from rookery.distribution.cluster.files import ClusterFiles, NodeState
from rookery.distribution.cluster.joining import Renewal
from rookery.distribution.cluster.messages import Issued

LOOK = 60.0  # seconds at most between two looks
AGAIN_LEAST, AGAIN_MOST = 5.0, 60.0  # after a failed attempt, the delay doubling
HURRY = 10.0  # seconds in which all nodes renew when there is another authority
SPREAD = 10  # a tenth of a life: nodes that joined together do not renew together

log = logger("cluster")


class Renewing:
    """`renew` asks the authority over the cluster port (None: there is only coming back), `come_back` as
    `joining.come_back` does; both raise RookeryError. `renewed` is called when `contexts` has the new certificate:
    links dialled from now on are to use it.
    """

    __slots__ = (
        "_again",
        "_clock",
        "_come_back",
        "_contexts",
        "_files",
        "_outage",
        "_renew",
        "_renewed",
        "_soon",
        "_trust",
        "_woken",
        "problem",
    )

    def __init__(
        self,
        files: ClusterFiles,
        contexts: Contexts,
        clock: Clock,
        *,
        renew: Callable[[bytes], Awaitable[Issued]] | None,
        come_back: Callable[[], Awaitable[object]],
        renewed: Callable[[], None],
    ) -> None:
        self._files = files
        self._contexts = contexts
        self._clock = clock
        self._renew = renew
        self._come_back = come_back
        self._renewed = renewed
        self._again = AGAIN_LEAST
        self._outage = Outage(log, "certificate-not-renewed", clock.monotonic, Level.WARNING)
        self.problem: Refusal | None = None  # of the last attempt
        self._soon = math.inf  # when it is renewed though half of its life is left, seconds UTC
        self._trust = b""  # for which that was
        self._woken = asyncio.Event()

    @property
    def ends(self) -> int:
        """When this node is shut out, should nothing come of it; seconds UTC."""
        return self._contexts.state.member.ends

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._woken.clear()
            delay = await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):  # wait_for may swallow a cancellation (Python 3.11)
                    await self._woken.wait()

    def hurry(self, trust: bytes) -> None:
        """Soon, and not before half of its life: there are other authorities than this node knows, told by that
        digest. Once for each, for who tells so may be wrong."""
        if trust == self._trust:
            return
        self._trust = trust
        self._soon = self._clock.wall() + self._contexts.state.member.serial[-1] / 255 * HURRY
        self._woken.set()

    async def look(self) -> float:
        """Renew it if it is time; returns in how many seconds to look again."""
        state, now = self._contexts.state, self._clock.wall()
        left = min(due(state), self._soon) - now
        if left > 0:
            return min(left, LOOK)
        try:
            await self._get_another(state, now)
            self._contexts.reload()
        except RookeryError as error:
            self.problem = error.refusal
            seconds = round(state.member.ends - now)
            self._outage.failed(error.cause.value, what=error.what, node=state.member.name, left=seconds)
            delay, self._again = self._again, min(2 * self._again, AGAIN_MOST)
            return delay
        self.problem, self._again, self._soon = None, AGAIN_LEAST, math.inf
        self._outage.over()
        log.info("certificate-renewed", node=state.member.name, serial=self._contexts.state.member.serial.hex())
        self._renewed()
        return AGAIN_LEAST

    async def _get_another(self, state: NodeState, now: float) -> None:
        if now >= state.member.ends or self._renew is None:
            await self._come_back()
            return
        renewal = await asyncio.to_thread(Renewal, self._files, state)
        await renewal.accept(await self._renew(renewal.request))


def due(state: NodeState) -> float:
    """When it is renewed: the half of its life, and a little later for each by its number."""
    return state.half + (state.member.ends - state.half) / SPREAD * state.member.serial[-1] / 255
