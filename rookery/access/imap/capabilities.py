"""What the server says it can do (RFC 9051 section 7.2.2): before login, and after it."""

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
    words = list(_ALWAYS)
    if not tls and session.services.tls is not None:
        words.append("STARTTLS")
    mechanisms = offered(session.services.authenticator, tls=tls, peer=session.stream.peer.address)
    if "PLAIN" not in mechanisms:
        words.append("LOGINDISABLED")
    words.extend(f"AUTH={name}" for name in mechanisms)
    return tuple(words)
