"""Large mails whose every line is nearly a boundary, nearly the end of a header, or has to be counted on every level.

Not timed, and looked at by their budget: it is in proportion to the size, and small for each octet.
"""

from rookery.formats.headers import body_start
from rookery.formats.mime import parse
from rookery.formats.text import walk

MB = 1 << 20


def test_lines_that_are_nearly_delimiters() -> None:
    mail = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"\n--ax" * (5 * MB // 5)
    assert parse(mail).children == []


def test_messages_in_messages_around_a_large_body() -> None:
    mail = b"Content-Type: message/rfc822\n\n" * 100 + b"x\n" * (5 * MB)
    assert sum(1 for _ in walk(parse(mail))) < 60  # the budget ends before the depth does


def test_the_end_of_a_header_is_not_looked_for_beyond_it() -> None:
    assert body_start(b"a: b\n\n" + b"x\n" * 1000) == 6
    assert body_start(b"a: b\r\n\r\n" + b"x\n\n" * 1000) == 8
    for length in (4090, 4093, 4094, 4095, 4096, 4097, 20_476, 20_480, 20_481):  # around the steps of the search
        for end in (b"\n\n", b"\n\r\n", b"\r\n\r\n"):
            data = b"y" * length + end + b"body\n\n"
            assert body_start(data) == length + len(end)
    assert body_start(b"y" * 100_000) == 100_000
