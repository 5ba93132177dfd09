"""Delivery status notifications: RFC 3464 in the multipart/report of RFC 6522; addresses by RFC 3461 and RFC 6533.

`build` makes a whole message, `parse_status` reads the part for machines. A notification is ASCII throughout: what is
not (the text, the original header) is quoted-printable, addresses become `utf-8;` with \\x{...}, so that every relay
can carry it. What a notification is sent for, and to whom, is decided elsewhere.
"""

import binascii
import re
from datetime import UTC, datetime
from enum import Enum

import msgspec

from rookery.formats.dates import format_mail_date

HEADER_LIMIT = 64 * 1024  # octets of the original's header that are returned
LINE_LIMIT = 990  # octets; longer lines of a 7-bit original header are encoded
STATUS_LIMIT = 1024 * 1024  # octets that `parse_status` looks at
BLOCKS_LIMIT = 10_000  # recipients of one report
_VALUE_LIMIT = 900  # characters of one field's value

_FIELD = re.compile(rb"([!-9;-~]{1,60}):[ \t]*(.*)")
_UTF8_ESCAPE = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_XTEXT_ESCAPE = re.compile(r"\+([0-9A-F]{2})")


class Action(Enum):
    """RFC 3464 section 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


class RecipientStatus(msgspec.Struct, frozen=True):
    """One recipient. `original`: ORCPT as given ("rfc822;..."), or "". Times: seconds UTC, 0 for none.

    `diagnostic`: the reply of `remote`, or our own words when `remote` is "".
    """

    final: str
    action: Action
    status: str  # "5.1.1"
    original: str = ""
    diagnostic: str = ""
    remote: str = ""
    last_attempt: int = 0
    retry_until: int = 0


class Report(msgspec.Struct, frozen=True):
    """What the part for machines says. `arrived`: when the original came, seconds UTC."""

    reporting: str  # our host name
    recipients: tuple[RecipientStatus, ...]
    arrived: int = 0
    envelope_id: str = ""


class Notice(msgspec.Struct, frozen=True):
    """A whole notification. `original`: the header of the message it is about, as it was."""

    report: Report
    to: str
    message_id: str  # without angle brackets
    now: int
    original: bytes
    original_id: bytes = b""  # value of its Message-ID, or b""
    lifetime: int = 0  # seconds for which delivery was tried; named in the text when it ran out


# --- building ------------------------------------------------------------------------------------------------------


def build(notice: Notice) -> bytes:
    """The message with CRLF line ends, without Return-Path and Received."""
    report = notice.report
    boundary = f"=_{notice.message_id.replace('@', '.')}"[:68]
    subject = _subject(report)
    head = [
        f"From: Mail Delivery System <MAILER-DAEMON@{report.reporting}>",
        f"To: {_header_address(notice.to)}",
        f"Subject: {subject}",
        f"Date: {format_mail_date(datetime.fromtimestamp(notice.now, UTC))}",
        f"Message-ID: <{notice.message_id}>",
        *_references(notice.original_id),
        "Auto-Submitted: auto-replied",  # RFC 3834 section 5.1: nobody shall answer this by machine
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
    ]
    delimiter = f"\r\n--{boundary}\r\n".encode()
    header = _cut_header(notice.original)
    if _plain(header):
        returned = b"Content-Type: text/rfc822-headers\r\n\r\n" + header
    else:
        returned = (
            b"Content-Type: text/rfc822-headers; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            + _quoted_printable(header)
        )
    return b"".join(
        (
            "\r\n".join(head).encode("ascii", "replace"),
            b"\r\n\r\nThis is a MIME message: a delivery status notification.\r\n",
            delimiter,
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
            b"Content-Description: Notification\r\n\r\n",
            _quoted_printable(_text(notice).encode("utf-8", "replace")),
            delimiter,
            b"Content-Type: message/delivery-status\r\nContent-Description: Delivery report\r\n\r\n",
            build_status(report),
            delimiter,
            b"Content-Description: Header of the message\r\n",
            returned,
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )


def build_status(report: Report) -> bytes:
    """The body of message/delivery-status: a block for the message, one for each recipient (RFC 3464 section 2.1)."""
    lines = [f"Reporting-MTA: dns; {_atom(report.reporting)}"]
    if report.envelope_id:
        lines.insert(0, f"Original-Envelope-Id: {_value(report.envelope_id)}")
    if report.arrived:
        lines.append(f"Arrival-Date: {_date(report.arrived)}")
    for recipient in report.recipients:
        lines.append("")
        if recipient.original:
            lines.append(f"Original-Recipient: {_value(recipient.original)}")
        lines.append(f"Final-Recipient: {_typed_address(recipient.final)}")
        lines.append(f"Action: {recipient.action.value}")
        lines.append(f"Status: {recipient.status}")
        if recipient.remote:
            lines.append(f"Remote-MTA: dns; {_atom(recipient.remote)}")
        if recipient.diagnostic:
            kind = "smtp" if recipient.remote else "x-rookery"
            lines.append(f"Diagnostic-Code: {kind}; {_value(recipient.diagnostic)}")
        if recipient.last_attempt:
            lines.append(f"Last-Attempt-Date: {_date(recipient.last_attempt)}")
        if recipient.retry_until:
            lines.append(f"Will-Retry-Until: {_date(recipient.retry_until)}")
    return "\r\n".join([*lines, ""]).encode("ascii", "replace")


def _subject(report: Report) -> str:
    actions = {recipient.action for recipient in report.recipients}
    if actions == {Action.DELAYED}:
        return "Your message is delayed"
    if Action.FAILED in actions:
        return "Your message could not be delivered"
    return "Your message was delivered"


_OPENINGS = {
    Action.FAILED: "Your message could not be delivered to:",
    Action.DELAYED: "Your message is delayed; there is nothing you need to do. Delivery is still being tried to:",
    Action.DELIVERED: "Your message was delivered to:",
    Action.RELAYED: "Your message was handed on to a server that sends no further notice, for:",
    Action.EXPANDED: "Your message was sent on to the members of:",
}


def _text(notice: Notice) -> str:
    """In plain language, the worst first."""
    lines = [f"This is the mail system at {notice.report.reporting}.", ""]
    for action, opening in _OPENINGS.items():
        found = [recipient for recipient in notice.report.recipients if recipient.action is action]
        if not found:
            continue
        lines += [opening, ""]
        for recipient in found:
            lines.append(f"  {_one_line(recipient.final)}")
            if recipient.diagnostic:
                said = f"{_one_line(recipient.remote)} said: " if recipient.remote else ""
                lines.append(f"    {said}{_one_line(recipient.diagnostic)}")
            if recipient.retry_until:
                lines.append(f"    It will be tried until {_date(recipient.retry_until)}.")
        lines.append("")
    if notice.lifetime and Action.FAILED in {recipient.action for recipient in notice.report.recipients}:
        lines += [f"Delivery was tried for {_span(notice.lifetime)} and is given up.", ""]
    lines += ["The header of your message is attached.", ""]
    return "\r\n".join(lines)


def _span(seconds: int) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {name}" + ("s" if count != 1 else "")
    return f"{seconds} seconds"


def _references(original_id: bytes) -> list[str]:
    text = original_id.decode("ascii", "replace").strip()
    if not re.fullmatch(r"<[!-;=?-~]{1,900}>", text):
        return []
    return [f"References:\r\n\t{text}", f"In-Reply-To:\r\n\t{text}"]


def _date(seconds: int) -> str:
    return format_mail_date(datetime.fromtimestamp(seconds, UTC))


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _value(text: str) -> str:
    """A field's value: one line, ASCII; folded where a line would be too long for a relay."""
    clean = "".join(c if " " <= c <= "~" else "?" if c.isprintable() else " " for c in text[:_VALUE_LIMIT])
    return clean.strip()


