"""What an attempt did to one recipient, in the queue's words; and what a reply means (RFC 5321 section 4.2.1)."""

from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum

import msgspec

from rookery.wire.smtp_client.replies import Reply


class Verdict(Enum):
    DONE = "done"
    LATER = "later"
    NEVER = "never"


class Outcome(msgspec.Struct, frozen=True):
    """`remote`: the host that said so, "" for ourselves."""

    verdict: Verdict
    code: int
    enhanced: str
    text: str
    remote: str = ""


def outcome(reply: Reply, remote: str) -> Outcome:
    """A reply as an outcome; a missing enhanced code becomes the general one of its class (RFC 3463 section 3.1)."""
    if reply.positive:
        return Outcome(Verdict.DONE, reply.code, reply.enhanced or "2.0.0", reply.text, remote)
    if reply.permanent:
        return Outcome(Verdict.NEVER, reply.code, reply.enhanced or "5.0.0", reply.text, remote)
    return Outcome(Verdict.LATER, reply.code, reply.enhanced or "4.0.0", reply.text, remote)


def own(status: str, text: str) -> Outcome:
    """Our own judgement: `status` is an enhanced code, whose class says whether it is for good."""
    if status.startswith("5"):
        return Outcome(Verdict.NEVER, 550, status, text)
    return Outcome(Verdict.LATER, 451, status, text)


class Job(msgspec.Struct, frozen=True):
    """One message for recipients of one destination; `done` is called once, on the loop, with their outcomes in order.

    `whole` gives a small body (`size` up to `whole_limit` of the spool) at once, if it is at hand; `chunks` gives any.
    `log`: fields for every log line about it. `delivery`: what delivery ids begin with.
    """

    sender: str
    recipients: tuple[str, ...]
    size: int
    eight_bit: bool
    smtputf8: bool
    delivery: str
    session: str
    whole: Callable[[], bytes | None] | None
    chunks: Callable[[], AsyncIterator[bytes]]
    done: Callable[[Sequence[Outcome]], None]

    def all(self, result: Outcome) -> None:
        """One outcome for everybody."""
        self.done([result] * len(self.recipients))
