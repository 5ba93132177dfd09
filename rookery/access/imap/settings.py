"""What an administrator may set of IMAP, with its defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImapSettings:
    """Seconds and octets. RFC 9051 section 5.4 asks for at least 30 minutes before a logged-in client is logged out."""

    idle_timeout: float = 1800.0
    login_timeout: float = 60.0
    sessions: int = 200  # of one account at the same time
    append_limit: int = 50_000_000  # octets of one message
