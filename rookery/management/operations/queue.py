"""The queue: what waits, why, and what an administrator does about it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.management.operations.registry import operation

if TYPE_CHECKING:
    from rookery.distribution.spool.values import MessageReport
    from rookery.management.parts import Parts

PAGE = 1000  # messages of one answer
ALL = "all"  # instead of ids


class RecipientView(msgspec.Struct, frozen=True):
    """`state`: due, claimed, held or deferred; in the history also delivered, relayed, failed, expanded, removed.

    `next`: when it is tried again, seconds UTC. `text`: what the last attempt was told.
    """

    address: str
    given: str
    state: str
    attempts: int
    next: int | None
    code: int
    enhanced: str
    text: str
    remote: str
    changed: int


class MessageView(msgspec.Struct, frozen=True):
    """`finished`: seconds UTC, 0 while it is in the queue. `recipient_count` may be above those listed."""

    message: str
    session: str
    sender: str
    header_id: str
    size: int
    received: int
    finished: int
    held: bool
    peer: str
    recipient_count: int
    recipients: list[RecipientView]


def view(report: "MessageReport") -> MessageView:
    return MessageView(
        message=report.message,
        session=report.session,
        sender=report.sender,
        header_id=report.header_id,
        size=report.size,
        received=report.received,
        finished=report.finished,
        held=report.held,
        peer=report.peer,
        recipient_count=report.recipient_count,
        recipients=[
            RecipientView(
                found.address, found.given, found.state, found.attempts, found.next, found.code, found.enhanced,
                found.text, found.remote, found.changed,
            )
            for found in report.recipients
        ],
    )  # fmt: skip


@operation("queue.list")
async def list_queue(
    parts: "Parts", state: str | None = None, sender: str = "", recipient: str = "", after: str = ""
) -> list[MessageView]:
    """One page, oldest first; the next begins `after` its last id. Raises INVALID."""
    from rookery.distribution.spool.values import QueueFilter, State

    wanted = None
    if state is not None:
        if state.upper() not in State.__members__ or not State[state.upper()].open:
            states = ", ".join(known.name.lower() for known in State if known.open)
            raise RookeryError(
                Cause.INVALID, f"{state[:40]!r} is no state of a waiting recipient; give one of {states}"
            )
        wanted = State[state.upper()]
    found = await parts.queue_control.list(QueueFilter(wanted, sender, recipient, after), PAGE)
    return [view(report) for report in found]


@operation("queue.show")
async def show_queued(parts: "Parts", message: str) -> MessageView:
    """One message, in the queue or lately finished."""
    return view(await parts.queue_control.show(message))


async def _named(parts: "Parts", messages: list[str]) -> Sequence[str]:
    return await parts.queue_control.waiting() if messages == [ALL] else messages


@operation("queue.retry")
async def retry(parts: "Parts", messages: list[str]) -> int:
    """Try now what waits. Returns how many recipients that changed; `all` instead of ids is every message."""
    return await parts.queue_control.retry(await _named(parts, messages))


@operation("queue.hold")
async def hold(parts: "Parts", messages: list[str]) -> int:
    """Keep from being tried until released."""
    return await parts.queue_control.hold(await _named(parts, messages))


@operation("queue.release")
async def release(parts: "Parts", messages: list[str]) -> int:
    return await parts.queue_control.release(await _named(parts, messages))


@operation("queue.remove")
async def remove(parts: "Parts", messages: list[str], notify: bool = False) -> int:
    """For good. The sender hears of it only with `notify`."""
    return await parts.queue_control.remove(await _named(parts, messages), notify=notify)
