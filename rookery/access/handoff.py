"""Sessions that frontends bring to the accounts hosted here: expected by a directory node, opened once by a handle.

Nothing that a frontend says opens anything: not the account it names, nor the address it claims for its client.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

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
from rookery.net.cluster.member import permits
from rookery.net.cluster.stream import LinkStream
from rookery.wire.cluster.values import Preface

# (stream, whose it is, the session's id, what it is to go on with). Raises RookeryError when it cannot be served.
Enter = Callable[[LinkStream, AccountRecord, str, bytes], Awaitable[None]]

_WORD = re.compile(r"[A-Za-z0-9_.:-]*")  # goes into headers of messages

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
        self._sessions: dict[asyncio.Task[None], LinkStream] = {}

    def __len__(self) -> int:
        """Sessions under way."""
        return len(self._sessions)

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
        enter = self.enter.get(preface.protocol)
        if enter is None or not permits(node.roles, preface.protocol):
            log.warning("not-permitted", node=node.name, protocol=preface.protocol)
            raise RookeryError(Cause.DENIED, f"no {preface.protocol} for this node here")
        tls = preface.tls
        if tls is not None and not all(map(_WORD.fullmatch, (tls.version, tls.cipher, tls.server_name))):
            raise RookeryError(Cause.INVALID, "what it says of TLS is not what TLS calls things")
        account = AccountId(preface.account)
        session = self._handles.redeem(preface.handle, account, preface.protocol, node.name)
        if session is None or session != preface.session:
            log.info("handle-refused", node=node.name, session=preface.session, protocol=preface.protocol)
            raise RookeryError(Cause.DENIED, "the handle opens nothing")
        task = asyncio.get_running_loop().create_task(self._serve(stream, enter, account, preface))
        self._sessions[task] = stream
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._sessions[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("session-failed", error=f"{type(error).__name__}: {error}")

    async def _serve(self, stream: LinkStream, enter: Enter, account: AccountId, preface: Preface) -> None:
        try:
            record = await self._directory.find(lambda directory: directory.account_by_id(account))
            if record is None:
                raise RookeryError(Cause.NOT_FOUND, "no such account")
            await enter(stream, record, preface.session, preface.resume)
        except RookeryError as error:
            log.refused("not-taken", error.refusal, session=preface.session)
            stream.reset(error.refusal)
        finally:
            stream.close()

    async def drain(self, seconds: float) -> int:
        """Let every session finish its command; returns how many had to be ended."""
        for stream in self._sessions.values():
            stream.interrupt()
        if not self._sessions:
            return 0
        _, left = await asyncio.wait(set(self._sessions), timeout=seconds)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)
