"""Replies of a server, whole and in pieces, well-formed and not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.wire.smtp_client.replies import (
    LINE_LIMIT,
    LINES_LIMIT,
    TEXT_LIMIT,
    BadReply,
    Reply,
    ReplyReader,
)


def read(data: bytes) -> list[Reply]:
    return ReplyReader().receive(data)


def test_single_line() -> None:
    assert read(b"250 2.1.5 Ok\r\n") == [Reply(250, "2.1.5", "Ok")]


def test_several_replies_and_lines() -> None:
    assert read(b"250-one\r\n250 two\r\n354 go\r\n") == [Reply(250, "", "one\ntwo"), Reply(354, "", "go")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"250\r\n", Reply(250)),
        (b"250 \r\n", Reply(250)),
        (b"250 Ok\n", Reply(250, "", "Ok")),
        (b"550 5.1.1\r\n", Reply(550, "5.1.1")),
        (b"550-5.1.1 no\r\n550 5.1.1 such user\r\n", Reply(550, "5.1.1", "no\nsuch user")),
        (b"550 4.1.1 classes differ\r\n", Reply(550, "", "4.1.1 classes differ")),
        (b"550 5.1.1234 no code\r\n", Reply(550, "", "5.1.1234 no code")),
        (b"250 \x1b[2J\x07bell\r\n", Reply(250, "", "?[2J?bell")),
        (b"250 \xff\xfe\r\n", Reply(250, "", "\ufffd\ufffd")),
        ("250 grüße\r\n".encode(), Reply(250, "", "grüße")),
    ],
)
def test_forms(line: bytes, expected: Reply) -> None:
    assert read(line) == [expected]


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"\r\n",
        b"25\r\n",
        b"250x\r\n",
        b"150 too low\r\n",
        b"650 too high\r\n",
        b"250-one\r\n251 two\r\n",
        b"2\xb250 x\r\n",
        b"250-" + b"x" * LINE_LIMIT,
        b"x" * (LINE_LIMIT + 1),
        b"250 " + b"x" * LINE_LIMIT + b"\r\n",
        b"250-x\r\n" * (LINES_LIMIT + 1),
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(BadReply):
        read(data)


def test_text_is_bounded() -> None:
    (reply,) = read(b"250-" + b"x" * 2000 + b"\r\n250-" + b"y" * 2000 + b"\r\n250 " + b"z" * 2000 + b"\r\n")
    assert len(reply.text) == TEXT_LIMIT


_lines = st.lists(st.text(alphabet=st.characters(categories=["L", "N", "P"]), max_size=40), min_size=1, max_size=5)
_replies = st.lists(st.tuples(st.integers(200, 599), _lines), min_size=1, max_size=6)


def written(replies: list[tuple[int, list[str]]]) -> bytes:
    out = b""
    for code, lines in replies:
        for line in lines[:-1]:
            out += f"{code}-{line}\r\n".encode()
        out += f"{code} {lines[-1]}\r\n".encode()
    return out


@given(_replies, st.binary(max_size=20).filter(lambda b: b"\n" not in b))
def test_whole_byte_by_byte_and_with_trailing_data(replies: list[tuple[int, list[str]]], rest: bytes) -> None:
    data = written(replies)
    whole = read(data)
    assert [reply.code for reply in whole] == [code for code, _ in replies]
    reader = ReplyReader()
    assert [reply for i in range(len(data)) for reply in reader.receive(data[i : i + 1])] == whole
    trailing = ReplyReader()
    assert trailing.receive(data + rest) == whole
    assert trailing.leftover() == rest


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_never_anything_but_replies_or_bad_reply(chunks: list[bytes]) -> None:
    reader = ReplyReader()
    try:
        for chunk in chunks:
            for reply in reader.receive(chunk):
                assert 200 <= reply.code < 600
                assert all(c.isprintable() or c == "\n" for c in reply.text)
    except BadReply:
        pass