def _atom(text: str) -> str:
    return _value(text).replace(" ", "") or "unknown"


def _typed_address(address: str) -> str:
    """`rfc822; a@b`, or `utf-8;` with everything beyond ASCII as \\x{...} (RFC 6533 section 3)."""
    if address.isascii():
        return f"rfc822; {_value(address)}"
    coded = "".join(c if "!" <= c <= "~" and c not in "\\+=" else f"\\x{{{ord(c):02X}}}" for c in address)
    return f"utf-8; {coded[:_VALUE_LIMIT]}"


def _header_address(address: str) -> str:
    """For the To field, which is for people: what cannot be said in ASCII is left to the envelope."""
    return f"<{_value(address)}>" if address.isascii() else "undisclosed-recipients:;"


def _cut_header(original: bytes) -> bytes:
    """Whole lines, CRLF, ending in one."""
    if len(original) > HEADER_LIMIT:
        original = original[: original.rfind(b"\n", 0, HEADER_LIMIT) + 1]
    lines = original.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n")
    return lines.replace(b"\n", b"\r\n") + b"\r\n"


def _plain(header: bytes) -> bool:
    return header.isascii() and b"\0" not in header and all(len(line) <= LINE_LIMIT for line in header.split(b"\r\n"))


def _quoted_printable(text: bytes) -> bytes:
    """RFC 2045 section 6.7; a dot or "From " at the start of a line is coded too, to survive old relays."""
    coded = binascii.b2a_qp(text.replace(b"\r\n", b"\n"), istext=True, quotetabs=False)
    coded = re.sub(rb"(?m)^\.", b"=2E", coded)
    coded = re.sub(rb"(?m)^From ", b"=46rom ", coded)
    return coded.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


