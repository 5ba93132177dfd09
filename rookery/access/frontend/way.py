"""The way from a frontend to the host of an account, as frontends of all protocols take it."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import Logger, logger
from rookery.distribution.directory.values import AccountRecord
from rookery.distribution.service.calls import Expect, Granted, Host
from rookery.net.stream import Stream

ATTEMPTS = 4  # hosts asked for one login
# What another host, or the same one by a new handle, may do better.
_ELSEWHERE = frozenset({Cause.MOVED, Cause.UNAVAILABLE, Cause.DENIED, Cause.BUSY, Cause.NOT_FOUND})

log = logger("handoff")


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


# The host of an account, which expects somebody now, and its handle. Raises RookeryError.
Bring = Callable[[AccountRecord, Expect], Awaitable[tuple[Host, bytes]]]


class HandOver:
    """For clients that have logged in at a backend that is not the host of their account: that one goes on with the
    session, as behind a frontend. `node`: our name, as its certificate says it.
    """

    def __init__(self, way: Way, bring: Bring, node: str) -> None:
        self._way = way
        self._bring = bring
        self._node = node

    async def __call__(self, opening: Opening, record: AccountRecord) -> tuple[Stream, bytes]:
        """A stream to the host, which has taken the session over, and what it said first. Raises RookeryError."""
        expect = Expect(record.account, opening.protocol, self._node, opening.session)

        async def found(before: Granted | None, relay: bool) -> Granted:
            if relay:
                raise RookeryError(Cause.UNAVAILABLE, "the host cannot be reached from here")
            host, handle = await self._bring(record, expect)
            return Granted(b"", record.account, record.address, host, handle)

        granted = await found(None, False)
        host, first = await handed_over(self._way, found, granted, opening, log)
        log.info("handed-over", session=opening.session, account=record.address, backend=granted.host.backend)
        return host, first
