"""Command lines from values. A value that could break out of its line is refused here, whoever made it."""

import base64
import re

from rookery.wire.smtp_client.events import Mail, MailRecipient
from rookery.wire.smtp_client.extensions import Extensions

_UNSAFE = re.compile(r"[\x00-\x20\x7f<>]")
_QUOTED_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
_XTEXT_PLAIN = re.compile(rb"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")


class Unsendable(ValueError):
    """An address or parameter that cannot be written as SMTP."""


def path(address: str) -> bytes:
    """`<address>`; raises Unsendable when it holds what ends a path or a line (RFC 5321 section 4.1.2)."""
    unsafe = _QUOTED_UNSAFE if address.startswith('"') else _UNSAFE
    if unsafe.search(address):
        raise Unsendable("an address with characters that SMTP cannot carry")
    try:
        return b"<" + address.encode("utf-8") + b">"
    except UnicodeEncodeError:
        raise Unsendable("an address that is not Unicode") from None


def xtext(text: str) -> bytes:
    """RFC 3461 section 4: what is not printable ASCII, and "+" and "=", as +HH."""
    return _XTEXT_PLAIN.sub(lambda m: b"+%02X" % m[0][0], text.encode("utf-8", "surrogateescape"))


def hello(verb: str, hostname: str) -> bytes:
    return f"{verb} {hostname}\r\n".encode("ascii", "replace")


def auth_plain(login: str, password: str) -> bytes:
    """RFC 4616, with the initial response of RFC 4954."""
    return b"AUTH PLAIN " + base64.b64encode(f"\0{login}\0{password}".encode()) + b"\r\n"


def auth_login_answer(text: str) -> bytes:
    return base64.b64encode(text.encode()) + b"\r\n"


def mail_line(mail: Mail, extensions: Extensions) -> bytes:
    """MAIL FROM with what the peer can take. Raises Unsendable."""
    line = b"MAIL FROM:" + path(mail.sender)
    if extensions.sized:
        line += b" SIZE=%d" % mail.size  # RFC 1870
    if mail.eight_bit and extensions.eight_bit:
        line += b" BODY=8BITMIME"  # RFC 6152
    if mail.smtputf8 and extensions.smtputf8:
        line += b" SMTPUTF8"  # RFC 6531
    return line + b"\r\n"


def rcpt_line(recipient: MailRecipient, extensions: Extensions) -> bytes:
    line = b"RCPT TO:" + path(recipient.address)
    if recipient.delivery and extensions.delivery_ids:
        line += b" XDELIVERY=" + xtext(recipient.delivery)
    return line + b"\r\n"
