"""The one vocabulary of causes.

A *rule* that declines one item returns a `Refusal` (a value: a batch goes on). Code that cannot go on raises
`RookeryError`, which carries the same `Refusal`. Reply codes and protocol texts are made from the cause once per
protocol, at the edge (`access/replies.py`); nothing below `access` knows an SMTP or IMAP code.
"""

from enum import Enum

import msgspec


class Fault(Enum):
    """Whose doing it was; decides the log level and the metric."""

    PEER = "peer"
    USER = "user"
    US = "us"


class Cause(Enum):
    """Why something was refused. The value is the stable name used in logs and in JSON."""

    NOT_FOUND = "not-found"
    EXISTS = "exists"
    DENIED = "denied"
    BAD_CREDENTIALS = "bad-credentials"
    INVALID = "invalid"
    TOO_BIG = "too-big"
    TOO_MANY = "too-many"
    OVER_QUOTA = "over-quota"
    IN_USE = "in-use"
    CONFLICT = "conflict"
    UNSUPPORTED = "unsupported"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    DISK_FULL = "disk-full"
    MOVED = "moved"
    CORRUPT = "corrupt"

    @property
    def fault(self) -> Fault:
        return _FAULTS[self]

    @property
    def temporary(self) -> bool:
        """True when the same request may succeed later without anybody changing it."""
        return self in _TEMPORARY


_FAULTS = {
    Cause.NOT_FOUND: Fault.USER,
    Cause.EXISTS: Fault.USER,
    Cause.DENIED: Fault.USER,
    Cause.BAD_CREDENTIALS: Fault.USER,
    Cause.INVALID: Fault.PEER,
    Cause.TOO_BIG: Fault.PEER,
    Cause.TOO_MANY: Fault.PEER,
    Cause.OVER_QUOTA: Fault.USER,
    Cause.IN_USE: Fault.USER,
    Cause.CONFLICT: Fault.USER,
    Cause.UNSUPPORTED: Fault.PEER,
    Cause.BUSY: Fault.US,
    Cause.UNAVAILABLE: Fault.US,
    Cause.DISK_FULL: Fault.US,
    Cause.MOVED: Fault.US,
    Cause.CORRUPT: Fault.US,
}

_TEMPORARY = frozenset(
    {Cause.OVER_QUOTA, Cause.IN_USE, Cause.BUSY, Cause.UNAVAILABLE, Cause.DISK_FULL, Cause.MOVED, Cause.TOO_MANY}
)


class Refusal(msgspec.Struct, frozen=True):
    """One declined item. `what` names the thing and the limit in plain words; it never holds content or secrets."""

    cause: Cause
    what: str = ""


class RookeryError(Exception):
    """A refusal that ends the current piece of work."""

    def __init__(self, cause: Cause, what: str = "") -> None:
        super().__init__(f"{cause.value}: {what}" if what else cause.value)
        self.refusal = Refusal(cause, what)

    @property
    def cause(self) -> Cause:
        return self.refusal.cause

    @property
    def what(self) -> str:
        return self.refusal.what
