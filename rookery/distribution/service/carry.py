"""Questions and answers that may be too long for a call, or take long: each over a stream of its own.

Either way: four octets of length, then as many of MessagePack.
"""

from collections import Counter
from collections.abc import Awaitable, Callable

from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member
from rookery.distribution.service.calls import ARGUMENT_LIMIT
from rookery.net.cluster.link import Link
from rookery.net.cluster.stream import LinkStream
from rookery.net.stream import Interrupted
from rookery.wire.cluster.values import Preface

PROTOCOL = "ask"
QUESTION_LIMIT = ARGUMENT_LIMIT + 1024  # octets
ANSWER_LIMIT = 64 * 1024 * 1024  # octets; of a primary, which could do worse
ASKING = 10.0  # seconds for the whole question to come
MOST = 16  # questions of one node at a time
_LENGTH = 4


class Carried:
    """Answers them; `answer` as Questions has it."""

    def __init__(self, answer: Callable[[Member, bytes], Awaitable[bytes]]) -> None:
        self._answer = answer
        self._asking: Counter[str] = Counter()

    async def enter(self, stream: LinkStream, node: Member, preface: Preface) -> None:
        """Raises RookeryError: TOO_MANY, TOO_BIG, UNAVAILABLE."""
        if self._asking[node.name] >= MOST:
            raise RookeryError(Cause.TOO_MANY, "this node asks too much at once")
        self._asking[node.name] += 1
        try:
            stream.deadline = stream.now() + ASKING
            question = await _read(stream, QUESTION_LIMIT)
            stream.deadline = 0.0
            _write(stream, await self._answer(node, question))
        finally:
            self._asking[node.name] -= 1
            if not self._asking[node.name]:
                del self._asking[node.name]


async def ask(link: Link, question: bytes, seconds: float) -> bytes:
    """`seconds` for something to come. Raises RookeryError."""
    stream = await link.open(Preface(PROTOCOL))
    try:
        _write(stream, question)
        stream.idle = seconds
        return await _read(stream, ANSWER_LIMIT)
    finally:
        stream.close()


def _write(stream: LinkStream, message: bytes) -> None:
    stream.write(len(message).to_bytes(_LENGTH, "big") + message)


async def _read(stream: LinkStream, limit: int) -> bytes:
    """Raises RookeryError: what the other side refused with, UNAVAILABLE, TOO_BIG."""
    pieces: list[bytes] = []
    have, wanted = 0, _LENGTH
    while have < wanted:
        try:
            piece = await stream.read()
        except (TimeoutError, Interrupted):
            raise RookeryError(Cause.UNAVAILABLE, f"{stream.peer.address or 'the other node'} was silent") from None
        if not piece:
            refusal = stream.refusal
            if refusal is None:
                raise RookeryError(Cause.UNAVAILABLE, "the other node ended before it had said everything")
            raise RookeryError(refusal.cause, refusal.what)
        pieces.append(piece)
        have += len(piece)
        if wanted == _LENGTH and have >= _LENGTH:
            pieces = [b"".join(pieces)]
            wanted += int.from_bytes(pieces[0][:_LENGTH], "big")
            if wanted - _LENGTH > limit:
                raise RookeryError(Cause.TOO_BIG, f"a message of {wanted - _LENGTH} octets; at most {limit} are taken")
    return b"".join(pieces)[_LENGTH:wanted]
