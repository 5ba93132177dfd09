"""PROXY headers, versions 1 and 2: whole, octet by octet, and with what follows."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.wire.proxy import V1_LIMIT, V2_LIMIT, Endpoint, NotProxy, ProxyHeader, read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PORTS = st.integers(0, 65535)
V4 = st.ip_addresses(v=4).map(str)
V6 = st.ip_addresses(v=6).map(str)


def binary(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


def endpoints(source: str, destination: str, ports: tuple[int, int], extra: bytes = b"") -> bytes:
    packed = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    return binary(1, 0x11 if "." in source else 0x21, packed + struct.pack("!HH", *ports) + extra)


def check(header: bytes, after: bytes, wanted: ProxyHeader) -> None:
    assert read_header(header + after) == wanted
    for length in range(len(header)):
        assert read_header(header[:length]) is None


@given(source=V4, destination=V4, ports=st.tuples(PORTS, PORTS), after=st.binary(max_size=20), v1=st.booleans())
def test_ipv4(source: str, destination: str, ports: tuple[int, int], after: bytes, v1: bool) -> None:
    header = endpoints(source, destination, ports)
    if v1:
        header = f"PROXY TCP4 {source} {destination} {ports[0]} {ports[1]}\r\n".encode()
    check(header, after, ProxyHeader(len(header), Endpoint(source, ports[0]), Endpoint(destination, ports[1])))


@given(source=V6, destination=V6, ports=st.tuples(PORTS, PORTS), extra=st.binary(max_size=50), v1=st.booleans())
def test_ipv6(source: str, destination: str, ports: tuple[int, int], extra: bytes, v1: bool) -> None:
    if ":" not in source or "." in source:
        source = "2001:db8::1"
    header = endpoints(source, destination, ports, extra)
    if v1:
        header = f"PROXY TCP6 {source} {destination} {ports[0]} {ports[1]}\r\n".encode()
    answer = read_header(header)
    assert isinstance(answer, ProxyHeader)
    assert answer.source == Endpoint(source, ports[0])
    assert answer.length == len(header)


@pytest.mark.parametrize(
    "header", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN a b 1 2\r\n", binary(0, 0, b""), binary(1, 0, b"x")]
)
def test_headers_without_addresses(header: bytes) -> None:
    assert read_header(header + b"EHLO") == ProxyHeader(len(header))


@pytest.mark.parametrize(
    "data",
    [b"EHLO x\r\n", b"PROXY\r\n", b"PROXY TCP4\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", b"proxy UNKNOWN\r\n",
     b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", b"PROXY TCP4 ::1 ::1 1 2\r\n",
     b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", b"PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
     b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", b"PROXY UNKNOWN " + b"x" * V1_LIMIT, b"\x16\x03\x01", b"\r\nX",
     SIGNATURE + b"\x11\x11\0\x0c" + b"0" * 12, SIGNATURE + b"\x22\x11\0\x0c" + b"0" * 12,
     binary(1, 0x11, b"short"),
     binary(1, 0x31, b"0" * 216), SIGNATURE + b"\x21\x11\xff\xff", SIGNATURE + b"\x21\x11\x08\x01"],
)  # fmt: skip
def test_what_is_no_header(data: bytes) -> None:
    assert isinstance(read_header(data), NotProxy)


@given(
    st.binary(max_size=300)
    | st.binary(max_size=200).map(lambda b: b"PROXY " + b)
    | st.binary(max_size=200).map(lambda b: SIGNATURE + b)
)
def test_anything_is_answered_and_bounded(data: bytes) -> None:
    answer = read_header(data)
    if answer is None:
        assert len(data) < V2_LIMIT
    if isinstance(answer, ProxyHeader):
        assert answer.length <= len(data)
        assert read_header(data[: answer.length]) == answer
