"""Transparency of DATA: nothing inside a message can end it, and a receiver gets back what was sent."""

from hypothesis import given
from hypothesis import strategies as st

from rookery.wire.smtp_client.dots import DotStuffer


def stuffed(*chunks: bytes) -> bytes:
    stuffer = DotStuffer()
    return b"".join(stuffer.add(chunk) for chunk in chunks) + stuffer.end()


def received(data: bytes) -> bytes:
    """What a server makes of it (RFC 5321 section 4.5.2)."""
    assert data.endswith(b".\r\n")
    lines = data.split(b"\r\n")
    assert lines.pop() == b""
    assert lines.pop() == b"."
    assert b"." not in lines
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)


def test_examples() -> None:
    assert stuffed() == b".\r\n"
    assert stuffed(b"a\r\n") == b"a\r\n.\r\n"
    assert stuffed(b"a") == b"a\r\n.\r\n"
    assert stuffed(b".") == b"..\r\n.\r\n"
    assert stuffed(b"a\r\n", b".\r\n", b"b\r\n") == b"a\r\n..\r\nb\r\n.\r\n"
    assert stuffed(b"a\r", b"\n.", b"\r\n") == b"a\r\n..\r\n.\r\n"


def test_bare_line_ends_cannot_smuggle() -> None:
    for ending in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r.\r\n"):
        sent = stuffed(b"a" + ending + b"MAIL FROM:<x@example.org>\r\n")
        assert sent == b"a\r\n..\r\nMAIL FROM:<x@example.org>\r\n.\r\n"


_pieces = st.lists(st.sampled_from([b"a", b".", b"\r\n", b"\r", b"\n", b"..", b"\r\n.", b"bc"]), max_size=12)


@given(_pieces)
def test_any_splitting_sends_the_same(pieces: list[bytes]) -> None:
    whole = stuffed(b"".join(pieces))
    assert stuffed(*pieces) == whole
    assert whole.replace(b"\r\n", b"").find(b"\n") < 0
    assert whole.replace(b"\r\n", b"").find(b"\r") < 0


@given(st.lists(st.binary(max_size=30).filter(lambda b: b"\r" not in b and b"\n" not in b), max_size=8))
def test_round_trip(lines: list[bytes]) -> None:
    body = b"".join(line + b"\r\n" for line in lines)
    assert received(stuffed(body)) == body
