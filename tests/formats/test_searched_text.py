"""What a search looks at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.formats.mime import parse
from rookery.formats.text import (
    body_contains,
    decode_body,
    decoded_header,
    fold_case,
    header_text,
    message_contains,
    text_of,
)

MESSAGE = (
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Sch=F6ne Stra=\r\n=DFe\r\n"
    b"--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"PGI+w4RwZmVsPC9iPg==\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\n\r\nhidden\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ndeep\r\n"
    b"--b--\r\n"
)


@pytest.mark.parametrize(
    ("needle", "found"),
    [("straße", True), ("STRASSE", True), ("äpfel", True), ("hidden", False), ("inner", True), ("deep", True),
     ("grüße", False), ("", True), ("=F6", False)],
)  # fmt: skip
def test_body(needle: str, found: bool) -> None:
    assert body_contains(MESSAGE, parse(MESSAGE), fold_case(needle)) is found


def test_text_has_the_header_too() -> None:
    assert message_contains(MESSAGE, parse(MESSAGE), fold_case("GRÜSSE"))
    assert message_contains(MESSAGE, parse(MESSAGE), fold_case("subject: grüße"))
    assert decoded_header(MESSAGE, b"subject") == ["Grüße"]
    assert "Grüße" in header_text(MESSAGE)


def test_text_is_bounded() -> None:
    message = b"\r\n" + b"a" * 100 + b"needle"
    assert body_contains(message, parse(message), "needle")
    assert not body_contains(message, parse(message), "needle", 50)


def test_unknown_transfer_encoding() -> None:
    message = b"Content-Transfer-Encoding: x-strange\r\n\r\nabc"
    with pytest.raises(ValueError, match="unknown transfer encoding"):
        decode_body(message, parse(message))
    assert text_of(message, parse(message)) == "abc"


@given(st.binary(max_size=200), st.sampled_from([b"base64", b"quoted-printable", b"8bit"]))
def test_nothing_breaks_it(body: bytes, encoding: bytes) -> None:
    message = b"Content-Type: text/plain; charset=utf-7\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body
    root = parse(message)
    text_of(message, root)
    message_contains(message, root, "zzz")


@given(st.text(max_size=50))
def test_folding_is_stable(text: str) -> None:
    assert fold_case(fold_case(text)) == fold_case(text)
