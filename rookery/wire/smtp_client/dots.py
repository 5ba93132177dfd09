"""Transparency of DATA (RFC 5321 section 4.5.2), by whole chunks: a dot before a dot that begins a line.

Line ends leave as CRLF and nothing else (section 2.3.8): a bare CR or LF that came by BDAT or was made here is made
CRLF, for what one server takes as the end of a line and the next does not is how messages are smuggled.
"""

import re

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class DotStuffer:
    """`add` each chunk, then `end` once."""

    __slots__ = ("_held", "_line_start")

    def __init__(self) -> None:
        self._line_start = True
        self._held = b""  # a CR at the end of a chunk waits for what follows it

    def add(self, chunk: bytes) -> bytes:
        data = self._held + chunk if self._held else chunk
        if data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        else:
            self._held = b""
        return self._stuff(data)

    def end(self) -> bytes:
        rest = self._stuff(self._held)
        self._held = b""
        return rest + (b".\r\n" if self._line_start else b"\r\n.\r\n")

    def _stuff(self, data: bytes) -> bytes:
        if not data:
            return data
        pairs = data.count(b"\r\n")
        if data.count(b"\n") != pairs or data.count(b"\r") != pairs:
            data = _BARE.sub(b"\r\n", data)
        stuffed = data.replace(b"\n.", b"\n..")
        if self._line_start and stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        self._line_start = data.endswith(b"\n")
        return stuffed
