"""Mail for accounts of another pool: by LMTP, to one of its backends after the other.

A backend that is not the account's host says so (451 4.3.2) before it takes anything, and one that cannot be reached
has taken nothing: then the next one is asked at once. Whatever else goes wrong waits for the queue's next attempt.
Over the cluster port delivery ids are believed, and a message is stored once. By LMTP over the network they are not: a
connection that is lost while a message is being acknowledged means that it may be stored twice, as between any two mail
servers (RFC 1047); never that it is lost.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

from msgspec.structs import replace

from rookery.base.log import logger
from rookery.distribution.delivery.outcome import Job, Outcome, Verdict, own
from rookery.distribution.placement.rendezvous import ranked

log = logger("delivery")

NOT_THERE = "4.3.2"  # that backend has not taken it, another one may
UNKNOWN = "5.1.1"  # that backend does not know the address; the directory that we asked does


class Way(Protocol):
    """What takes jobs for one address; see `local.LocalDelivery`."""

    def submit(self, job: Job) -> None: ...

    async def close(self) -> None: ...


class PoolDelivery:
    """`addresses`: of its backends; `way` makes what delivers to one of them."""

    def __init__(self, pool: str, addresses: Sequence[str], way: Callable[[str], Way]) -> None:
        self._pool = pool
        self._ways = [way(address) for address in addresses]
        self._turn = count()

    def submit(self, job: Job) -> None:
        if not self._ways:
            job.all(own(NOT_THERE, f"pool {self._pool} has no address for deliveries"))
            return
        self._try(job, self._order(job))

    def _order(self, job: Job) -> list[Way]:
        first = next(self._turn) % len(self._ways)
        return [*self._ways[first:], *self._ways[:first]]

    async def close(self) -> None:
        for way in self._ways:
            await way.close()

    def _try(self, job: Job, ways: Sequence[Way]) -> None:
        def done(results: Sequence[Outcome]) -> None:
            outcomes = [self._judged(result) for result in results]
            again = [place for place, one in enumerate(outcomes) if one.enhanced == NOT_THERE and len(ways) > 1]
            if not again:
                job.done(outcomes)
                return

            def rest(later: Sequence[Outcome]) -> None:
                for place, result in zip(again, later, strict=True):
                    outcomes[place] = result
                job.done(outcomes)

            recipients = tuple(job.recipients[place] for place in again)
            log.debug("next-backend", session=job.session, pool=self._pool, recipients=recipients)
            self._try(replace(job, recipients=recipients, done=rest), ways[1:])

        ways[0].submit(replace(job, done=done))

    def _judged(self, result: Outcome) -> Outcome:
        """A new account may not have been heard of there yet; a removed one is found out here, at the next attempt."""
        if result.verdict is Verdict.NEVER and result.enhanced == UNKNOWN:
            return own("4.3.0", f"pool {self._pool} does not know the address yet")
        return result


class InwardDelivery(PoolDelivery):
    """To nodes with a queue, each of which takes any mail. A message goes to the same one first at every attempt: that
    one knows by the delivery ids what it has taken, should its answer have been lost.
    """

    def __init__(self, addresses: Sequence[str], way: Callable[[str], Way]) -> None:
        super().__init__("of nodes with a queue", addresses, way)
        self._named = list(zip(addresses, self._ways, strict=True))

    def _order(self, job: Job) -> list[Way]:
        return [way for _, way in ranked(job.delivery.encode(), self._named, lambda pair: pair[0])]

    def _judged(self, result: Outcome) -> Outcome:
        return result
