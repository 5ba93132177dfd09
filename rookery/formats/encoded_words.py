"""Encoded words in header fields (RFC 2047) and parameter values (RFC 2231), decoded for reading and searching."""

import binascii
import re

from rookery.formats.charset import decode as decode_charset

TEXT_LIMIT = 1 << 20  # octets of one field decoded

_WORD = re.compile(rb"=\?([!-)+->@-~]{1,64})(?:\*[A-Za-z0-9-]*)?\?([BbQq])\?([!->@-~]*)\?=")
_BETWEEN = re.compile(rb"[ \t\r\n]*\Z")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
_HEX = re.compile(rb"=([0-9A-Fa-f]{2})")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")


def decode_base64(text: bytes) -> bytes:
    """As much as can be had of sloppy base64: other octets are passed over, a broken end is dropped."""
    clean = text.translate(None, _NOT_BASE64)
    if len(clean) % 4 == 1:
        clean = clean[:-1]
    return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))


def _content(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"Bb":
        return decode_base64(text)
    return _HEX.sub(lambda match: bytes((int(match[1], 16),)), text.replace(b"_", b" "))


def decode_words(value: bytes) -> str:
    """An unfolded field value as text; never fails. Space between two encoded words is none (RFC 2047 section 6.2).

    Neighbouring words of one charset are joined before decoding: mailers cut inside characters.
    """
    value = value[:TEXT_LIMIT]
    if b"=?" not in value:
        return decode_charset(value, None)
    parts: list[str] = []
    charset: str | None = None
    held: list[bytes] = []  # contents of neighbouring words in `charset`
    end = 0
    for match in _WORD.finditer(value):
        between = value[end : match.start()]
        adjacent = charset is not None and _BETWEEN.fullmatch(between) is not None
        name = match[1].decode("ascii").lower()
        if not adjacent or name != charset:
            if charset is not None:
                parts.append(decode_charset(b"".join(held), charset))
                held.clear()
            if not adjacent:
                parts.append(decode_charset(between, None))
            charset = name
        held.append(_content(match[2], match[3]))
        end = match.end()
    if charset is not None:
        parts.append(decode_charset(b"".join(held), charset))
    parts.append(decode_charset(value[end:], None))
    return "".join(parts)


def decode_parameter(parameters: tuple[tuple[bytes, bytes], ...], name: bytes) -> str | None:
    """One parameter's value as text: plain, with encoded words as sloppy mailers write, or in RFC 2231 pieces."""
    pieces: dict[int, tuple[bytes, bool]] = {}
    for key, value in parameters:
        if key == name:
            return decode_words(value)
        stem, star, rest = key.partition(b"*")
        if star and stem == name:
            coded = rest.endswith(b"*") or not rest
            number = rest.rstrip(b"*") or b"0"
            if number.isdigit() and len(number) <= 4:
                pieces.setdefault(int(number), (value, coded))
    if 0 not in pieces:
        return None
    charset = None
    octets: list[bytes] = []
    for index in range(len(pieces)):
        if index not in pieces:
            break
        value, coded = pieces[index]
        if coded:
            if index == 0 and value.count(b"'") >= 2:
                label, _, value = value.split(b"'", 2)
                charset = label.decode("ascii", "replace") or None
            value = _PERCENT.sub(lambda match: bytes((int(match[1], 16),)), value)
        octets.append(value)
    return decode_charset(b"".join(octets), charset)
