"""What a node answers to others at its cluster port: a handler for each kind of question.

What a role may not ask is refused here, before any handler sees it (net/cluster/member.py).
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.base.members import Member
from rookery.distribution.service.calls import Answer, Question, decode_question, encode, refused
from rookery.net.cluster.link import Link
from rookery.net.cluster.member import permits

Q = TypeVar("Q", bound=Question)

log = logger("cluster")


Handler = Callable[[Member, Q], Awaitable[Answer]]


class Questions:
    """Implements `called` of a Service."""

    def __init__(self) -> None:
        self._handlers: dict[type[object], tuple[str, Handler[Question]]] = {}

    def take(self, kind: type[Q], handler: Handler[Q], permission: str = "") -> None:
        """`handler(who asks, question)` answers, or raises RookeryError. `permission`: "" lets every member ask."""
        self._handlers[kind] = (permission, handler)  # type: ignore[assignment]  # found again by that very kind

    async def called(self, link: Link, payload: bytes) -> bytes:
        return await self.answer(link.peer, payload)

    async def answer(self, caller: Member, payload: bytes) -> bytes:
        """Never raises RookeryError; what went wrong is the answer."""
        try:
            answer = await self._answer(caller, decode_question(payload))
        except RookeryError as error:
            answer = refused(error.refusal)
        return encode(answer)

    async def _answer(self, caller: Member, question: Question) -> Answer:
        permission, handler = self._handlers.get(type(question), ("", None))
        if handler is None:
            raise RookeryError(Cause.UNSUPPORTED, "this node does not answer that")
        if permission and not permits(caller.roles, permission):
            log.warning("not-permitted", node=caller.name, question=type(question).__name__)
            raise RookeryError(Cause.DENIED, "the certificate of this node has no role that may ask so")
        return await handler(caller, question)
