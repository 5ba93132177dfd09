"""The header by which a load balancer names the real client: PROXY protocol, versions 1 (text) and 2 (binary).

Specification: haproxy's doc/proxy-protocol.txt, sections 2.1 and 2.2. Whether a header may come at all is decided by
who connects, never by what is sent: that is the listener's business.
"""

import ipaddress
import re
from typing import NamedTuple, TypeAlias

V1_LIMIT = 107  # octets, CRLF included (section 2.1)
V2_LIMIT = 16 + 2048  # octets; the extra fields (TLVs) are skipped, so they need not be long

_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]{2,39}) ([0-9A-Fa-f.:]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})\r\n\Z")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?\r\n\Z")
_ADDRESSES = {0x11: 4, 0x21: 16}  # TCP over IPv4 and IPv6: octets of an address


class Endpoint(NamedTuple):
    address: str
    port: int


class ProxyHeader(NamedTuple):
    """`length` octets were the header; the rest is the client's. No `source`: the connection is the proxy's own."""

    length: int
    source: Endpoint | None = None
    destination: Endpoint | None = None


class NotProxy(NamedTuple):
    """What came is no header, or one that is not understood. End the connection."""

    reason: str


Answer: TypeAlias = ProxyHeader | NotProxy | None


def read_header(data: bytes) -> Answer:
    """The header at the start of `data`; None when it is not complete, and all of `data` belongs to it."""
    if data[:12] == _V2_SIGNATURE[: len(data)]:
        return _binary(data)
    if data[:6] == b"PROXY "[: len(data)]:
        return _text(data)
    return NotProxy("no PROXY header")


def _text(data: bytes) -> Answer:
    end = data.find(b"\n", 0, V1_LIMIT)
    if end < 0:
        return NotProxy("header too long") if len(data) >= V1_LIMIT else None
    line = data[: end + 1]
    found = _V1.match(line)
    if found is None:
        return ProxyHeader(len(line)) if _V1_UNKNOWN.match(line) else NotProxy("malformed header")
    family, *names = (word.decode("ascii") for word in found.groups())
    addresses = [_address(name, family) for name in names[:2]]
    ports = [int(name) for name in names[2:]]
    if not all(addresses) or max(ports) > 65535 or any(len(n) > 1 and n[0] == "0" for n in names[2:]):
        return NotProxy("malformed address")
    return ProxyHeader(len(line), Endpoint(addresses[0], ports[0]), Endpoint(addresses[1], ports[1]))


def _address(name: str, family: str) -> str:
    """The address in its usual spelling, "" if it is none of that family."""
    try:
        return str(ipaddress.IPv4Address(name) if family == "TCP4" else ipaddress.IPv6Address(name))
    except ValueError:
        return ""


def _binary(data: bytes) -> Answer:
    if len(data) < 16:
        return None
    version, command, family = data[12] >> 4, data[12] & 15, data[13]
    length = 16 + int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1:
        return NotProxy("unknown version or command")
    if length > V2_LIMIT:
        return NotProxy("header too long")
    if len(data) < length:
        return None
    if command == 0:  # LOCAL: the proxy itself, to see whether we live
        return ProxyHeader(length)
    octets = _ADDRESSES.get(family)
    if octets is None:
        return ProxyHeader(length) if family == 0 else NotProxy("unknown address family")
    if length < 16 + 2 * octets + 4:
        return NotProxy("truncated addresses")
    source, destination, ports = data[16 : 16 + octets], data[16 + octets : 16 + 2 * octets], 16 + 2 * octets
    return ProxyHeader(
        length,
        Endpoint(str(ipaddress.ip_address(source)), int.from_bytes(data[ports : ports + 2], "big")),
        Endpoint(str(ipaddress.ip_address(destination)), int.from_bytes(data[ports + 2 : ports + 4], "big")),
    )
