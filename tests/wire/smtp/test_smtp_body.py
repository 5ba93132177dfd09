"""DATA and BDAT bodies: dots, ends and line ends, however they are cut."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from rookery.wire.smtp.body import ChunkReader, DotReader
from tests.wire.smtp.dialogue import stuffed

PARTS = st.lists(st.sampled_from([b"\r\n", b".", b"..", b"\r\n.\r\n", b"\r\n.", b"x", b"yz", b"\r", b"\n", b"\0"]))
CUTS = st.lists(st.integers(1, 9), min_size=1, max_size=20)


def read(data: bytes, cuts: list[int]) -> tuple[bytes, bytes | None, bool]:
    reader, body, at, turn = DotReader(), b"", 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        turn += 1
        content, rest = reader.feed(data[at : at + size])
        body += content
        at += size
        if rest is not None:
            return body, rest + data[at:], reader.bare
    return body, None, reader.bare


@given(parts=PARTS, cuts=CUTS, after=st.binary(max_size=10))
def test_what_is_stuffed_comes_out_again(parts: list[bytes], cuts: list[int], after: bytes) -> None:
    body = b"".join(parts).replace(b"\r\n", b"\n").replace(b"\r", b"").replace(b"\n", b"\r\n")
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    found, rest, bare = read(stuffed(body) + after, cuts)
    assert (found, rest, bare) == (body, after, False)


@given(data=PARTS.map(b"".join), cuts=CUTS)
@example(data=b"\r\n.\r\n", cuts=[1])
@example(data=b".\r\n", cuts=[1])
@example(data=b"a\n.\r\nb\r\n.\r\n", cuts=[3])
@example(data=b"a\r.\r\n\r\n.\r\n", cuts=[2])
def test_only_the_one_end_ends_it(data: bytes, cuts: list[int]) -> None:
    """Against the rule in its simplest words."""
    end = (b"\r\n" + data).find(b"\r\n.\r\n")
    body, rest, bare = read(data, cuts)
    if end < 0:
        assert rest is None
        return
    assert rest == data[end + 3 :]
    taken = data[:end]
    assert bare == bool(re.search(rb"\r(?!\n)|(?<!\r)\n", taken))
    if not bare:
        assert body == re.sub(rb"\r\n\.", b"\r\n", b"\r\n" + taken)[2:]


@given(chunks=st.lists(PARTS.map(b"".join), max_size=6))
def test_line_ends_are_checked_across_chunks(chunks: list[bytes]) -> None:
    reader = ChunkReader()
    for chunk in chunks:
        reader.feed(chunk)
    reader.end()
    assert reader.bare == bool(re.search(rb"\r(?!\n)|(?<!\r)\n", b"".join(chunks)))
