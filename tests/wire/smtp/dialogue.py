"""Drives the SMTP server engine the way a session does, with a say in what is refused."""

from collections.abc import Callable

from rookery.wire.engine import Wants
from rookery.wire.smtp.engine import Engine
from rookery.wire.smtp.events import Auth, BodyChunk, BodyEnd, BodyStart, Event, Mail, Rcpt, Reset, SaslAnswer
from rookery.wire.smtp.offers import Offer
from rookery.wire.smtp.states import LIMITS, Limits

ASKING = (Mail, Rcpt, BodyStart, BodyEnd)
OFFER = Offer(size=100_000, dsn=True, xdelivery=True)


class Dialogue:
    """`said` is all that was answered, `events` all that was reported, `bodies` the messages that came whole."""

    def __init__(
        self,
        offer: Offer = OFFER,
        *,
        lmtp: bool = False,
        limits: Limits = LIMITS,
        offer_tls: Offer | None = None,
        refuse: Callable[[Event], bytes] = lambda event: b"",
    ) -> None:
        self.engine = Engine("mx.test", offer, lmtp=lmtp, limits=limits, offer_tls=offer_tls)
        self.events: list[Event] = []
        self.bodies: list[bytes] = []
        self.said = b""
        self._refuse = refuse
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """What is answered to these octets."""
        while events := self.engine.receive(data):
            for event in events:
                self._handle(event)
            if self.engine.wants is not Wants.MORE:
                break
            data = b""
        answer = self.engine.outgoing()
        self.said += answer
        return answer

    def pieces(self, data: bytes, size: int) -> bytes:
        return b"".join(self.feed(data[at : at + size]) for at in range(0, len(data), size))

    def _handle(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, BodyStart | Mail | Reset):
            self._body = []
        if isinstance(event, BodyChunk):
            self._body.append(event.data)
        if isinstance(event, BodyEnd):
            self.bodies.append(b"".join(self._body))
        if isinstance(event, Auth) or (isinstance(event, SaslAnswer) and event.data is not None):
            reply = self._refuse(event)
            if reply:
                self.engine.refuse(reply)
            elif isinstance(event, Auth) and event.initial is None:
                self.engine.challenge(b"go on")
            else:
                self.engine.authenticated()
        elif isinstance(event, ASKING):
            reply = self._refuse(event)
            if reply:
                self.engine.refuse(reply)
            else:
                self.engine.accept()

    @property
    def codes(self) -> list[int]:
        return [int(line[:3]) for line in self.said.splitlines() if line[3:4] == b" "]

    def envelope(self, hello: bytes = b"EHLO client.test") -> "Dialogue":
        """Up to and with one accepted recipient."""
        self.feed(hello + b"\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\n")
        self.said = b""
        self.events.clear()
        return self


def stuffed(body: bytes) -> bytes:
    """A message that ends in CRLF, or is empty, as DATA carries it (RFC 5321 section 4.5.2)."""
    dotted = body.replace(b"\r\n.", b"\r\n..")
    return (b"." if dotted.startswith(b".") else b"") + dotted + b".\r\n"
