"""Octets of a message out of octets of the wire: whole chunks at a time, in linear time, holding back at most 4 octets.

Only <CR><LF>.<CR><LF> ends DATA (RFC 5321 section 4.1.1.4). A CR or LF alone makes the whole message refused: what one
server takes for a line end and the next does not is how mail is smuggled.
"""

_END = b"\r\n.\r\n"
_CRLF = b"\r\n"
_DOT_LINE = b"\r\n."
_BEGINNINGS = [_END[:length] for length in range(5)]


class DotReader:
    """DATA. `feed` until it gives what came after the end; `bare` tells then, or before, that line ends were wrong."""

    __slots__ = ("_held", "_start", "bare")

    def __init__(self) -> None:
        self._held = _CRLF  # the message begins at the start of a line
        self._start = True  # ... which is not part of it
        self.bare = False

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """(octets of the message, None while it goes on or else what follows its end)."""
        data = self._held + data
        end = data.find(_END)
        if end >= 0:
            rest: bytes | None = data[end + 5 :]
            data = data[: end + 2]
            self._held = b""
        else:
            rest = None
            held = _partial(data)
            self._held = data[len(data) - held :]
            if held:
                data = data[:-held]
        if _DOT_LINE in data:
            data = data.replace(_DOT_LINE, _CRLF)
        pairs = data.count(_CRLF)
        if data.count(b"\n") != pairs or data.count(b"\r") != pairs:
            self.bare = True
        if self._start and len(data) >= 2:
            self._start = False
            data = data[2:]
        return data, rest


def _partial(data: bytes) -> int:
    """How many octets at the end may be the beginning of the end."""
    for length in (4, 3, 2, 1):
        if data.endswith(_BEGINNINGS[length]):
            return length
    return 0


class ChunkReader:
    """BDAT, all chunks of one message: checks line ends across them. Octets are counted by the engine."""

    __slots__ = ("_cr", "bare")

    def __init__(self) -> None:
        self._cr = False  # the last octet so far was a CR
        self.bare = False

    def feed(self, data: bytes) -> None:
        if not data:
            return
        pairs = data.count(_CRLF)
        lfs, crs = data.count(b"\n"), data.count(b"\r")
        if self._cr:
            if data[:1] != b"\n":
                self.bare = True
            lfs -= 1
        self._cr = data[-1:] == b"\r"
        if self._cr:
            crs -= 1
        if lfs != pairs or crs != pairs:
            self.bare = True

    def end(self) -> None:
        if self._cr:
            self.bare = True
