"""Sessions on streams that other nodes open here: what is under way, and how it ends; and streams of mail.

Mail has no account and no handle: who may bring it is said by the roles of a certificate, and what it says of its
client limits and is logged, no more. So a node that was stolen can hand in what any mail exchanger can.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.base.members import Member
from rookery.net.cluster.link import Link
from rookery.net.cluster.member import permits
from rookery.net.cluster.stream import LinkStream
from rookery.wire.cluster.speaking import LIMITS
from rookery.wire.cluster.values import Preface

# (stream, who opened it, how it was opened). Raises RookeryError when it cannot be served.
EnterMail = Callable[[LinkStream, Member, Preface], Awaitable[None]]

_WORD = re.compile(r"[A-Za-z0-9_.:-]*")  # goes into headers of messages and into the log

log = logger("handoff")


class Sessions:
    """Those under way, each with its stream and task."""

    def __init__(self) -> None:
        self._sessions: dict[asyncio.Task[None], LinkStream] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, stream: LinkStream, session: str, serving: Awaitable[None]) -> "asyncio.Task[None]":
        """Serve it; the stream is closed at the end, and reset when it cannot be served (RookeryError)."""
        task = asyncio.get_running_loop().create_task(self._serve(stream, session, serving))
        self._sessions[task] = stream
        task.add_done_callback(self._ended)
        return task

    async def _serve(self, stream: LinkStream, session: str, serving: Awaitable[None]) -> None:
        try:
            await serving
        except RookeryError as error:
            log.refused("not-taken", error.refusal, session=session)
            stream.reset(error.refusal)
        finally:
            stream.close()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._sessions[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("session-failed", error=f"{type(error).__name__}: {error}")

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


class MailStreams:
    """`enter`: what serves a stream of mail, by protocol. `most`: of one node at a time, on all its links."""

    def __init__(self, enter: Mapping[str, EnterMail], most: int = LIMITS.streams) -> None:
        self.enter = enter
        self.sessions = Sessions()
        self._most = most
        self._counts: Counter[str] = Counter()  # by node

    def opened(self, link: Link, preface: Preface, stream: LinkStream) -> None:
        """Raises RookeryError: it is not taken."""
        enter, node = self.enter[preface.protocol], link.peer
        may_open(node, preface)
        if self._counts[node.name] >= self._most:
            raise RookeryError(Cause.TOO_MANY, "this node has many streams of mail here already")
        self._counts[node.name] += 1
        task = self.sessions.begin(stream, preface.session, enter(stream, node, preface))
        task.add_done_callback(lambda _: self._ended(node.name))

    def _ended(self, node: str) -> None:
        self._counts[node] -= 1
        if not self._counts[node]:
            del self._counts[node]


def may_open(node: Member, preface: Preface) -> None:
    """Raises RookeryError: DENIED, or INVALID for words that are none."""
    if not permits(node.roles, preface.protocol):
        log.warning("not-permitted", node=node.name, protocol=preface.protocol)
        raise RookeryError(Cause.DENIED, f"no {preface.protocol} for this node here")
    tls = preface.tls
    words = (tls.version, tls.cipher, tls.server_name) if tls is not None else ()
    if not all(map(_WORD.fullmatch, (*words, preface.session))):
        raise RookeryError(Cause.INVALID, "what it says of its client is not what such things are called")
