"""Log levels of the running node."""

from typing import TYPE_CHECKING

import msgspec

from rookery.base import log
from rookery.base.errors import Cause, RookeryError
from rookery.management.operations.registry import operation

if TYPE_CHECKING:
    from rookery.management.parts import Parts


class ComponentLevel(msgspec.Struct, frozen=True):
    component: str
    level: str


@operation("log.levels", running=True)
async def log_levels(parts: "Parts") -> list[ComponentLevel]:
    return [ComponentLevel(name, level.name.lower()) for name, level in log.levels().items()]


@operation("log.set-level", running=True)
async def set_log_level(parts: "Parts", component: str, level: str) -> None:
    """Until the next start or reload. Raises INVALID for a component or level that does not exist."""
    if component not in log.levels():
        raise RookeryError(Cause.INVALID, f"nothing logs as {component!r}; give one of {', '.join(log.levels())}")
    if level.upper() not in log.Level.__members__:
        raise RookeryError(Cause.INVALID, f"{level!r} is not a level; give debug, info, warning or error")
    log.set_level(component, log.Level[level.upper()])
