"""Sessions that frontends bring to the accounts hosted here: expected by a directory node, opened once by a handle.

Nothing that a frontend says opens anything: not the account it names, nor the address it claims for its client.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from rookery.access.streams import Sessions, may_open
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId
from rookery.base.log import logger
from rookery.base.members import Member
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.values import AccountRecord
from rookery.distribution.placement.values import Elsewhere, Location
from rookery.distribution.service.calls import Expect, Expected, Host, Moved
from rookery.distribution.service.handles import Handles
from rookery.net.cluster.link import Link
from rookery.net.cluster.stream import LinkStream
from rookery.wire.cluster.values import Preface

# (stream, whose it is, the session's id, what it is to go on with). Raises RookeryError when it cannot be served.
Enter = Callable[[LinkStream, AccountRecord, str, bytes], Awaitable[None]]

log = logger("handoff")


class Hosts(Protocol):
    """What is asked of placement."""

    async def locate(self, account: AccountId) -> Location: ...


class Handoff:
    """Of one host. `enter`: what serves a session, by protocol. `reached`: another host's cluster port."""

    def __init__(
        self,
        directory: Directory,
        hosts: Hosts,
        handles: Handles,
        enter: Mapping[str, Enter],
        reached: Callable[[AccountId, Elsewhere], Awaitable[Host]],
    ) -> None:
        self._directory = directory
        self._hosts = hosts
        self._handles = handles
        self._reached = reached
        self.enter = enter
        self.sessions = Sessions()

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

    def opened(self, link: Link, preface: Preface, stream: LinkStream) -> None:
        """Raises RookeryError: it is not taken."""
        node = link.peer
        may_open(node, preface)
        enter = self.enter.get(preface.protocol)
        if enter is None:
            raise RookeryError(Cause.DENIED, f"no {preface.protocol} here")
        account = AccountId(preface.account)
        session = self._handles.redeem(preface.handle, account, preface.protocol, node.name)
        if session is None or session != preface.session:
            log.info("handle-refused", node=node.name, session=preface.session, protocol=preface.protocol)
            raise RookeryError(Cause.DENIED, "the handle opens nothing")
        self.sessions.begin(stream, preface.session, self._serve(stream, enter, account, preface))

    async def _serve(self, stream: LinkStream, enter: Enter, account: AccountId, preface: Preface) -> None:
        record = await self._directory.find(lambda directory: directory.account_by_id(account))
        if record is None:
            raise RookeryError(Cause.NOT_FOUND, "no such account")
        await enter(stream, record, preface.session, preface.resume)
