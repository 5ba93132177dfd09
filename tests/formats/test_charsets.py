"""Charset labels and decoding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.formats.charset import codec_of, decode


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("UTF-8", "utf-8"),
        (" utf8 ", "utf-8"),
        ('"utf-8"', "utf-8"),
        ("us-ascii", "cp1252"),
        ("ISO_8859-1", "cp1252"),
        ("iso-8859-15", "iso8859-15"),
        ("GB2312", "gb18030"),
        ("koi8-r", "koi8-r"),
        ("ks_c_5601-1987", "cp949"),
        ("windows-1251", "cp1251"),
    ],
)
def test_known_labels(label: str, codec: str) -> None:
    assert codec_of(label) == codec


@pytest.mark.parametrize(
    "label",
    ["base64", "zlib", "rot13", "idna", "punycode", "unicode_escape", "hex", "", "x" * 1000, "\x00", "é", "..", "mbcs"],
)
def test_codecs_that_are_no_charsets_are_unknown(label: str) -> None:
    assert codec_of(label) is None
    assert decode(b"caf\xe9", label) == "café"


def test_what_is_utf8_is_read_as_utf8_whatever_a_western_label_says() -> None:
    assert decode("Grüße".encode(), "us-ascii") == "Grüße"
    assert decode("Grüße".encode(), None) == "Grüße"
    assert decode("Grüße".encode("latin-1"), "iso-8859-1") == "Grüße"


def test_decoding_is_bounded() -> None:
    assert decode(b"a" * 100, "utf-8", 10) == "a" * 10


@given(
    st.binary(max_size=100),
    st.sampled_from(["utf-8", "utf-7", "utf-16", "iso-2022-jp", "hz", "big5", "gb2312", "nonsense", None]),
)
def test_nothing_breaks_it(data: bytes, label: str | None) -> None:
    decode(data, label)
