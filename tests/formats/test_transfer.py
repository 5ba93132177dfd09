"""Transfer encodings piece by piece give what they give at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.formats import transfer
from rookery.formats.mime import parse
from rookery.formats.text import decode_body
from rookery.formats.transfer import LINE_LIMIT, decoded

HEAD = b"Content-Transfer-Encoding: %b\r\n\r\n"
ENCODINGS = [b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable"]
BODY = st.lists(
    st.sampled_from([b"=", b"=3D", b"=\r\n", b"=\n", b"\r\n", b"\r", b"QUJD", b"RA==", b"x", b" ", b"=4", b"\0"]),
    max_size=20,
).map(b"".join)


@given(
    st.sampled_from(ENCODINGS), BODY, st.integers(1, 9), st.none() | st.tuples(st.integers(0, 30), st.integers(1, 9))
)
def test_pieces_give_the_same(encoding: bytes, body: bytes, size: int, partial: tuple[int, int] | None) -> None:
    data = HEAD % encoding + body
    whole = decode_body(data, parse(data))
    if partial is not None:
        whole = whole[partial[0] : partial[0] + partial[1]]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    for limit in (1, transfer.LINE_LIMIT):  # of a line that is waited for
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transfer, "LINE_LIMIT", limit)
            assert b"".join(decoded(pieces, encoding, partial)) == whole


def test_a_line_without_end_is_not_waited_for() -> None:
    pieces = [b"x" * (LINE_LIMIT - 1) + b"=", b"4", b"1" + b"y" * LINE_LIMIT, b"z"]
    found = list(decoded(pieces, b"quoted-printable"))
    assert b"".join(found) == b"x" * (LINE_LIMIT - 1) + b"A" + b"y" * LINE_LIMIT + b"z"
    assert max(map(len, found)) <= 2 * LINE_LIMIT


def test_unknown_encodings_are_named() -> None:
    with pytest.raises(ValueError, match="unknown"):
        list(decoded([b"x"], b"x-uuencode"))
