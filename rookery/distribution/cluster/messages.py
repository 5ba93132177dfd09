"""What a node that has no certificate says to the authority, and what it hears (msgpack, one question a connection).

Nothing here is secret but a token's secret, which is sent only to a node that has shown a certificate of the pinned
authority with the role `authority`.
"""

from typing import TypeAlias

import msgspec

from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.distribution.cluster.authority import Bundle

MESSAGE_LIMIT = 16 * 1024  # octets


class AskBundle(msgspec.Struct, frozen=True, tag="bundle"):
    """Which authorities there are. Anybody may know."""


class Join(msgspec.Struct, frozen=True, tag="join"):
    """`request`: PKCS #10, DER. `keeps`: what the new node is made for, as in base/members.py; "" does not say."""

    token: bytes
    secret: bytes
    request: bytes
    keeps: str = ""

    def __repr__(self) -> str:
        return f"Join(token={self.token.hex()})"


class ComeBack(msgspec.Struct, frozen=True, tag="come-back"):
    """Of a node whose certificate has ended while it was away; the request is of that certificate's key."""

    name: str
    request: bytes


class Authorities(msgspec.Struct, frozen=True, tag="authorities"):
    bundle: Bundle


class Issued(msgspec.Struct, frozen=True, tag="issued"):
    """`certificate` DER, `chain` what is to be sent after it."""

    certificate: bytes
    chain: tuple[bytes, ...]
    bundle: Bundle


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    refusal: Refusal


Question: TypeAlias = AskBundle | Join | ComeBack
Answer: TypeAlias = Authorities | Issued | Refused

_questions: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
encode = msgspec.msgpack.encode


def read_question(data: bytes) -> Question:
    """Raises INVALID, TOO_BIG."""
    try:
        return _questions.decode(_bounded(data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # of names it leaves that check to Python
        raise RookeryError(Cause.INVALID, "this is no question to a cluster's authority") from None


def read_answer(data: bytes) -> Authorities | Issued:
    """Raises INVALID, TOO_BIG, or what the authority refused."""
    try:
        answer = _answers.decode(_bounded(data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # of names it leaves that check to Python
        raise RookeryError(Cause.INVALID, "whoever answered is no authority of a cluster") from None
    if isinstance(answer, Refused):
        raise RookeryError(answer.refusal.cause, answer.refusal.what)
    return answer


def _bounded(data: bytes) -> bytes:
    if len(data) > MESSAGE_LIMIT:
        raise RookeryError(Cause.TOO_BIG, f"a message of joining has at most {MESSAGE_LIMIT} octets")
    return data
