"""Encoded words and parameters."""

import base64
from email.header import Header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.formats.encoded_words import decode_base64, decode_parameter, decode_words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?Hello_W=C3=B6rld?=", "Hello Wörld"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),  # RFC 2047 section 8
        (b"=?ISO-8859-1?Q?a?= b", "a b"),
        (b"=?ISO-8859-1?Q?a_b?=", "a b"),
        (b"=?utf-8*en?b?w6Q=?=", "ä"),  # RFC 2231 section 5
        (b"=?utf-8?b?w6?=", "\ufffd"),
        (b"=?utf-8?b?w6Q?= x", "ä x"),  # padding forgotten
        (b"=?utf-8?b?w?= =?utf-8?b?6Q=?=", "\ufffd"[:0] + decode_words(b"=?utf-8?b?6Q=?=")),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä"),  # cut inside a character
        (b"=?unknown?q?=E4?=", "ä"),
        (b"=?us-ascii?q?=E4?=", "ä"),
        (b"Gr\xc3\xbc\xc3\x9fe", "Grüße"),
        (b"Gr\xfc\xdfe", "Grüße"),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?utf-8?q?unfinished", "=?utf-8?q?unfinished"),
        (b"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
    ],
)
def test_known_words(value: bytes, text: str) -> None:
    assert decode_words(value) == text


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=80))
def test_what_the_standard_library_writes_we_read(text: str) -> None:
    coded = Header(text, "utf-8").encode(linesep="")
    assert decode_words(coded.encode()) == text


@given(st.binary(max_size=100))
def test_base64_round_trip(data: bytes) -> None:
    assert decode_base64(base64.encodebytes(data)) == data


@given(st.binary(max_size=200) | st.text("=?utf-8BbQq_ ", max_size=60).map(str.encode))
def test_nothing_breaks_it(value: bytes) -> None:
    decode_words(value)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (((b"filename", b"a.txt"),), "a.txt"),
        (((b"filename*", b"utf-8''%e2%82%ac.txt"),), "€.txt"),
        (((b"filename*0*", b"utf-8''%e2%82"), (b"filename*1*", b"%ac"), (b"filename*2", b".txt")), "€.txt"),
        (((b"filename*1", b"b"), (b"filename*0", b"a")), "ab"),
        (((b"filename", b"=?utf-8?q?=C3=A4?="),), "ä"),
        (((b"filename*1", b"b"),), None),
        (((b"filename*x", b"b"),), None),
        ((), None),
    ],
)
def test_parameters(parameters: tuple[tuple[bytes, bytes], ...], text: str | None) -> None:
    assert decode_parameter(parameters, b"filename") == text
