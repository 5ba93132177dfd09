"""The way from a frontend to the host of an account, as frontends of all protocols take it."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import Logger
from rookery.distribution.service.calls import Granted
from rookery.net.stream import Stream

ATTEMPTS = 4  # hosts asked for one login
# What another host, or the same one by a new handle, may do better.
_ELSEWHERE = frozenset({Cause.MOVED, Cause.UNAVAILABLE, Cause.DENIED, Cause.BUSY, Cause.NOT_FOUND})


class Opening(msgspec.Struct, frozen=True):
    """What a host is told of a session that it takes over.

    stream: the client's, for who and where it is; session: the id under which it is logged; resume: what the host is to
    go on with, in the protocol's own terms; hops: nodes that have passed it on.
    """

    protocol: str
    stream: Stream
    session: str
    resume: bytes = b""
    hops: int = 0


class Unreached(RookeryError):
    """The host, if it lives, cannot be reached from here."""

    def __init__(self, what: str) -> None:
        super().__init__(Cause.UNAVAILABLE, what)


class Way(Protocol):
    async def open(self, granted: Granted, opening: Opening) -> tuple[Stream, bytes]:
        """A stream to the host, which has taken the session over, and what it said first. Raises RookeryError: it has
        not; Unreached: it was not even asked."""
        ...


# Where the account is now, after a host that did not take it; `relay`: whoever is asked is to pass the session on.
Again = Callable[[Granted, bool], Awaitable[Granted]]


async def handed_over(way: Way, again: Again, granted: Granted, opening: Opening, log: Logger) -> tuple[Stream, bytes]:
    """Ask host after host, as `again` names them, until one takes the session. A host that was not reached, and is
    named again, is reached through whoever named it. Raises RookeryError."""
    unreached: set[str] = set()
    for left in reversed(range(ATTEMPTS)):
        try:
            return await way.open(granted, opening)
        except RookeryError as error:
            log.info(
                "not-taken",
                session=opening.session,
                account=granted.name,
                backend=granted.host.backend,
                cause=error.cause.value,
                what=error.what,
            )
            if not left or error.cause not in _ELSEWHERE:
                raise
            if isinstance(error, Unreached):
                unreached.add(granted.host.address)
        granted = await again(granted, False)
        if granted.host.address in unreached:
            granted = await again(granted, True)
    raise AssertionError
