"""What EHLO and LHLO announce. What is not offered is not understood either."""

from functools import lru_cache

import msgspec


class Offer(msgspec.Struct, frozen=True):
    """`size` 0: no limit is announced (SIZE alone). `auth`: mechanisms; `auth_over_tls`: those that wait for TLS."""

    size: int = 0
    starttls: bool = False
    auth: tuple[str, ...] = ()
    auth_over_tls: tuple[str, ...] = ()
    smtputf8: bool = True
    chunking: bool = True
    dsn: bool = False
    xdelivery: bool = False


@lru_cache(maxsize=256)
def greeting_reply(hostname: str, offer: Offer) -> bytes:
    """The whole reply to EHLO or LHLO."""
    words = [hostname, "PIPELINING", f"SIZE {offer.size}" if offer.size else "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES"]
    if offer.starttls:
        words.append("STARTTLS")
    if offer.auth:
        words.append("AUTH " + " ".join(offer.auth))
    if offer.smtputf8:
        words.append("SMTPUTF8")
    if offer.chunking:
        words.append("CHUNKING")
    if offer.dsn:
        words.append("DSN")
    if offer.xdelivery:
        words.append("XDELIVERY")
    lines = [f"250-{word}\r\n" for word in words[:-1]]
    return "".join([*lines, f"250 {words[-1]}\r\n"]).encode("ascii")
