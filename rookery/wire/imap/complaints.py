"""The answer to input that is no command: whose tag, what was wrong, and where. It repeats nothing of the input."""

from rookery.wire.imap.grammar import COMMANDS, HEAD, TAG
from rookery.wire.imap.scanner import Wrong

HEAD_LENGTH = 200  # octets of a command in which its tag and name are looked for


def complaint(wrong: Wrong, tag: bytes | None, start: bytes) -> tuple[bytes | None, bytes, str]:
    """(tag, response line, reason). A `tag` that is not known yet is looked for at the `start` of the command."""
    name = ""
    if tag is None:
        head = HEAD.match(start)
        known = head or TAG.match(start)
        tag = known[1] if known else None
        if head is not None and head[2].upper() in COMMANDS:
            name = head[2].decode("ascii").upper()
    text = f"{name}: {wrong.answer}" if name else wrong.answer
    if wrong.position is not None:
        text += f" (at octet {wrong.position + 1})"
    code = f"[{wrong.code}] " if wrong.code else ""
    return tag, b"%b %b %b\r\n" % (tag or b"*", wrong.status.encode(), (code + text).encode("ascii", "replace")), text
