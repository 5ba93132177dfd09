"""Arguments of commands: each reader gives an event, or what is wrong with it."""

import binascii
import re
from typing import NamedTuple

from rookery.wire.smtp import replies
from rookery.wire.smtp.events import Auth, Mail, Rcpt
from rookery.wire.smtp.offers import Offer
from rookery.wire.smtp.parameters import read_mail, read_rcpt
from rookery.wire.smtp.paths import good_domain, read_path

_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")  # names that no domain may have, but hosts do


class Bad(NamedTuple):
    """`reason` is for the log, and holds nothing of what was sent."""

    reply: bytes
    reason: str


def read_name(rest: bytes, limit: int) -> str | Bad:
    """What a client calls itself: a domain, an address literal, or nearly one."""
    try:
        name = rest.strip(b" ").decode()
    except UnicodeDecodeError:
        return Bad(replies.BAD_UTF8, "not UTF-8")
    if name and len(name) <= limit and (_HOST_NAME.fullmatch(name) or good_domain(name)):
        return name
    return Bad(replies.BAD_NAME, "bad name in greeting")


def read_mail_from(rest: bytes, offer: Offer) -> Mail | Bad:
    if rest[:5].upper() != b"FROM:":
        return Bad(replies.BAD_ARGUMENT, "MAIL without FROM")
    try:
        path = read_path(rest[5:].decode())
    except UnicodeDecodeError:
        return Bad(replies.BAD_UTF8, "not UTF-8")
    if path is None or path.mailbox == "postmaster":
        return Bad(replies.BAD_SENDER, "bad sender path")
    mail = read_mail(path, offer)
    if isinstance(mail, bytes):
        return Bad(mail, "MAIL parameters")
    if offer.size and mail.size > offer.size:
        return Bad(replies.TOO_BIG, "declared size over the limit")
    return mail


def read_rcpt_to(rest: bytes, offer: Offer, *, smtputf8: bool) -> Rcpt | Bad:
    if rest[:3].upper() != b"TO:":
        return Bad(replies.BAD_ARGUMENT, "RCPT without TO")
    try:
        path = read_path(rest[3:].decode())
    except UnicodeDecodeError:
        return Bad(replies.BAD_UTF8, "not UTF-8")
    if path is None or not path.mailbox:
        return Bad(replies.BAD_RECIPIENT, "bad recipient path")
    recipient = read_rcpt(path, offer, smtputf8)
    return Bad(recipient, "RCPT parameters") if isinstance(recipient, bytes) else recipient


def read_auth(rest: bytes, offer: Offer) -> Auth | Bad:
    """RFC 4954 section 4; "=" is an empty initial response."""
    words = rest.split()
    if not 1 <= len(words) <= 2:
        return Bad(replies.BAD_ARGUMENT, "AUTH arguments")
    mechanism = words[0].decode("ascii", "replace").upper()
    if mechanism not in offer.auth:
        if mechanism in offer.auth_over_tls:
            return Bad(replies.TLS_FOR_MECHANISM, "AUTH without TLS")
        return Bad(replies.NO_MECHANISM, "unknown mechanism")
    if len(words) == 1:
        return Auth(mechanism, None)
    initial = b"" if words[1] == b"=" else from_base64(words[1])
    return Bad(replies.BAD_BASE64, "AUTH not base64") if initial is None else Auth(mechanism, initial)


def read_bdat(rest: bytes) -> tuple[int, bool] | Bad:
    """(octets, whether it is the last chunk), RFC 3030 section 2."""
    words = rest.split()
    last = len(words) == 2 and words[1].upper() == b"LAST"
    if not words or len(words) > 1 + last or not words[0].isdigit() or len(words[0]) > 20:
        return Bad(replies.BAD_ARGUMENT, "BDAT arguments")
    return int(words[0]), last


def from_base64(data: bytes) -> bytes | None:
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except binascii.Error:
        return None
