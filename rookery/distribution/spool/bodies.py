"""The octets of spooled messages: a bounded memory of those that just came, and the count of what is still needed.

A message that is delivered at once is never read back from disk. A segment of which nothing is needed any more is
deleted whole; of one that is mostly dead the rest is written anew by the spool. Lives on the event loop.
"""

from collections import OrderedDict
from collections.abc import Iterable

from rookery.base.log import logger
from rookery.storage.blobs import Place
from rookery.storage.staging import Staged

log = logger("spool")

KEEP_LIMIT = 256 * 1024  # octets of one body that is kept in memory


def release(staged: Staged) -> None:
    """Give memory and temporary file back. A disk that refuses must not keep anybody from his answer."""
    try:
        staged.release()
    except OSError as error:
        log.warning("staging-kept", error=error.strerror)  # swept at the next start


class RecentBodies:
    """Staged bodies by message number, the oldest given up first. Holding one is releasing it later."""

    __slots__ = ("_kept", "_limit", "_octets")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._octets = 0
        self._kept: OrderedDict[int, Staged] = OrderedDict()

    @property
    def octets(self) -> int:
        return self._octets

    def keep(self, number: int, staged: Staged) -> None:
        if staged.size > KEEP_LIMIT or staged.size > self._limit:
            release(staged)
            return
        self._kept[number] = staged
        self._octets += staged.size
        while self._octets > self._limit:
            self.drop(next(iter(self._kept)))

    def get(self, number: int) -> bytes | None:
        staged = self._kept.get(number)
        return None if staged is None else staged.read()

    def drop(self, number: int) -> None:
        staged = self._kept.pop(number, None)
        if staged is not None:
            self._octets -= staged.size
            release(staged)

    def clear(self) -> None:
        for number in list(self._kept):
            self.drop(number)


class LiveOctets:
    """How much of each segment is needed. `dead` segments are those of which nothing is."""

    __slots__ = ("_segments",)

    def __init__(self, known: Iterable[tuple[int, int, int]]) -> None:
        self._segments = {segment: [records, octets] for segment, records, octets in known}

    def add(self, place: Place) -> None:
        entry = self._segments.get(place.segment)
        if entry is None:
            self._segments[place.segment] = [1, place.length]
        else:
            entry[0] += 1
            entry[1] += place.length

    def remove(self, place: Place) -> None:
        entry = self._segments.get(place.segment)
        if entry is not None:
            entry[0] -= 1
            entry[1] -= place.length
            if entry[0] <= 0:
                del self._segments[place.segment]

    def octets(self, segment: int) -> int:
        entry = self._segments.get(segment)
        return entry[1] if entry is not None else 0

    def needed(self, segment: int) -> bool:
        return segment in self._segments
