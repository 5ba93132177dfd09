"""Modified UTF-7: one spelling per name, everything else refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.formats import mailbox_utf7


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("INBOX", b"INBOX"),
        ("Entwürfe", b"Entw&APw-rfe"),
        ("a&b", b"a&-b"),
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # RFC 3501 section 5.1.3
        ("\U0001f600", b"&2D3eAA-"),
        ("\x00", b"&AAA-"),
        ("", b""),
    ],
)
def test_known_names(name: str, wire: bytes) -> None:
    assert mailbox_utf7.encode(name) == wire
    assert mailbox_utf7.decode(wire) == name


@pytest.mark.parametrize(
    "wire",
    [
        b"&",
        b"a&b",
        b"&Jjo",  # never shifted back
        b"&Jjo!",
        b"&AGE-",  # "a" needs no shifting
        b"&U,BTFw-&ZeVnLIqe-",  # RFC 3501: superfluous shift
        b"&2D0-",  # half a surrogate pair
        b"&3gDYPQ-",  # a pair the wrong way round
        b"&APx-",  # padding bits that are not zero
        b"&APw=-",
        b"&A-",
        b"caf\xc3\xa9",
        b"a\x00b",
        b"a\nb",
    ],
)
def test_anything_else_is_refused(wire: bytes) -> None:
    with pytest.raises(ValueError, match="UTF-7"):
        mailbox_utf7.decode(wire)


@given(st.text())
def test_round_trip(name: str) -> None:
    assert mailbox_utf7.decode(mailbox_utf7.encode(name)) == name


@given(st.binary(max_size=40) | st.text("&-,+/Ab1= \x7f", max_size=20).map(str.encode))
def test_what_decodes_encodes_to_the_same(wire: bytes) -> None:
    try:
        name = mailbox_utf7.decode(wire)
    except ValueError:
        return
    assert mailbox_utf7.encode(name) == wire
