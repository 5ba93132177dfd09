"""Headers made to exhaust whoever reads them: fields, folds, addresses, parameters and comments without number.

Not timed: a reader that were quadratic in any of these would not come back.
"""

import pytest

from rookery.access.imap.derive import field_selector
from rookery.formats.address import ADDRESS_LIMIT, parse_addresses
from rookery.formats.dates import parse_mail_date
from rookery.formats.encoded_words import decode_parameter, decode_words
from rookery.formats.envelope import envelope
from rookery.formats.headers import HEADER_LIMIT, VALUE_LIMIT, fields, select_fields, unfold
from rookery.formats.mime import PARAMETER_LIMIT, parse, parse_content_type
from rookery.formats.text import header_text
from rookery.wire.imap import fetch_responses


def _read_all(message: bytes) -> None:
    fetch_responses.envelope(envelope(message))
    fetch_responses.body_structure(message, parse(message), extended=True)
    select_fields(message, [b"subject"])


def test_40_000_fields() -> None:
    message = b"".join(b"X-%d: a\r\n" % i for i in range(40_000)) + b"Subject: at the end\r\n\r\n"
    _read_all(message)
    assert envelope(message).subject == b"at the end"
    assert sum(1 for _ in fields(message)) == 40_001
    assert header_text(message).endswith("at the end")


@pytest.mark.parametrize(
    "name", [b"From", b"Subject", b"Content-Type", b"Content-Disposition", b"Content-Language", b"Date"]
)
@pytest.mark.parametrize(
    "value",
    [
        b"(" * 1_000_000, b"((a)" * 300_000, b"<" * 1_000_000, b"@" * 1_000_000, b'"' * 1_000_001, b'"\\' * 500_000,
        b"a, " * 300_000, b"a:" * 500_000, b"g:a;" * 300_000, b"a " * 500_000, b"a\r\n " * 300_000, b"\r\n " * 300_000,
        b";a=b" * 300_000, b"a/b;" * 300_000, b'a/b;"' * 300_000, b"a/b;(" * 300_000, b"=?utf-8?q?" * 100_000,
        b"=?utf-8?q?a?= " * 100_000, b"=?" * 500_000, b"[" * 1_000_000, b"\\" * 1_000_000, b"1 Jan " * 200_000,
        b"\xff" * 1_000_000, b"\x00" * 1_000_000, b"a.b" * 300_000,
    ],
)  # fmt: skip
def test_one_field_of_a_megabyte(name: bytes, value: bytes) -> None:
    message = name + b": " + value + b"\r\n\r\nbody"
    _read_all(message)
    line = unfold(value)
    decode_words(line)
    parse_mail_date(line.decode("latin-1"))


def test_what_is_kept_of_it_is_bounded() -> None:
    assert len(parse_addresses(b"a@b," * 1_000_000)) == ADDRESS_LIMIT
    kind = parse_content_type(b"a/b" + b";c=d" * 1000)
    assert kind is not None
    assert len(kind.parameters) == PARAMETER_LIMIT
    assert len(unfold(b"a\r\n " * VALUE_LIMIT)) <= VALUE_LIMIT
    pieces = tuple((b"a*%d" % i, b"x") for i in range(20_000))
    assert len(decode_parameter(pieces, b"a") or "") <= 10_000


def test_single_fields_are_looked_for_in_a_bounded_block() -> None:
    message = b"To: a\r\n" * (HEADER_LIMIT // 7) + b"Subject: too late\r\n\r\n"
    assert envelope(message).subject is None
    assert len(field_selector((b"to",))(message)) < HEADER_LIMIT + 10


def test_a_header_that_never_ends_is_one() -> None:
    message = b"a" * 10_000_000
    assert list(fields(message)) == []
    _read_all(message)
    _read_all(b":" * 10_000_000)
    _read_all(b"\n" * 3_000_000)
    _read_all(b"From:\n" * 1_000_000)
