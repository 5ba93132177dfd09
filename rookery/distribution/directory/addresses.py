"""One canonical form for every address and domain, and the rules for those that may be made here.

Domains: IDNA (UTS 46, IDNA 2008) to A-labels, lower case. Local parts: Unicode NFC, lower case, quotes taken off.
RFC 5321 section 4.1.2 (mailbox), 4.5.3.1 (lengths), RFC 6531 (SMTPUTF8).
"""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import idna

from rookery.base.errors import Cause, RookeryError

ADDRESS_LIMIT = 254  # octets, RFC 5321 section 4.5.3.1.3 less the angle brackets
LOCAL_LIMIT = 64  # octets, RFC 5321 section 4.5.3.1.1
DOMAIN_LIMIT = 253  # octets, as DNS has it; RFC 5321 section 4.5.3.1.2 says 255 with the length octets
DETAIL_SEPARATOR = "+"
POSTMASTER = "postmaster"
ALWAYS = frozenset({POSTMASTER, "abuse"})  # RFC 5321 section 4.5.1, RFC 2142

_ATOM = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\U0010ffff]+"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e\u0080-\U0010ffff]|\\[\x20-\x7e])*)"')
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_UNWANTED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"})  # controls, formats, unassigned, spaces


class Address(NamedTuple):
    """A canonical address. `domain` is "" only for the bare `postmaster`."""

    local: str
    domain: str

    def __str__(self) -> str:
        if not self.domain:
            return self.local
        local = self.local
        if not _DOT_ATOM.fullmatch(local):
            local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{local}@{self.domain}"


class Parsed(NamedTuple):
    """`address` is canonical; `local` is the local part in the case it was given in: an outside host may care."""

    address: Address
    local: str

    @property
    def given(self) -> str:
        return str(Address(self.local, self.address.domain))


def parse_address(text: str) -> Address:
    """Any address of RFC 5321, ours or not, made canonical; `postmaster` alone is one too.

    Raises RookeryError(INVALID) with what is wrong. Linear in the length, which is checked first.
    """
    return parse(text).address


def parse(text: str) -> Parsed:
    """As `parse_address`, with the local part as it was given."""
    if len(text) > ADDRESS_LIMIT:
        raise RookeryError(Cause.INVALID, f"an address has at most {ADDRESS_LIMIT} octets")
    return _parse(text)


@lru_cache(maxsize=16384)
def _parse(text: str) -> Parsed:
    local, at, domain = text.rpartition("@")
    if not at:
        if text.lower() == POSTMASTER:
            return Parsed(Address(POSTMASTER, ""), POSTMASTER)
        raise RookeryError(Cause.INVALID, f"{_shown(text)} has no @: expected an address such as alice@example.test")
    given = _plain_local(local)
    parsed = Parsed(Address(_canonical_local(given), canonical_domain(domain)), given)
    if len(parsed.given.encode()) > ADDRESS_LIMIT:
        raise RookeryError(Cause.INVALID, f"an address has at most {ADDRESS_LIMIT} octets")
    return parsed


def _canonical_local(local: str) -> str:
    return local.lower() if local.isascii() else unicodedata.normalize("NFC", local.lower())


def _plain_local(text: str) -> str:
    """Without quotes, NFC."""
    if text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        if quoted is None:
            raise RookeryError(Cause.INVALID, f"{_shown(text)} is not a quoted local part")
        local = re.sub(r"\\(.)", r"\1", quoted[1])
    elif _DOT_ATOM.fullmatch(text):
        local = text
    else:
        raise RookeryError(Cause.INVALID, f"{_shown(text)} is not a local part")
    if not local.isascii():
        if any(unicodedata.category(c) in _UNWANTED for c in local):
            raise RookeryError(Cause.INVALID, f"{_shown(text)} holds a character that cannot be seen")
        local = unicodedata.normalize("NFC", local)
    if not local or len(local.encode()) > LOCAL_LIMIT:
        raise RookeryError(Cause.INVALID, f"a local part has 1 to {LOCAL_LIMIT} octets")
    return local


@lru_cache(maxsize=4096)
def canonical_domain(text: str) -> str:
    """Raises RookeryError(INVALID). Address literals ("[192.0.2.1]") are no domains."""
    if not text or len(text) > DOMAIN_LIMIT + 2:
        raise RookeryError(Cause.INVALID, f"a domain has 1 to {DOMAIN_LIMIT} octets")
    name = text
    if not text.isascii():
        try:
            name = idna.encode(text, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise RookeryError(Cause.INVALID, f"{_shown(text)} is not an internationalised domain") from None
    name = name.lower()
    if len(name) > DOMAIN_LIMIT:
        raise RookeryError(Cause.INVALID, f"a domain has 1 to {DOMAIN_LIMIT} octets")
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise RookeryError(Cause.INVALID, f"{_shown(text)} is not a domain name: expected one such as example.test")
    if labels[-1].isdigit():
        raise RookeryError(Cause.INVALID, f"{_shown(text)} is a number, not a domain name")
    return name


def new_address(text: str) -> Address:
    """An address that may be made here: canonical, without quotes, and harmless as a word in paths and lists.

    Raises RookeryError(INVALID).
    """
    address = parse_address(text)
    if not address.domain:
        raise RookeryError(
            Cause.INVALID, f"{_shown(text)} has no domain: expected an address such as alice@example.test"
        )
    if not _DOT_ATOM.fullmatch(address.local):
        raise RookeryError(
            Cause.INVALID,
            f"{_shown(text)} needs quotes; such addresses are not made here, choose letters, digits, . _ and -",
        )
    if "/" in address.local:
        raise RookeryError(Cause.INVALID, f"{_shown(text)} holds a slash, which no address here may; leave it out")
    if address.local.startswith(("-", DETAIL_SEPARATOR)):
        raise RookeryError(
            Cause.INVALID, f"{_shown(text)} begins with {address.local[0]!r}, which no address here may; leave it out"
        )
    return address


def without_detail(local: str) -> tuple[str, str]:
    """ "alice+lists" -> ("alice", "lists"); no detail: ("alice", "")."""
    base, _, detail = local.partition(DETAIL_SEPARATOR)
    return (base, detail) if base else (local, "")


def unicode_domain(name: str) -> str:
    """A-labels as people read them; the name itself where that is not possible."""
    if "xn--" not in name:
        return name
    try:
        return idna.decode(name)
    except (idna.IDNAError, UnicodeError):
        return name


def clean_text(text: str, limit: int, what: str) -> str:
    """A name or label for people: NFC, trimmed, no control characters, at most `limit` characters.

    Raises RookeryError(INVALID) naming `what`.
    """
    text = unicodedata.normalize("NFC", text[: limit + 64].strip())
    if len(text) > limit:
        raise RookeryError(Cause.INVALID, f"{what} has at most {limit} characters")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
        raise RookeryError(Cause.INVALID, f"{what} holds a control character")
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:80] + "…")
