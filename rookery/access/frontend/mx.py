"""Mail from other servers at a node without a queue: greeting, TLS and limits are its own. At the first MAIL a node
that has one goes on, which knows what is wanted, and octets are passed on as they come.
"""

import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from rookery.access import replies
from rookery.access.conversation import SmtpSettings
from rookery.access.frontend.login import log
from rookery.access.frontend.relay import relay
from rookery.access.frontend.way import Opening
from rookery.base.errors import RookeryError
from rookery.base.ids import short_id
from rookery.net.pump import Ending, pump
from rookery.net.stream import Stream
from rookery.wire.smtp.engine import Engine
from rookery.wire.smtp.events import Event, Mail, Malformed
from rookery.wire.smtp.offers import Offer


class Inward(Protocol):
    async def open(self, opening: Opening, octets: bytes) -> tuple[Stream, bytes]:
        """A stream to a node with a queue, which has got these octets of the client, and what it said first.

        Raises RookeryError when none takes it.
        """
        ...


@dataclass(frozen=True, slots=True)
class MxFront:
    """What all connections share. `tls`: offer STARTTLS with it."""

    inward: Inward
    settings: SmtpSettings
    tls: ssl.SSLContext | None = None


async def serve_mx_front(stream: Stream, shared: MxFront) -> None:
    """From the greeting to the end; the stream is closed then."""
    settings = shared.settings
    engine = Engine(
        settings.hostname,
        Offer(size=settings.message_size, starttls=shared.tls is not None),
        offer_tls=Offer(size=settings.message_size),
        tls=stream.tls is not None,
    )
    session = _Session(stream, engine, shared.inward)
    stream.idle = settings.idle
    engine.greet(b"220 " + settings.hostname.encode() + b" ESMTP Rookery\r\n")
    try:
        ending = await pump(
            stream, engine, session.handle, tls=shared.tls, unfinished=lambda: engine.unfinished, pace=settings.pace
        )  # fmt: skip
        if session.inside is not None:
            await relay(stream, session.inside)
        elif ending is Ending.DRAINED:
            stream.write(replies.SHUTTING_DOWN)
        elif ending is Ending.IDLE or ending is Ending.SLOW:
            stream.write(replies.TIMED_OUT)
        log.debug("ended", session=session.id, ending=ending.value)
    finally:
        stream.close()


class _Session:
    """One client until its first MAIL. `inside`: the stream to the node that has gone on."""

    __slots__ = ("_engine", "_inward", "_stream", "id", "inside")

    def __init__(self, stream: Stream, engine: Engine, inward: Inward) -> None:
        self.id = short_id()
        self.inside: Stream | None = None
        self._stream = stream
        self._engine = engine
        self._inward = inward
        log.debug("connected", session=self.id, address=stream.peer.address, tls=stream.tls is not None)

    def handle(self, event: Event) -> Awaitable[None] | None:
        if isinstance(event, Mail):
            return self._hand_over()
        if isinstance(event, Malformed):
            log.debug("malformed", session=self.id, what=event.reason)
        return None

    async def _hand_over(self) -> None:
        engine = self._engine
        engine.hand_back()
        hello = b"%b %b" % (b"EHLO" if engine.extended else b"HELO", engine.greeted_as.encode())
        try:
            self.inside, first = await self._inward.open(
                Opening("smtp", self._stream, self.id, hello), engine.leftover()
            )
        except RookeryError as error:
            log.refused("not-handed-over", error.refusal, session=self.id, address=self._stream.peer.address)
            engine.close(replies.NOBODY_TAKES_MAIL)
            return
        engine.close(first)
        self._stream.idle = 0.0  # the other node has its own
