"""What the peer offered in its answer to EHLO or LHLO (RFC 5321 section 4.1.1.1)."""

import msgspec

from rookery.wire.smtp_client.replies import Reply


class Extensions(msgspec.Struct, frozen=True):
    """`size`: the peer's limit in octets, 0 if it names none; `auth`: SASL mechanisms in capitals."""

    greeting: str = ""
    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    starttls: bool = False
    sized: bool = False
    size: int = 0
    dsn: bool = False
    delivery_ids: bool = False  # XDELIVERY: the receiver is ours and remembers what it stored
    auth: frozenset[str] = frozenset()


def read_extensions(reply: Reply) -> Extensions:
    """Unknown keywords are passed over, malformed parameters too."""
    greeting, *lines = reply.lines
    words: dict[str, list[str]] = {}
    for line in lines:
        # "AUTH=PLAIN" is how servers before RFC 2554 wrote it
        parts = line.replace("AUTH=", "AUTH ", 1).upper().split()
        if parts:
            words.setdefault(parts[0], parts[1:])
    size = words.get("SIZE", [])
    return Extensions(
        greeting=greeting.partition(" ")[0],
        pipelining="PIPELINING" in words,
        chunking="CHUNKING" in words,
        eight_bit="8BITMIME" in words,
        smtputf8="SMTPUTF8" in words,
        starttls="STARTTLS" in words,
        sized="SIZE" in words,
        size=int(size[0]) if size and size[0].isascii() and size[0].isdigit() and len(size[0]) < 20 else 0,
        dsn="DSN" in words,
        delivery_ids="XDELIVERY" in words,
        auth=frozenset(words.get("AUTH", ())),
    )
