"""Causes as IMAP answers: one table, cause -> response code and text (RFC 9051 section 7.1, RFC 5530)."""

from urllib.parse import quote

from rookery.base.errors import Cause, Refusal

_ANSWERS: dict[Cause, tuple[bytes, bytes]] = {
    Cause.NOT_FOUND: (b"NONEXISTENT", b"No such mailbox"),
    Cause.EXISTS: (b"ALREADYEXISTS", b"There is such a mailbox already"),
    Cause.DENIED: (b"NOPERM", b"Not permitted"),
    Cause.BAD_CREDENTIALS: (b"AUTHENTICATIONFAILED", b"Login failed"),
    Cause.INVALID: (b"CANNOT", b"That cannot be done"),
    Cause.TOO_BIG: (b"TOOBIG", b"Too big"),
    Cause.TOO_MANY: (b"LIMIT", b"Too many"),
    Cause.OVER_QUOTA: (b"OVERQUOTA", b"Quota exceeded"),
    Cause.IN_USE: (b"INUSE", b"In use"),
    Cause.CONFLICT: (b"INUSE", b"Changed by another session, try again"),
    Cause.UNSUPPORTED: (b"CANNOT", b"Not supported"),
    Cause.BUSY: (b"UNAVAILABLE", b"The server is busy, try again later"),
    Cause.UNAVAILABLE: (b"UNAVAILABLE", b"Temporarily unavailable, try again later"),
    Cause.DISK_FULL: (b"UNAVAILABLE", b"The server's disk is full, try again later"),
    Cause.MOVED: (b"UNAVAILABLE", b"The account has moved, connect again"),
    Cause.CORRUPT: (b"CORRUPTION", b"Stored data is damaged, tell your administrator"),
}

TRY_CREATE = (b"TRYCREATE", b"No such mailbox")
SESSIONS_LIMITED = (b"LIMIT", b"Too many sessions of this account, end some of them first")
LOGIN_LIMITED = (b"UNAVAILABLE", b"Too many failed logins, try again later")
WHAT_LIMIT = 200  # characters of a refusal's own words


def no(refusal: Refusal) -> bytes:
    """`NO [CODE] text`, with the refusal's own words where it has any that fit a response line."""
    code, text = _ANSWERS[refusal.cause]
    what = refusal.what
    if what and what.isascii() and what.isprintable() and len(what) <= WHAT_LIMIT:
        text = b"%b: %b" % (text, what.encode("ascii"))
    return b"NO [%b] %b" % (code, text)


def no_target(refusal: Refusal) -> bytes:
    """As `no` for APPEND, COPY and MOVE, whose target a client may create and try again (RFC 9051 6.3.12)."""
    if refusal.cause is Cause.NOT_FOUND:
        return b"NO [%b] %b" % TRY_CREATE
    return no(refusal)


def completed(command: str) -> bytes:
    return f"OK {command} completed".encode("ascii")


def starting_tls(active: bool, available: bool) -> tuple[bytes, bool]:
    """To STARTTLS, and whether it begins (RFC 9051 section 6.2.1)."""
    if active:
        return b"BAD TLS is active already", False
    if not available:
        return b"BAD TLS is not available", False
    return b"OK Begin TLS negotiation now", True


def no_login(cause: Cause, *, tls: bool) -> bytes:
    """As `no` for LOGIN and AUTHENTICATE: the same words for an unknown user as for a wrong password. `tls`: active."""
    if cause is Cause.UNSUPPORTED:
        return b"NO [CANNOT] No such authentication mechanism"
    if cause is Cause.INVALID:
        return b"BAD Authentication exchange was malformed"
    if cause is Cause.DENIED:
        return b"NO [AUTHORIZATIONFAILED] Not permitted" if tls else b"NO [PRIVACYREQUIRED] Start TLS first"
    code, text = LOGIN_LIMITED if cause is Cause.TOO_MANY else _ANSWERS[cause]
    return b"NO [%b] %b" % (code, text)


def no_open(cause: Cause) -> bytes:
    """After a login that was right, for an account whose mail cannot be reached."""
    if cause is Cause.TOO_MANY:
        return b"NO [%b] %b" % SESSIONS_LIMITED
    code, text = _ANSWERS[Cause.UNAVAILABLE if cause is Cause.NOT_FOUND else cause]
    return b"NO [%b] %b" % (code, text)


def referral(user: str, address: str) -> bytes:
    """After a login that was right, at a backend that is not the account's host (RFC 2221 section 4.1, RFC 5092)."""
    url = f"imap://{quote(user, safe='')};AUTH=*@{address}/"
    return f"NO [REFERRAL {url}] Your mailbox is there".encode("ascii")
