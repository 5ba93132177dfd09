"""Modified UTF-7 of mailbox names (RFC 3501 section 5.1.3), strict both ways.

Every name has exactly one spelling: whatever is not what `encode` would have written is refused, so that two
spellings can never name one mailbox.
"""

import binascii
import re

_SHIFTED = re.compile(r"[^\x20-\x7e]+")
_UNSHIFT = re.compile(rb"&([A-Za-z0-9+,]*)-")
_PLAIN = re.compile(rb"[\x20-\x25\x27-\x7e]*")  # printable US-ASCII but "&"


def _shift(match: re.Match[str]) -> str:
    coded = binascii.b2a_base64(match[0].encode("utf-16-be", "surrogatepass"), newline=False)
    return "&" + coded.rstrip(b"=").replace(b"/", b",").decode("ascii") + "-"


def encode(name: str) -> bytes:
    """The wire form of any text; never fails."""
    if name.isascii() and name.isprintable() and "&" not in name:
        return name.encode("ascii")
    return _SHIFTED.sub(_shift, name.replace("&", "&-")).encode("ascii")


def decode(data: bytes) -> str:
    """The text of a wire form. Raises ValueError when it is not well-formed modified UTF-7."""
    if _PLAIN.fullmatch(data):
        return data.decode("ascii")
    if not data.isascii():
        raise ValueError("8-bit octets in modified UTF-7")
    parts: list[str] = []
    end = 0
    for match in _UNSHIFT.finditer(data):
        parts.append(data[end : match.start()].decode("ascii"))
        parts.append(_unshift(match[1]))
        end = match.end()
    parts.append(data[end:].decode("ascii"))
    text = "".join(parts)
    if encode(text) != data:  # a stray "&", padding bits, printable characters shifted, two runs where one would do
        raise ValueError("not well-formed modified UTF-7")
    return text


def _unshift(coded: bytes) -> str:
    if not coded:
        return "&"
    try:
        raw = binascii.a2b_base64(coded.replace(b",", b"/") + b"=" * (-len(coded) % 4))
        return raw.decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("a broken base64 run in modified UTF-7") from None
