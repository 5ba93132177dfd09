"""What operations on the queue work on, at a node that has a queue and no accounts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from rookery.base.clock import Clock
from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.queue.control import QueueControl
from rookery.distribution.spool.spool import Spool
from rookery.management.operations.registry import Operation
from rookery.management.parts import Parts
from rookery.management.site import Site


@dataclass(slots=True)
class QueueParts:
    site: Site
    config: Config
    clock: Clock
    queue_control: QueueControl
    spool: Spool

    @property
    def whole(self) -> Parts:
        """For operations that look at no others."""
        return cast(Parts, self)

    def __getattr__(self, name: str) -> object:
        """What an operation wants beside. Raises RookeryError(UNSUPPORTED)."""
        if name.startswith("_") or name not in Parts.__dataclass_fields__:
            raise AttributeError(name)
        raise RookeryError(
            Cause.UNSUPPORTED, "this node has a queue, and no accounts: ask a node with accounts for that"
        )


async def operate_queue(parts: QueueParts, operation: Operation, arguments: Mapping[str, object]) -> object:
    """Raises RookeryError: as the operation does, UNSUPPORTED when it needs more than a queue."""
    return await operation.run(parts.whole, **arguments)
