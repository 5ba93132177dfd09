"""What may follow the paths of MAIL and RCPT. Each reader gives an event, or the reply that refuses."""

import re
from functools import lru_cache

from rookery.wire.smtp import replies
from rookery.wire.smtp.events import Mail, Rcpt
from rookery.wire.smtp.offers import Offer
from rookery.wire.smtp.paths import Path

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")
_XTEXT_OCTET = re.compile(rb"\+([0-9A-F]{2})")
_BROKEN_XTEXT = re.compile(rb"\+(?![0-9A-F]{2})")
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})
_ENVELOPE_ID_LIMIT = 100  # characters, RFC 3461 section 4.4
_ORIGINAL_LIMIT = 500
_DELIVERY_ID_LIMIT = 400


def _split(text: str) -> dict[str, str | None] | bytes:
    found: dict[str, str | None] = {}
    for word in text.split():
        parameter = _PARAMETER.fullmatch(word)
        if parameter is None or parameter[1].upper() in found:
            return replies.BAD_ARGUMENT
        found[parameter[1].upper()] = parameter[2]
    return found


def read_mail(path: Path, offer: Offer) -> Mail | bytes:
    """A plain MAIL costs one object."""
    if not path.parameters:
        return Mail(path.mailbox) if path.ascii else replies.NEEDS_SMTPUTF8
    return _mail(path, offer)


def _mail(path: Path, offer: Offer) -> Mail | bytes:
    found = _split(path.parameters)
    if isinstance(found, bytes):
        return found
    size, eight_bit, smtputf8, envelope_id, headers_only = 0, False, False, "", False
    for name, value in found.items():
        if name == "SIZE":
            if value is None or not value.isascii() or not value.isdigit() or len(value) > 20:
                return replies.BAD_PARAMETER
            size = int(value)
        elif name == "BODY":
            if value is None or value.upper() not in ("7BIT", "8BITMIME"):
                return replies.BAD_PARAMETER
            eight_bit = value.upper() == "8BITMIME"
        elif name == "SMTPUTF8" and offer.smtputf8:
            if value is not None:
                return replies.BAD_PARAMETER
            smtputf8 = True
        elif name == "AUTH" and (offer.auth or offer.auth_over_tls):
            if not value:  # RFC 4954 section 5: read, and not believed
                return replies.BAD_PARAMETER
        elif name == "RET" and offer.dsn:
            if value is None or value.upper() not in ("FULL", "HDRS"):
                return replies.BAD_PARAMETER
            headers_only = value.upper() == "HDRS"
        elif name == "ENVID" and offer.dsn:
            decoded = from_xtext(value)
            if not decoded or len(decoded) > _ENVELOPE_ID_LIMIT:
                return replies.BAD_PARAMETER
            envelope_id = decoded
        else:
            return replies.UNKNOWN_PARAMETER
    if not path.ascii and not smtputf8:
        return replies.NEEDS_SMTPUTF8
    return Mail(path.mailbox, size, eight_bit, smtputf8, envelope_id, headers_only)


def read_rcpt(path: Path, offer: Offer, smtputf8: bool) -> Rcpt | bytes:
    """`smtputf8`: MAIL had that parameter, so addresses may be UTF-8."""
    if not path.ascii and not smtputf8:
        return replies.NEEDS_SMTPUTF8
    if not path.parameters:
        return Rcpt(path.mailbox)
    found = _split(path.parameters)
    if isinstance(found, bytes):
        return found
    notify: tuple[str, ...] = ()
    original = delivery_id = ""
    for name, value in found.items():
        if name == "NOTIFY" and offer.dsn:
            notify = tuple((value or "").upper().split(","))
            if notify != ("NEVER",) and (not _NOTIFY.issuperset(notify) or len(set(notify)) != len(notify)):
                return replies.BAD_PARAMETER
        elif name == "ORCPT" and offer.dsn:
            kind, semicolon, rest = (value or "").partition(";")
            address = from_xtext(rest)
            if not kind.isalnum() and not kind.replace("-", "").isalnum():
                return replies.BAD_PARAMETER
            if not semicolon or not address or len(address) > _ORIGINAL_LIMIT:
                return replies.BAD_PARAMETER
            original = f"{kind.lower()};{address}"
        elif name == "XDELIVERY" and offer.xdelivery:
            decoded = _delivery_id(value)
            if not decoded:
                return replies.BAD_PARAMETER
            delivery_id = decoded
        else:
            return replies.UNKNOWN_PARAMETER
    return Rcpt(path.mailbox, notify, original, delivery_id)


def _delivery_id(value: str | None) -> str:
    decoded = from_xtext(value, utf8=True)
    return decoded if decoded and len(decoded) <= _DELIVERY_ID_LIMIT else ""


def from_xtext(value: str | None, *, utf8: bool = False) -> str:
    """xtext of RFC 3461 section 4, decoded; "" if it is none, or does not print, or (without `utf8`) is not ASCII."""
    octets = (value or "").encode()
    if b"+" in octets:
        if _BROKEN_XTEXT.search(octets):
            return ""
        octets = _XTEXT_OCTET.sub(lambda found: bytes([int(found[1], 16)]), octets)
    try:
        text = octets.decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""


@lru_cache(maxsize=256)
def _xtext_octet(octet: int) -> str:
    c = chr(octet)
    return c if "!" <= c <= "~" and c not in "+=" else f"+{octet:02X}"


def to_xtext(text: str) -> str:
    """Any text as ASCII xtext: what `from_xtext(..., utf8=True)` gives back."""
    return "".join(_xtext_octet(octet) for octet in text.encode())