# --- reading -------------------------------------------------------------------------------------------------------


def parse_status(body: bytes) -> Report | None:
    """A message/delivery-status body, of anybody's making; None when it has no usable block of a recipient.

    Unknown fields and actions are passed over. Dates are not read back.
    """
    blocks = _blocks(body[:STATUS_LIMIT])
    if not blocks:
        return None
    first, *rest = blocks
    recipients = tuple(status for block in rest[:BLOCKS_LIMIT] if (status := _recipient(block)) is not None)
    if not recipients:
        return None
    return Report(
        reporting=_after_type(first.get("reporting-mta", "")),
        recipients=recipients,
        envelope_id=first.get("original-envelope-id", ""),
    )


def _blocks(body: bytes) -> list[dict[str, str]]:
    blocks: list[dict[str, str]] = []
    current: dict[str, str] = {}
    last = ""
    for raw in body.replace(b"\r\n", b"\n").split(b"\n"):
        if not raw.strip():
            if current:
                blocks.append(current)
            current, last = {}, ""
        elif raw[:1] in b" \t":
            if last and len(current[last]) < 4 * _VALUE_LIMIT:
                current[last] += " " + raw.strip().decode("utf-8", "replace")
        elif found := _FIELD.match(raw):
            last = found[1].decode("ascii").lower()
            current.setdefault(last, found[2].strip().decode("utf-8", "replace"))
        else:
            last = ""
    if current:
        blocks.append(current)
    return blocks


def _recipient(block: dict[str, str]) -> RecipientStatus | None:
    try:
        action = Action(block.get("action", "").lower())
    except ValueError:
        return None
    status = re.match(r"[245]\.\d{1,3}\.\d{1,3}", block.get("status", ""))
    final = _address(block.get("final-recipient", ""))
    if status is None or not final:
        return None
    return RecipientStatus(
        final=final,
        action=action,
        status=status[0],
        original=block.get("original-recipient", ""),
        diagnostic=_after_type(block.get("diagnostic-code", "")),
        remote=_after_type(block.get("remote-mta", "")),
    )


def _after_type(value: str) -> str:
    kind, separator, rest = value.partition(";")
    return rest.strip() if separator else kind.strip()


def _address(value: str) -> str:
    kind = value.partition(";")[0].strip().lower()
    address = _after_type(value)
    if kind != "utf-8":
        return address
    return _UTF8_ESCAPE.sub(lambda m: _character(int(m[1], 16)), address)


def _character(code: int) -> str:
    return chr(code) if code < 0xD800 or 0xDFFF < code <= 0x10FFFF else "\ufffd"


def decode_xtext(text: str) -> str:
    """RFC 3461 section 4, for ORCPT and ENVID as they come in."""
    return _XTEXT_ESCAPE.sub(lambda m: chr(int(m[1], 16)), text)
