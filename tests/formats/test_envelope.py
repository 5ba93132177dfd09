"""The envelope's rules (RFC 9051 section 7.5.2)."""

from hypothesis import given
from hypothesis import strategies as st

from rookery.formats.address import Address
from rookery.formats.envelope import Envelope, envelope

ALICE = Address(b"Alice", None, b"alice", b"example.com")
BOB = Address(None, None, b"bob", b"example.com")


def test_sender_and_reply_to_are_from_unless_they_say_something() -> None:
    found = envelope(b"From: Alice <alice@example.com>\r\nSender:\r\nReply-To: bob@example.com\r\n\r\n")
    assert found.from_ == found.sender == (ALICE,)
    assert found.reply_to == (BOB,)
    assert found.to == found.cc == found.bcc == ()


def test_values_are_unfolded_and_raw() -> None:
    found = envelope(
        b"Subject: =?utf-8?q?a?=\r\n b\r\nMessage-ID:\r\n <1@x>\r\nDATE: now\r\nIn-Reply-To: <0@x>\r\n"
        b"Subject: 2\r\n\r\n"
        b"Subject: of the body\r\n"
    )
    assert (found.subject, found.message_id, found.date, found.in_reply_to) == (
        b"=?utf-8?q?a?= b", b"<1@x>", b"now", b"<0@x>",
    )  # fmt: skip


def test_an_empty_field_is_not_an_absent_one() -> None:
    assert envelope(b"Subject:\r\n\r\n").subject == b""
    assert envelope(b"").subject is None
    assert envelope(b"\r\nFrom: x@y\r\n") == Envelope()


@given(st.binary(max_size=300))
def test_nothing_breaks_it(data: bytes) -> None:
    envelope(data)
    envelope(b"From: " + data + b"\r\nTo: " + data)
