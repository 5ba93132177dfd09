"""One message on its way in: its header block is looked at and put in order, then all of it goes to a staging.

And what becomes of it in a session of SMTP, submission or LMTP, until it is whole or given up.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import ClassVar, NamedTuple, TypeAlias

from rookery.access.heads import HEAD_LIMIT, Head, head_end
from rookery.access.replies import HEADER_TOO_BIG, Moment, reply
from rookery.base.errors import Cause
from rookery.base.ids import short_id
from rookery.base.log import Logger, logger
from rookery.storage.staging import Staged, Staging
from rookery.wire.smtp.engine import Engine
from rookery.wire.smtp.events import BodyChunk, BodyEnd, BodyFailed, Event, Mail, Malformed, Reset

log = logger("smtp")


class Declined(NamedTuple):
    """The message is not wanted; `reply` is what its sender gets."""

    reply: bytes


Prepare: TypeAlias = Callable[[Head], bytes | Declined]


class Intake:
    """`prepare` is given the header block when it is complete, and gives what is to stand in its place.

    `failure`: the reply to a message that cannot be taken, b"" so far; then the staging is gone already.
    """

    __slots__ = ("_gathered", "_prepare", "_staging", "failure")

    def __init__(self, staging: Staging, prepare: Prepare) -> None:
        self._staging: Staging | None = staging
        self._prepare = prepare
        self._gathered: bytes | None = b""  # the header block until it is complete
        self.failure = b""

    def write(self, chunk: bytes) -> None:
        if self.failure:
            return
        gathered = self._gathered
        if gathered is None:
            self._store(chunk)
            return
        searched = len(gathered)
        data = gathered + chunk if gathered else chunk
        end = head_end(data, searched)
        if (end if end >= 0 else len(data)) > HEAD_LIMIT:
            self._fail(HEADER_TOO_BIG)
        elif end < 0:
            self._gathered = data
        else:
            self._complete(data, end)

    def finish(self) -> Staged | None:
        """The whole message, the caller's to release; None when it failed."""
        if self._gathered is not None and not self.failure:
            data = self._gathered
            self._complete(data if data.endswith(b"\r\n") or not data else data + b"\r\n", -1)
        if self._staging is None:
            return None
        staged = self._staging.finish()
        self._staging = None
        return staged

    def discard(self) -> None:
        staging, self._staging = self._staging, None
        if staging is not None:
            staging.discard()

    def _complete(self, data: bytes, end: int) -> None:
        """The header block is there; `end` -1: and nothing else."""
        self._gathered = None
        prepared = self._prepare(Head(data if end < 0 else data[:end]))
        if isinstance(prepared, Declined):
            self._fail(prepared.reply)
        else:
            self._store(prepared + (data[end:] if end >= 0 else b"\r\n"))

    def _store(self, data: bytes) -> None:
        staging = self._staging
        if staging is None:
            return
        try:
            staging.write(data)
        except OSError as error:
            log.error("cannot-stage", error=str(error))
            self._fail(reply(Cause.DISK_FULL, Moment.MESSAGE))

    def _fail(self, answer: bytes) -> None:
        self.failure = answer
        self._gathered = None
        self.discard()


class Receiver(ABC):
    """The decisions of one connection, as far as they are the same whoever sends; the engine speaks."""

    __slots__ = ("_intake", "_mail", "engine", "id")

    log: ClassVar[Logger]

    def __init__(self, engine: Engine) -> None:
        self.id = short_id()
        self.engine = engine
        self._mail = Mail("")
        self._intake: Intake | None = None

    @abstractmethod
    def handle(self, event: Event) -> Awaitable[None] | None:
        """What the client said."""

    def _begin_body(self, staging: Staging) -> None:
        self._intake = Intake(staging, self._prepare)
        self.engine.accept()

    @abstractmethod
    def _prepare(self, head: Head) -> bytes | Declined:
        """See Intake."""

    def _on_body_chunk(self, event: BodyChunk) -> None:
        intake = self._intake
        if intake is None or intake.failure:
            return
        intake.write(event.data)
        if intake.failure:
            self._log_declined(intake.failure[:9].decode())
            self.engine.fail_body(intake.failure)  # the intake stays: BodyEnd may be on its way already

    @abstractmethod
    def _log_declined(self, reply: str) -> None:
        """The message is refused while it comes in."""

    def _on_body_failed(self, event: BodyFailed) -> None:
        self.log.info("refused", session=self.id, sender=self._mail.sender, what=event.reason)
        self.discard()

    def _on_body_end(self, event: BodyEnd) -> Awaitable[None] | None:
        intake, self._intake = self._intake, None
        staged = intake.finish() if intake is not None else None
        if staged is None:
            failure = intake.failure if intake is not None else b""
            self.engine.refuse(failure or reply(Cause.UNAVAILABLE, Moment.MESSAGE))
            return None
        return self._accept(staged)

    @abstractmethod
    def _accept(self, staged: Staged) -> Awaitable[None]:
        """The message is whole: commit it, then answer."""

    def _on_reset(self, event: Reset) -> None:
        self.discard()

    def discard(self) -> None:
        """Drop a message that is not whole; one that is, is the store's or the spool's until that has answered."""
        intake, self._intake = self._intake, None
        if intake is not None:
            intake.discard()

    def _on_malformed(self, event: Malformed) -> None:
        self.log.debug("malformed", session=self.id, what=event.reason)


RECEIVING: dict[type, Callable[..., Awaitable[None] | None]] = {
    BodyChunk: Receiver._on_body_chunk,
    BodyEnd: Receiver._on_body_end,
    BodyFailed: Receiver._on_body_failed,
    Reset: Receiver._on_reset,
    Malformed: Receiver._on_malformed,
}
