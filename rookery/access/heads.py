"""Looking at the header block of a message on its way in, and putting trace fields before it.

Only what acceptance needs: hops, earlier deliveries, the Message-ID. RFC 5321 section 4.4 (Received, Return-Path),
RFC 3848 and RFC 6531 section 4.3 (protocol names). Messages have CRLF line ends by now.
"""

import re
from datetime import datetime
from functools import lru_cache

from rookery.formats.dates import format_mail_date
from rookery.formats.headers import fields
from rookery.net.stream import Peer, TlsFacts

HEAD_LIMIT = 256 * 1024  # octets of a header block

_MESSAGE_ID = re.compile(rb"\s{0,998}(<[^<>\s]{1,250}>)")
_DELIVERED_TO = re.compile(rb"\s{0,998}([^\r\n]{1,400})")
_SAFE_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]+")


def head_end(data: bytes, start: int = 0) -> int:
    """Where the header block ends (before the empty line); -1 when that has not come. `start`: searched so far."""
    if data.startswith(b"\r\n"):
        return 0
    end = data.find(b"\r\n\r\n", max(0, start - 3))
    return end + 2 if end >= 0 else -1


class Head:
    """A header block that was searched through once for everything."""

    __slots__ = ("_lower", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._lower = b"\n" + data.lower()

    def has(self, name: bytes) -> bool:
        """Whether there is a field of that name, given in lower case."""
        return b"\n" + name + b":" in self._lower

    @property
    def hops(self) -> int:
        """Received fields (RFC 5321 section 6.3)."""
        return self._lower.count(b"\nreceived:")

    @property
    def message_id(self) -> str:
        """As written, "" if there is none that could be one."""
        at = self._lower.find(b"\nmessage-id:")
        if at < 0:
            return ""
        found = _MESSAGE_ID.match(self.data, at + 11)  # the leading LF is not in `data`
        return found[1].decode("utf-8", "replace") if found else ""

    def delivered_to(self) -> set[bytes]:
        """Addresses of Delivered-To fields, in lower case."""
        found = set()
        at = self._lower.find(b"\ndelivered-to:")
        while at >= 0:
            value = _DELIVERED_TO.match(self._lower, at + 14)
            if value is not None:
                found.add(value[1].strip())
            at = self._lower.find(b"\ndelivered-to:", at + 14)
        return found

    def without(self, name: bytes) -> bytes:
        """The block less the fields of that name, given in lower case."""
        if not self.has(name):
            return self.data
        data = self.data
        parts, kept = [], 0
        for field in fields(data, 0, len(data)):
            if field.name.lower() == name:
                parts.append(data[kept : field.start])
                kept = field.end
        parts.append(data[kept:])
        return b"".join(parts)


@lru_cache(maxsize=4)
def date_text(second: int) -> str:
    """RFC 5322 date in the machine's own zone, made once a second."""
    return format_mail_date(datetime.fromtimestamp(second).astimezone())


def protocol_name(
    *, lmtp: bool = False, extended: bool = True, tls: bool = False, authenticated: bool = False, smtputf8: bool = False
) -> str:
    """What stands after `with` (RFC 3848; RFC 6531 section 4.3)."""
    if not lmtp and not extended:
        return "SMTP"
    base = ("UTF8LMTP" if smtputf8 else "LMTP") if lmtp else ("UTF8SMTP" if smtputf8 else "ESMTP")
    return base + ("S" if tls else "") + ("A" if authenticated else "")


def received_start(greeted_as: str, peer: Peer, hostname: str, protocol: str, tls: TlsFacts | None) -> str:
    """Everything of a Received field up to the id; the same for all messages of a session in one protocol."""
    parts = ["Received: "]
    if peer.address:
        literal = f"IPv6:{peer.address}" if ":" in peer.address else peer.address
        name = greeted_as if _SAFE_NAME.fullmatch(greeted_as) else "unknown"
        parts.append(f"from {name} ([{literal}])\r\n\t")
    parts.append(f"by {hostname} with {protocol}")
    if tls is not None:
        parts.append(f" ({tls.version} {tls.cipher})")
    return "".join(parts)


def received_end(start: str, message: str, recipient: str, second: int) -> bytes:
    """The whole field. `recipient` "" when there are several: they need not know of each other."""
    middle = f"\r\n\tfor <{recipient}>" if recipient else ""
    return f"{start} id {message}{middle};\r\n\t{date_text(second)}\r\n".encode()
