"""Sessions that other nodes bring: each was expected, and is opened once by a handle. Those of accounts hosted here are
served, those of hosts that who brings them cannot reach are passed on.

Nothing that a frontend says opens anything: not the account it names, nor the address it claims for its client. Nor
does it say where a session is passed on to: that was decided when the handle was made, so that nothing goes in circles.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from rookery.access.frontend.relay import relay
from rookery.access.frontend.way import Opening, Way
from rookery.access.streams import Sessions, may_open
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.base.log import logger
from rookery.base.members import Member
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.values import AccountRecord
from rookery.distribution.placement.values import Elsewhere, Location
from rookery.distribution.service.calls import Expect, Expected, Granted, Host, Moved
from rookery.distribution.service.handles import Handles
from rookery.net.cluster.link import Link
from rookery.net.cluster.stream import LinkStream
from rookery.wire.cluster.values import Preface

# (stream, whose it is, the session's id, what it is to go on with). Raises RookeryError when it cannot be served.
Enter = Callable[[LinkStream, AccountRecord, str, bytes], Awaitable[None]]

HOPS = 3  # nodes that may pass a session on: frontend, inner frontend, and a way around a cut

log = logger("handoff")


class Hosts(Protocol):
    """What is asked of placement."""

    async def locate(self, account: AccountId) -> Location: ...


class Handoff:
    """Of a node that hosts nothing: sessions are passed on by `way`."""

    def __init__(self, handles: Handles, way: Way) -> None:
        self._handles = handles
        self._way = way
        self.sessions = Sessions()

    def passing(self, question: Expect, beyond: Granted) -> bytes:
        """The handle for somebody who is to be passed on to where another was granted."""
        account = AccountId(question.account)
        return self._handles.expect(account, question.protocol, question.frontend, question.session, beyond)

    def opened(self, link: Link, preface: Preface, stream: LinkStream) -> None:
        """Raises RookeryError: it is not taken."""
        node = link.peer
        may_open(node, preface)
        account = AccountId(preface.account)
        found = self._handles.redeem(preface.handle, account, preface.protocol, node.name)
        if found is None or found.session != preface.session:
            log.info("handle-refused", node=node.name, session=preface.session, protocol=preface.protocol)
            raise RookeryError(Cause.DENIED, "the handle opens nothing")
        served = self._serve(stream, preface) if found.beyond is None else self._pass_on(stream, preface, found.beyond)
        self.sessions.begin(stream, preface.session, served)

    async def _serve(self, stream: LinkStream, preface: Preface) -> None:
        raise RookeryError(Cause.MOVED, "nobody is hosted here")

    async def _pass_on(self, stream: LinkStream, preface: Preface, beyond: Granted) -> None:
        if preface.hops >= HOPS:
            raise RookeryError(Cause.UNAVAILABLE, f"passed on by {preface.hops} nodes")
        opening = Opening(preface.protocol, stream, preface.session, preface.resume, preface.hops + 1)
        host, first = await self._way.open(beyond, opening)
        log.info("passed-on", session=preface.session, account=beyond.name, backend=beyond.host.backend)
        stream.write(first)
        await relay(stream, host)


class HostHandoff(Handoff):
    """Of one host. `enter`: what serves a session, by protocol. `reached`: another host's cluster port."""

    def __init__(
        self,
        handles: Handles,
        way: Way,
        directory: Directory,
        hosts: Hosts,
        enter: Mapping[str, Enter],
        reached: Callable[[AccountId, Elsewhere], Awaitable[Host]],
    ) -> None:
        super().__init__(handles, way)
        self._directory = directory
        self._hosts = hosts
        self._enter = enter
        self._reached = reached

    async def expect(self, caller: Member, question: Expect) -> Expected | Moved:
        """An account that nobody hosts is claimed. Raises RookeryError."""
        account = AccountId(question.account)
        location = await self._hosts.locate(account)
        if isinstance(location, Elsewhere):
            return Moved(await self._reached(account, location))
        return self.expected(question)

    def expected(self, question: Expect) -> Expected:
        """The account is hosted here, and it is certain who has logged in."""
        account = AccountId(question.account)
        return Expected(self._handles.expect(account, question.protocol, question.frontend, question.session))

    async def _serve(self, stream: LinkStream, preface: Preface) -> None:
        enter = self._enter.get(preface.protocol)
        if enter is None:
            raise RookeryError(Cause.DENIED, f"no {preface.protocol} here")
        account = AccountId(preface.account)
        record = await self._directory.find(lambda directory: directory.account_by_id(account))
        if record is None:
            raise RookeryError(Cause.NOT_FOUND, "no such account")
        await enter(stream, record, preface.session, preface.resume)
