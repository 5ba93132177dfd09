"""One message as it comes in, by DATA or by BDAT: its size, its line ends, and why it will not be taken."""

from rookery.wire.smtp import replies
from rookery.wire.smtp.body import ChunkReader, DotReader
from rookery.wire.smtp.events import BodyChunk, BodyFailed, Event


class Reception:
    """Make one per message. `failure` is the reply that refuses it, b"" while all is well.

    `chunked`: by BDAT, whose current chunk has `left` octets to come and is the `last` or not.
    """

    __slots__ = ("_chunks", "_dots", "_limit", "_size", "failure", "last", "left", "swallowed")

    def __init__(self, limit: int, *, chunked: bool = False, failure: bytes = b"") -> None:
        """`limit` in octets, 0 for none."""
        self._limit = limit
        self._size = 0
        self._dots = None if chunked else DotReader()
        self._chunks = ChunkReader()
        self.failure = failure
        self.swallowed = 0  # octets after it had failed
        self.left = 0
        self.last = not chunked

    @property
    def chunked(self) -> bool:
        return self._dots is None

    def feed(self, data: bytes, events: list[Event]) -> bytes | None:
        """Use octets; gives what follows the message or the current chunk, or None when that goes on."""
        dots = self._dots
        if dots is not None:
            content, rest = dots.feed(data)
            self._take(content, dots.bare, events)
            return rest
        left = self.left
        content = data[:left]
        self.left = left - len(content)
        self._chunks.feed(content)
        if not self.left and self.last:
            self._chunks.end()
        self._take(content, self._chunks.bare, events)
        return None if self.left else data[left:]

    def _take(self, content: bytes, bare: bool, events: list[Event]) -> None:
        if self.failure:
            self.swallowed += len(content)
            return
        self._size += len(content)
        if bare:
            self.failure = replies.BARE_IN_BODY
            events.append(BodyFailed("bare CR or LF"))
        elif self._limit and self._size > self._limit:
            self.failure = replies.TOO_BIG
            events.append(BodyFailed("too big"))
        elif content:
            events.append(BodyChunk(content))
