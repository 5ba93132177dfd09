"""What a process of a node with the role `authority` does for the cluster: it gives certificates, lets new nodes join,
and drops a former key when nobody needs it any more.
"""

import asyncio
from collections.abc import Sequence
from itertools import count

from rookery.base.clock import Clock
from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.base.members import Member
from rookery.distribution.auth.abuse import Budgets
from rookery.distribution.cluster import messages
from rookery.distribution.cluster.messages import Issued
from rookery.distribution.cluster.registrar import Registrar
from rookery.distribution.service.calls import Renew, Renewed, ToAuthority
from rookery.management.desk import Desk
from rookery.management.membership import Membership

RENEWALS, RENEWAL_AGAIN = 10, 3_600.0  # certificates of one node at once; seconds for one more
PASSED_ON, PASSED_ON_AGAIN = 100, 60.0  # those of nodes that reach only it; seconds for one more
RENEWING_NODES = 10_000
RETIRE_EVERY = 3_600.0  # seconds between two looks for keys that nobody needs any more
WARN_EACH = 24  # of those, at one of which it is said in the log that an authority ends

log = logger("cluster")


class AuthorityDuty:
    """Of one process. Only one of a node's `start`s."""

    def __init__(self, registrar: Registrar, membership: Membership, config: Config, clock: Clock) -> None:
        self._registrar = registrar
        self._membership = membership
        self._config = config
        self._renewals: Budgets[str] = Budgets(clock, RENEWALS, RENEWAL_AGAIN, RENEWING_NODES)
        self._passed_on: Budgets[str] = Budgets(clock, PASSED_ON, PASSED_ON_AGAIN, RENEWING_NODES)
        self._desk: Desk | None = None
        self._retiring: asyncio.Task[None] | None = None

    def start(self, addresses: Sequence[str]) -> None:
        """Raises RookeryError(UNAVAILABLE) when the port cannot be had."""
        listen = self._config.listen
        self._desk = Desk(self._membership.contexts.desk, self._config.cluster.allow, self._registrar.answer)
        try:
            self._desk.start(addresses, listen.join + listen.port_offset)
        except OSError as error:
            raise RookeryError(Cause.UNAVAILABLE, f"listen.join: {error.strerror or error}") from error
        self._retiring = asyncio.create_task(self._retire())

    async def close(self) -> None:
        if self._retiring is not None:
            self._retiring.cancel()
            await asyncio.gather(self._retiring, return_exceptions=True)
        if self._desk is not None:
            await self._desk.close()

    async def _retire(self) -> None:
        for look in count():
            if look % WARN_EACH == 0:
                for warning in self._membership.warnings():
                    log.warning("check", what=warning)
            try:
                await self._registrar.retire()
            except RookeryError as error:  # the database; looked at again the next time
                log.refused("not-retired", error.refusal)
            await asyncio.sleep(RETIRE_EVERY)

    # --- certificates ---

    async def renew(self, caller: Member, question: Renew) -> Renewed:
        """For another node. Raises RookeryError."""
        if not self._renewals.room(caller.name):
            raise RookeryError(Cause.TOO_MANY, "this node was given many certificates lately")
        self._renewals.charge(caller.name)
        return Renewed(messages.encode(await self._registrar.renew(caller, question.request)))

    async def passed_on(self, caller: Member, question: ToAuthority) -> Renewed:
        """For a node that reaches the caller only. Raises RookeryError."""
        if not self._passed_on.room(caller.name):
            raise RookeryError(Cause.TOO_MANY, "this node has asked for many certificates of others lately")
        self._passed_on.charge(caller.name)
        return Renewed(await self._registrar.answer(question.message))

    async def renew_here(self, request: bytes) -> Issued:
        """For this node. Raises RookeryError."""
        return await self._registrar.renew(self._membership.member, request)
