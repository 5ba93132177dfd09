"""Mailbox names: Unicode in NFC, levels separated by "/", INBOX in any case (RFC 9051 5.1).

The encoding a protocol uses on its wire (modified UTF-7, say) is that protocol's affair.
"""

import unicodedata
from collections.abc import Iterator

from rookery.base.errors import Cause, Refusal
from rookery.storage.values import SEPARATOR

NAME_LIMIT = 1_000  # octets of UTF-8
LEVEL_LIMIT = 64
INBOX_NAME = "INBOX"

_BAD_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, lone surrogates, line and paragraph separators
_RESERVED = frozenset({".", ".."})  # would be a trap for whoever exports mailboxes to folders


def canonical(name: str) -> str:
    """The form under which a name is stored and compared. One that is too long to be a name is left as it is."""
    if len(name) > NAME_LIMIT:
        return name  # a run of combining marks is put in order in quadratic time
    name = unicodedata.normalize("NFC", name)
    head, slash, tail = name.partition(SEPARATOR)
    return f"{INBOX_NAME}{slash}{tail}" if head.upper() == INBOX_NAME else name


def check_name(name: str) -> Refusal | None:
    """Why a canonical name cannot be a mailbox's or a subscription's."""
    if not name:
        return Refusal(Cause.INVALID, "a mailbox name is not empty")
    if any(unicodedata.category(c) in _BAD_CATEGORIES for c in name):
        return Refusal(Cause.INVALID, "a mailbox name has no control characters")
    if len(name.encode()) > NAME_LIMIT:
        return Refusal(Cause.INVALID, f"a mailbox name has at most {NAME_LIMIT} octets")
    levels = name.split(SEPARATOR)
    if len(levels) > LEVEL_LIMIT:
        return Refusal(Cause.INVALID, f"a mailbox name has at most {LEVEL_LIMIT} levels")
    if not all(levels):
        return Refusal(Cause.INVALID, "a level of a mailbox name is not empty")
    if any(level in _RESERVED for level in levels):
        return Refusal(Cause.INVALID, "a level of a mailbox name is not . or ..")
    return None


def parents(name: str) -> Iterator[str]:
    """The names above, the outermost first."""
    position = name.find(SEPARATOR)
    while position >= 0:
        yield name[:position]
        position = name.find(SEPARATOR, position + 1)
