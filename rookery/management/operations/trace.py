"""What happened to a message or a session: its lines of the log, and its place in the queue.

A line belongs to the answer when it names the id, or one that a line of the answer ties to it: the session that brought
a message, the messages that a session brought. Of a session's lines, those that name another message are left out when
one message was asked for.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rookery.base import log
from rookery.base.errors import Cause, RookeryError
from rookery.management.operations.queue import MessageView, view
from rookery.management.operations.registry import operation

if TYPE_CHECKING:
    from rookery.base.config import Config
    from rookery.management.parts import Parts
    from rookery.management.site import Site

LINES_LIMIT = 2_000
TIED_LIMIT = 200  # other ids that are followed
_ID = re.compile(r"[0-9A-Za-z@._+<>=/-]{3,200}")
_NAMED = re.compile(r'\b(session|message)"?[=:]"?([0-9a-z]{8,40})\b')


class Trace(msgspec.Struct, frozen=True):
    """`truncated`: there were more than LINES_LIMIT lines. `messages`: what the queue knows, open and finished."""

    lines: list[str]
    truncated: bool
    messages: list[MessageView] = []


@operation("trace")
async def trace(parts: "Parts", ident: str) -> Trace:
    """From the log file, or from what a running node remembers of its log. Raises INVALID."""
    found = logged(parts.site, parts.config, ident)
    messages = [view(report) for report in await parts.queue_control.trace(ident)]
    return msgspec.structs.replace(found, messages=messages)


def logged(site: "Site", config: "Config", ident: str) -> Trace:
    """Of a node that has no queue. Raises INVALID."""
    log.flush()
    if config.log.file:
        return search(ident, lambda: read_lines(site.path(config.log.file)))
    return search(ident, log.recent)


def read_lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                yield line.rstrip("\n")
    except OSError as error:
        raise RookeryError(
            Cause.NOT_FOUND, f"{path}: {error.strerror or error}; give the log with --log FILE, or - for standard input"
        ) from error


def search(ident: str, lines: Callable[[], Iterable[str]]) -> Trace:
    """`lines` is called twice: once to learn which ids are tied to the one asked for, once for the answer."""
    if not _ID.fullmatch(ident):
        raise RookeryError(
            Cause.INVALID,
            f"{ident[:80]!r} is no id; give one of a log line or a Received header, a Message-ID or an address",
        )
    sessions, messages = set[str](), set[str]()
    for line in lines():
        if ident in line and len(sessions) + len(messages) < TIED_LIMIT:
            for kind, name in _NAMED.findall(line):
                (sessions if kind == "session" else messages).add(name)
    asked_session = ident in sessions
    found: list[str] = []
    truncated = False
    for line in lines():
        if not (ident in line or _belongs(line, sessions, messages, asked_session)):
            continue
        if len(found) == LINES_LIMIT:
            truncated = True
            break
        found.append(line)
    return Trace(found, truncated)


def _belongs(line: str, sessions: set[str], messages: set[str], whole_session: bool) -> bool:
    named = _NAMED.findall(line)
    of_line = {name for kind, name in named if kind == "message"}
    if of_line & messages:
        return True
    if of_line and not whole_session:
        return False
    return any(kind == "session" and name in sessions for kind, name in named)
