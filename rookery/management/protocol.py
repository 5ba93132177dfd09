"""What goes over the control socket, one JSON object a line, and where the socket is.

{"operation": "account.show", "arguments": {"address": "alice@example.test"}}
{"result": {...}}   or   {"refused": {"cause": "not-found", "what": "..."}}
"""

import os
from pathlib import Path

import msgspec

from rookery.base.errors import Refusal

LINE_LIMIT = 8 * 1024 * 1024  # an import of 1,000 accounts is about 100 kB
CONNECTION_LIMIT = 16
PATH_LIMIT = 100  # octets; the kernel's sun_path has 108


class Request(msgspec.Struct, forbid_unknown_fields=True):
    operation: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class Answer(msgspec.Struct, omit_defaults=True):
    """`result` is JSON of the operation's result type, and counts only when nothing was refused."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    refused: Refusal | None = None


def socket_path(path: Path) -> tuple[str, int | None]:
    """What to bind or connect to, and a folder descriptor to close afterwards: a long path goes through /proc."""
    if len(os.fsencode(path)) <= PATH_LIMIT:
        return str(path), None
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{folder}/{path.name}", folder
