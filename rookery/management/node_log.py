"""The log of a node: where the settings send it, and what goes into it when something of ours went wrong."""

import asyncio
from typing import Any

from rookery.base import log
from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.management.site import Site

_log = logger("node")


def direct_log(site: Site, config: Config, backend: str = "") -> None:
    """Send the log where the settings say, reopening its file; of one of several backends, with its name in every line.
    Raises RookeryError when that cannot be had.
    """
    settings = config.log
    path = site.path(settings.file) if settings.file else None
    try:
        log.direct(log.Format(settings.format.value), path, backend)
    except OSError as error:
        raise RookeryError(
            Cause.UNAVAILABLE,
            f"log.file: {path} cannot be written: {error.strerror or error}; give another file, or the right to write",
        ) from error
    levels = {name: log.Level[level.value.upper()] for name, level in settings.levels}
    log.set_levels(log.Level[settings.level.value.upper()], levels)


def reopen_log() -> None:
    """The file in use, under its name; one that cannot be opened leaves the log where it is, and says so there."""
    try:
        log.reopen()
    except OSError as error:
        _log.error("log-not-reopened", what=error.strerror or str(error))


def log_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What no task took: a mistake of ours. It costs one connection or request, and gets a line with its place."""
    error = context.get("exception")
    _log.error(
        "unhandled", what=str(context.get("message", "")), error=f"{type(error).__name__}: {error}", at=place(error)
    )


def place(error: BaseException | None) -> list[str]:
    """Where it was raised, innermost last: file and line, nothing of the data."""
    places, step = [], error.__traceback__ if error is not None else None
    while step is not None:
        places.append(f"{step.tb_frame.f_code.co_filename.rpartition('rookery/')[2]}:{step.tb_lineno}")
        step = step.tb_next
    return places[-5:]
