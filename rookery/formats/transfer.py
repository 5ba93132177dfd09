"""A transfer encoding taken away piece by piece, as `text.decode_body` does of a body at hand (RFC 2045 section 6)."""

import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from rookery.formats.encoded_words import decode_base64
from rookery.formats.text import PLAIN_ENCODINGS

LINE_LIMIT = 64 * 1024  # octets of a quoted-printable line that are waited for
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PASSED_OVER = re.compile(rb"(?<!=)(?:==)*+=\r")
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))


class _Decoder(Protocol):
    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class _Plain:
    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


class _Base64:
    """Ends at the first "="; other octets are passed over."""

    __slots__ = ("_ended", "_held")

    def __init__(self) -> None:
        self._held = b""  # of four
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        if self._ended:
            return b""
        data, padding, _ = data.partition(b"=")
        self._ended = bool(padding)
        clean = self._held + data.translate(None, _NOT_BASE64)
        whole = len(clean) & ~3
        self._held = clean[whole:]
        return binascii.a2b_base64(clean[:whole])

    def end(self) -> bytes:
        return decode_base64(self._held)


class _QuotedPrintable:
    """Whole lines, as nothing that is coded goes on behind a line's end; of a line that does not end what is certain.

    As `binascii` reads it, "==" is one sign, and of "=" and a CR all is passed over up to the LF.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        data = self._held + data
        cut = data.rfind(b"\n") + 1
        self._held = data[cut:]
        found = binascii.a2b_qp(data[:cut])
        return found + self._cut_line() if len(self._held) > LINE_LIMIT else found

    def _cut_line(self) -> bytes:
        line = self._held
        passed_over = _PASSED_OVER.search(line)
        if passed_over is not None:
            cut = passed_over.end() - 2
            self._held = b"=\r"
        else:
            last = len(line) if line.endswith(b"=") else len(line) - 1
            signs = last - len(line[:last].rstrip(b"="))
            cut = last - 1 if signs % 2 else len(line)
            self._held = line[cut:]
        return binascii.a2b_qp(line[:cut])

    def end(self) -> bytes:
        return binascii.a2b_qp(self._held)


def _decoder(encoding: bytes) -> _Decoder:
    if encoding in PLAIN_ENCODINGS:
        return _Plain()
    if encoding == b"base64":
        return _Base64()
    if encoding == b"quoted-printable":
        return _QuotedPrintable()
    raise ValueError("unknown transfer encoding")


def decoded(pieces: Iterable[bytes], encoding: bytes, partial: tuple[int, int] | None = None) -> Iterator[bytes]:
    """`pieces` of a body without its transfer encoding, or of that `partial` (first, count): pieces again.

    Raises ValueError when the encoding is not known.
    """
    decoder = _decoder(encoding)
    skip, left = (0, None) if partial is None else partial
    for data in _fed(decoder, pieces):
        taken = data[skip:] if left is None else data[skip : skip + left]
        skip = max(0, skip - len(data))
        if taken:
            yield taken
        if left is not None:
            left -= len(taken)
            if not left:
                return


def _fed(decoder: _Decoder, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield decoder.feed(piece)
    yield decoder.end()
