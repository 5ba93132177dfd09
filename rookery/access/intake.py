"""One message on its way in: its header block is looked at and put in order, then all of it goes to a staging."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from rookery.access.heads import HEAD_LIMIT, Head, head_end
from rookery.access.replies import HEADER_TOO_BIG, Moment, reply
from rookery.base.errors import Cause
from rookery.base.log import logger
from rookery.storage.staging import Staged, Staging

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
