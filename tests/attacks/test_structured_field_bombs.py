"""Content- fields made of comments and separators, in many parts: linear, wherever a search begins anew."""

import pytest

from rookery.formats.mime import VALUE_LIMIT, parse, parse_content_type, parse_disposition
from rookery.formats.text import walk

UNITS = [
    b"(\\", b"(\\(", b"(a", b"(\\)", b"; ", b";\t", b"; a ", b'"\\', b"\\(", b"\\", b";a = ", b";a\t=\t",
    b'("', b"(;", b"a(",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("end", [b"", b"(", b")", b'"', b"\\"])
def test_many_parts(unit: bytes, end: bytes) -> None:
    value = b"text/plain;" + unit * (VALUE_LIMIT // len(unit) - 20) + end
    part = b"--x\r\nContent-Type: " + value + b"\r\nContent-Disposition: " + value + b"\r\n\r\n\r\n"
    mail = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + part * 5
    assert sum(1 for _ in walk(parse(mail))) == 6


def test_comments_escapes_and_separators_are_read_as_ever() -> None:
    kind = parse_content_type(b'text/plain (a \\( b); ; charset="x(y)" (end); ;; format=flowed (open')
    assert kind is not None
    assert kind.parameters == ((b"charset", b"x(y)"), (b"format", b"flowed"))
    found = parse_disposition(b'attachment; filename="a\\"b"')
    assert found is not None
    assert found.parameters == ((b"filename", b'a"b'),)
