"""MAIL and RCPT paths: RFC 5321 section 4.1.2, with UTF-8 of RFC 6531 section 3.3. Source routes are read past."""

import ipaddress
import re
from functools import lru_cache

import msgspec

LOCAL_LIMIT = 64  # octets, section 4.5.3.1.1
DOMAIN_LIMIT = 255  # octets, section 4.5.3.1.2

_ATEXT = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\U0010ffff]"
_LABEL = r"[A-Za-z0-9\u0080-\U0010ffff](?:[A-Za-z0-9\-\u0080-\U0010ffff]{0,61}[A-Za-z0-9\u0080-\U0010ffff])?"
_PATH = re.compile(
    r" ?<(?:(?:@[^<>:\"\s]+:)?"
    r"(\"(?:[^\"\\\r\n]|\\.)*\"|[^\s\"<>@()\[\]\\,;:]+)"
    r"(?:@(\[[^\]\s]*\]|[^\s@<>()\[\]\\,;:\"]+))?)?"
    r">(?: +(.*))?"
)
_LOCAL = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*|\"(?:[\x20\x21\x23-\x5b\x5d-\x7e\u0080-\U0010ffff]|\\[\x20-\x7e])*\"")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_CONTROLS = re.compile(r"[\u0080-\u009f\u2028\u2029\ufeff\ufffe\uffff]")


class Path(msgspec.Struct, frozen=True):
    """`mailbox` is "" for <>, "postmaster" without domain, else local-part@domain as given."""

    mailbox: str
    parameters: str
    ascii: bool


def read_path(text: str) -> Path | None:
    """What follows `FROM:` or `TO:`; None if that is no path."""
    found = _PATH.fullmatch(text)
    if found is None:
        return None
    local, domain, parameters = found.groups("")
    if domain:
        if not _good_mailbox(local, domain):
            return None
        mailbox = f"{local}@{domain}"
        return Path(mailbox, parameters, mailbox.isascii())
    if not local:
        return Path("", parameters, True)
    return Path("postmaster", parameters, True) if local.lower() == "postmaster" else None


@lru_cache(maxsize=8192)
def _good_mailbox(local: str, domain: str) -> bool:
    return _good_local(local) and good_domain(domain)


def _good_local(local: str) -> bool:
    if len(local) > LOCAL_LIMIT or len(local.encode()) > LOCAL_LIMIT:
        return False
    return _LOCAL.fullmatch(local) is not None and _CONTROLS.search(local) is None


def good_domain(domain: str) -> bool:
    """A domain name, or an address literal (section 4.1.3)."""
    if len(domain) > DOMAIN_LIMIT or len(domain.encode()) > DOMAIN_LIMIT:
        return False
    if domain.startswith("["):
        return _good_literal(domain[1:-1])
    return _DOMAIN.fullmatch(domain) is not None and _CONTROLS.search(domain) is None


def _good_literal(text: str) -> bool:
    try:
        if text[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(text[5:])
        else:
            ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return "%" not in text
