"""What SMTP, submission and LMTP sessions have in common: their settings, how they are driven, how they end."""

import ssl
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol

from rookery.access.replies import SHUTTING_DOWN, TIMED_OUT
from rookery.base.log import Logger
from rookery.net.pump import Ending, Pace, pump
from rookery.net.stream import Stream
from rookery.wire.smtp.engine import Engine
from rookery.wire.smtp.events import Event

MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """Sizes in octets, times in seconds."""

    hostname: str = "localhost"
    message_size: int = 50 * MB
    recipients: int = 1000
    hops: int = 50
    idle: float = 300.0
    before_login: float = 60.0  # submission: from the connection to the end of a successful AUTH
    failed_logins: int = 5  # of one connection
    refused_recipients: int = 100  # of one connection; senders too
    pace: Pace = field(default_factory=Pace)
    tls_required: bool = True  # submission: not for loopback
    quota_for_good: bool = False  # LMTP: 552 and not 452 for a full mailbox


class Conversing(Protocol):
    """A session as its driver has it."""

    @property
    def id(self) -> str: ...

    @property
    def engine(self) -> Engine: ...

    @property
    def log(self) -> Logger: ...

    def handle(self, event: Event) -> Awaitable[None] | None: ...

    def discard(self) -> None:
        """Drop a message that is not whole."""
        ...


async def converse(
    stream: Stream,
    session: Conversing,
    *,
    settings: SmtpSettings,
    tls: ssl.SSLContext | None = None,
    greet: bool = True,
) -> None:
    """Drive to the end, say the last word where one is due, and leave nothing behind."""
    engine = session.engine
    stream.idle = settings.idle if stream.peer.address else 0.0  # our own queue may keep a stream at hand
    if greet:
        kind = b" LMTP" if engine.lmtp else b" ESMTP"
        engine.greet(b"220 " + settings.hostname.encode() + kind + b" Rookery\r\n")
    try:
        ending = await pump(
            stream, engine, session.handle, tls=tls, unfinished=lambda: engine.unfinished, pace=settings.pace,
            prompt=False,  # the answers to a burst of commands may go together (RFC 2920 section 3.2)
        )  # fmt: skip
        if ending is Ending.DRAINED:
            stream.write(SHUTTING_DOWN)
        elif ending is Ending.IDLE or ending is Ending.SLOW:
            stream.write(TIMED_OUT)
        session.log.debug("ended", session=session.id, how=ending.value)
    finally:
        session.discard()


def log_connection(log: Logger, stream: Stream, session: str) -> None:
    log.debug("connected", session=session, address=stream.peer.address, port=stream.peer.port)
