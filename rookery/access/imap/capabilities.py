"""What the server says it can do (RFC 9051 section 7.2.2): before login, and after it."""

from collections.abc import Sequence

from rookery.access.imap.session import Session
from rookery.access.login import offered

_ALWAYS = ("IMAP4rev1", "IMAP4rev2", "LITERAL+", "SASL-IR", "ID", "ENABLE")
_LOGGED_IN = (
    *_ALWAYS,
    "IDLE",
    "NAMESPACE",
    "CHILDREN",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "STATUS=SIZE",
    "UIDPLUS",
    "MOVE",
    "UNSELECT",
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "BINARY",
    "CONDSTORE",
    "SAVEDATE",
    "OBJECTID",
    "UTF8=ACCEPT",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
)


def capabilities(session: Session) -> tuple[str, ...]:
    """As of now: TLS and login change them."""
    if session.logged_in:
        return (*_LOGGED_IN, f"APPENDLIMIT={session.services.settings.append_limit}")
    tls = session.stream.tls is not None
    mechanisms = offered(session.services.authenticator, tls=tls, peer=session.stream.peer.address)
    return before_login(mechanisms, starttls=not tls and session.services.tls is not None)


def before_login(mechanisms: Sequence[str], *, starttls: bool) -> tuple[str, ...]:
    """`mechanisms`: of SASL, that are offered now; a node that only takes logins says the same."""
    words = [*_ALWAYS, *(["STARTTLS"] if starttls else [])]
    if "PLAIN" not in mechanisms:
        words.append("LOGINDISABLED")
    return (*words, *(f"AUTH={name}" for name in mechanisms))
