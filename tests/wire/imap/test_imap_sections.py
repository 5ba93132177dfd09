"""Every section form of FETCH, against the octets of a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.formats.mime import parse
from rookery.wire.imap import commands as c
from rookery.wire.imap.fetch import FetchBinary, FetchSection
from rookery.wire.imap.sections import read_binary, read_section
from tests.wire.imap.imap_driver import one

INNER = b"Subject: in\r\nTo: c@d\r\n\r\ninner body\r\n"
MESSAGE = (
    b"From: a@b\r\nSubject: out\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/plain\r\n\r\none\r\n"
    b"--x\r\nContent-Type: message/rfc822\r\n\r\n" + INNER + b"\r\n"
    b"--x\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n"
    b"--x\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: x-odd\r\n\r\nAAEC\r\n"
    b"--x--\r\n"
)  # fmt: skip
HEADER, _, BODY = MESSAGE.partition(b"\r\n\r\n")


def _read(item: bytes) -> bytes | None:
    command = one(b"a FETCH 1 " + item).command
    assert isinstance(command, c.Fetch)
    (asked,) = command.items
    if isinstance(asked, FetchBinary):
        return read_binary(MESSAGE, lambda: parse(MESSAGE), asked.part, asked.partial)
    assert isinstance(asked, FetchSection)
    return read_section(MESSAGE, lambda: parse(MESSAGE), asked.section, asked.partial)


@pytest.mark.parametrize(
    ("item", "content"),
    [
        (b"BODY[]", MESSAGE),
        (b"RFC822", MESSAGE),
        (b"BODY[HEADER]", HEADER + b"\r\n\r\n"),
        (b"RFC822.HEADER", HEADER + b"\r\n\r\n"),
        (b"BODY[TEXT]", BODY),
        (b"RFC822.TEXT", BODY),
        (b"BODY[HEADER.FIELDS (SUBJECT X)]", b"Subject: out\r\n\r\n"),
        (b"BODY[HEADER.FIELDS.NOT (Content-Type From)]", b"Subject: out\r\n\r\n"),
        (b"BODY[1]", b"one"),
        (b"BODY[1.MIME]", b"Content-Type: text/plain\r\n\r\n"),
        (b"BODY[2]", INNER),
        (b"BODY[2.HEADER]", b"Subject: in\r\nTo: c@d\r\n\r\n"),
        (b"BODY[2.TEXT]", b"inner body\r\n"),
        (b"BODY[2.1]", b"inner body\r\n"),
        (b"BODY[2.HEADER.FIELDS (TO)]", b"To: c@d\r\n\r\n"),
        (b"BODY[2.MIME]", b"Content-Type: message/rfc822\r\n\r\n"),
        (b"BODY[1.HEADER]", None),
        (b"BODY[9]", None),
        (b"BODY[]<5.4>", MESSAGE[5:9]),
        (b"BODY[TEXT]<0.1000000>", BODY),
        (b"BODY[TEXT]<1000000.5>", b""),
        (b"BODY[1]<1.1>", b"n"),
        (b"BODY[HEADER.FIELDS (SUBJECT)]<3.4>", b"ject"),
        (b"BINARY[1]", b"one"),
        (b"BINARY[3]", b"\x00\x01\x02"),
        (b"BINARY[3]<1.1>", b"\x01"),
        (b"BINARY[]", MESSAGE),
        (b"BINARY[9]", None),
    ],
)
def test_sections(item: bytes, content: bytes | None) -> None:
    assert _read(item) == content


def test_an_unknown_transfer_encoding_is_told() -> None:
    with pytest.raises(ValueError, match="unknown transfer encoding"):
        _read(b"BINARY[4]")


@given(st.integers(0, len(MESSAGE) + 5), st.integers(1, 50))
def test_partials_are_slices(first: int, count: int) -> None:
    assert _read(b"BODY[]<%d.%d>" % (first, count)) == MESSAGE[first : first + count]
