"""What a dead backend's queue had begun is begun again by the others, soon and once.

Who lives is known by placement. A queue names its holder "BACKEND/START": a backend has one process at a time, so
whatever an earlier one of the same name holds is nobody's.
"""

import asyncio
from collections.abc import Iterable

from rookery.base.errors import RookeryError
from rookery.base.log import Level, logger
from rookery.base.outage import Outage
from rookery.distribution.spool.incarnations import Incarnation
from rookery.management.parts import Parts

EVERY = 1.0  # seconds

_log = logger("queue")


def dead(held: Iterable[Incarnation], own: int, living: Iterable[str]) -> list[int]:
    """The queues whose process is gone. `living`: backends, other than this one, that are alive."""
    alive = set(living)
    return [
        one.incarnation for one in held if one.incarnation != own and one.holder.partition("/")[0] not in alive
    ]  # fmt: skip


async def take_over_dead(parts: Parts) -> None:
    """For ever. Nothing is taken from anybody while it is not known who lives."""
    spool, placement = parts.spool, parts.placement
    failing = Outage(_log, "not-taken-over", parts.clock.monotonic, Level.WARNING)
    before: set[int] = set()  # found dead by the last look: one that is only starting is there by the next
    while True:
        await asyncio.sleep(EVERY)
        if not placement.may_read():
            continue
        try:
            held = await asyncio.to_thread(spool.incarnations)
            found = dead(held, spool.incarnation, placement.living() - {parts.backend})
            ended = [incarnation for incarnation in found if incarnation in before]
            before = set(found)
            if ended:
                messages = await spool.take_over(ended)
                _log.warning("taken-over", queues=len(ended), messages=messages)
        except RookeryError as error:
            failing.failed(error.cause.value, what=error.what)
        else:
            failing.over()
