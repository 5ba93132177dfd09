"""Delivery status notifications: what is built is read back, and stays within what every relay can carry."""

from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.formats.dsn import (
    Action,
    Notice,
    RecipientStatus,
    Report,
    build,
    build_status,
    decode_xtext,
    parse_status,
)

_plain = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=";"), min_size=1, max_size=40)
_words = st.lists(_plain, max_size=6).map(" ".join)
_address = st.one_of(_plain, st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=30))
_recipients = st.builds(
    RecipientStatus,
    final=_address.map(lambda local: f"{local}@example.test"),
    action=st.sampled_from(Action),
    status=st.sampled_from(["5.1.1", "4.4.7", "2.0.0", "5.999.999"]),
    original=st.one_of(st.just(""), _plain.map(lambda text: f"rfc822;{text}")),
    diagnostic=_words,
    remote=st.one_of(st.just(""), st.just("mx.example.test")),
)
_reports = st.builds(
    Report,
    reporting=st.just("node.example.test"),
    recipients=st.lists(_recipients, min_size=1, max_size=5).map(tuple),
    envelope_id=_plain,
)


@given(_reports)
def test_status_round_trip(report: Report) -> None:
    assert parse_status(build_status(report)) == report


def notice(report: Report, original: bytes = b"Subject: x\r\n\r\n", **facts: object) -> Notice:
    return Notice(report, "ann@example.test", "1@node.example.test", 1_800_000_000, original, **facts)  # type: ignore[arg-type]


@given(_reports, st.binary(max_size=300))
def test_any_notice_is_a_safe_message(report: Report, original: bytes) -> None:
    message = build(notice(report, original))
    assert message.isascii()
    assert message.count(b"\n") == message.count(b"\r") == message.count(b"\r\n")
    assert max(map(len, message.split(b"\r\n"))) <= 998
    assert b"\r\n.\r\n" not in message
    parsed = message_from_bytes(message, policy=policy.default)
    assert parsed.get_content_type() == "multipart/report"
    assert parsed["Auto-Submitted"] == "auto-replied"
    text, status, returned = parsed.iter_parts()
    assert (text.get_content_type(), status.get_content_type(), returned.get_content_type()) == (
        "text/plain", "message/delivery-status", "text/rfc822-headers",
    )  # fmt: skip


def test_what_a_person_reads() -> None:
    report = Report(
        "node.test",
        (
            RecipientStatus("bob@x.test", Action.FAILED, "5.1.1", diagnostic="550 no bob", remote="mx.x.test"),
            RecipientStatus("eve@x.test", Action.DELAYED, "4.4.1", retry_until=1_800_000_000),
        ),
    )
    parsed = message_from_bytes(build(notice(report, lifetime=432_000)), policy=policy.default)
    text = next(iter(parsed.iter_parts())).get_content().replace("\r\n", "\n")
    assert "could not be delivered to:\n\n  bob@x.test\n    mx.x.test said: 550 no bob\n" in text
    assert "eve@x.test\n    It will be tried until Fri, 15 Jan 2027" in text
    assert "Delivery was tried for 5 days and is given up." in text


@pytest.mark.parametrize(
    "nasty", ["bob@x.test\r\nBcc: eve@x.test", "bob\x00@x.test", "bob@x.test\r\n\r\nAction: delivered"]
)
def test_no_field_can_be_smuggled_in(nasty: str) -> None:
    report = Report("node.test", (RecipientStatus(nasty, Action.FAILED, "5.1.1", diagnostic=nasty),))
    found = parse_status(build_status(report))
    assert found is not None
    assert len(found.recipients) == 1
    assert b"\r\nBcc:" not in build(Notice(report, nasty, "1@n", 1, b""))


def test_a_long_header_is_cut_at_a_line() -> None:
    original = b"".join(b"X-%d: %s\r\n" % (n, b"x" * 60) for n in range(5000))
    parsed = message_from_bytes(
        build(notice(Report("n.test", (RecipientStatus("a@b", Action.FAILED, "5.0.0"),)), original))
    )
    returned = parsed.get_payload()[2].get_payload(decode=True)  # type: ignore[index,union-attr]
    assert len(returned) <= 64 * 1024 + 2
    assert all(line.endswith(b"x") for line in returned.split(b"\r\n") if line)


@given(st.binary(max_size=500))
def test_reading_anything_is_harmless(data: bytes) -> None:
    parse_status(data)


def test_reports_of_others() -> None:
    body = (
        b"Reporting-MTA: dns; mail.example.org\nX-Queue-ID: 12345\n\n"
        b"Final-Recipient: rfc822; bob@x.test\nOriginal-Recipient: rfc822;b+2Bob@x.test\nAction: Failed\n"
        b"Status: 5.1.1 (bad)\nRemote-MTA: dns; mx.x.test\nDiagnostic-Code: smtp; 550\n no such user\n\n"
        b"Final-Recipient: rfc822; half\n"
    )
    found = parse_status(body)
    assert found is not None
    (recipient,) = found.recipients
    assert (recipient.final, recipient.status, recipient.diagnostic) == ("bob@x.test", "5.1.1", "550 no such user")
    assert decode_xtext(recipient.original) == "rfc822;b+ob@x.test"
