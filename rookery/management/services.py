"""What the listeners serve, by name, over the parts of a site; and the queue that delivers."""

import ssl
from dataclasses import replace
from functools import partial

from rookery.access.frontend.way import HandOver
from rookery.access.fullness import Fullness
from rookery.access.imap.serve import enter_imap, serve_imap
from rookery.access.imap.serve import services as imap_services
from rookery.access.imap.settings import ImapSettings
from rookery.access.lmtp import serve_lmtp
from rookery.access.smtp import enter_mx, serve_mx
from rookery.access.submission import enter_submission, serve_submission
from rookery.base.config import Config
from rookery.base.members import Member, Role
from rookery.distribution.directory.values import AccountRecord
from rookery.distribution.spool.ids import message_number, message_text
from rookery.management.mailing import delivery_settings, smtp_settings
from rookery.management.parts import Parts
from rookery.net.cluster.stream import LinkStream
from rookery.net.listener import Serve, contains
from rookery.net.stream import Stream
from rookery.wire.cluster.values import Preface

REFUSED = 10_000  # recipients of one stream by which another node hands mail in


class Services:
    """What the listeners serve, by name, over the parts of the site; and the queue that delivers."""

    def __init__(self, parts: Parts, tls: ssl.SSLContext) -> None:
        self._parts = parts
        self._tls = tls
        self._serve: dict[str, Serve] = {}
        self._hand_over: HandOver | None = None
        self.reload(parts.config)

    def reload(self, config: Config) -> None:
        """Take up new settings; sessions that are open keep theirs."""
        parts, tls = self._parts, self._tls
        parts.take_up(config)
        smtp = smtp_settings(config)
        imap = imap_services(
            store=parts.store,
            authenticator=parts.authenticator,
            settings=imap_settings(config),
            clock=parts.clock,
            tls=tls,
            hosts=parts.hosts,
            underway=parts.underway,
            hand_over=self._hand_over,
        )
        full = Fullness(parts.directory, parts.store, parts.hosts)
        mail = partial(
            serve_mx, spool=parts.spool, directory=parts.directory, settings=smtp, clock=parts.clock, full=full
        )
        self._hand_in = partial(mail, settings=replace(smtp, refused_recipients=REFUSED))
        self._enter_mx = partial(
            enter_mx, spool=parts.spool, directory=parts.directory, settings=smtp, clock=parts.clock, full=full
        )
        submission = partial(
            serve_submission,
            spool=parts.spool,
            directory=parts.directory,
            authenticator=parts.authenticator,
            settings=smtp,
            clock=parts.clock,
        )
        lmtp = partial(
            serve_lmtp,
            store=parts.store,
            directory=parts.directory,
            settings=smtp,
            clock=parts.clock,
            hosts=parts.hosts,
        )
        self._enter_imap = partial(enter_imap, shared=imap)
        self._enter_submission = partial(
            enter_submission,
            spool=parts.spool,
            directory=parts.directory,
            authenticator=parts.authenticator,
            settings=smtp,
            clock=parts.clock,
        )
        self._queues = partial(lmtp, settings=delivery_settings(config), trusted=True)
        self._lmtp = lmtp
        self._serve = {
            "smtp": partial(mail, tls=tls),
            "submission": partial(submission, tls=tls),
            "submissions": submission,
            "lmtp": lambda stream: lmtp(stream, allowed=contains(config.lmtp.trusted, stream.peer.address)),
            "imap": partial(serve_imap, shared=imap),
            "imaps": partial(serve_imap, shared=imap),
        }

    def join(self, hand_over: HandOver) -> None:
        """From now on sessions are brought to where their accounts are."""
        self._hand_over = hand_over
        self.reload(self._parts.config)

    async def serve(self, name: str, stream: Stream) -> None:
        await self._serve[name](stream)

    async def enter_imap(self, stream: Stream, record: AccountRecord, session: str, tag: bytes) -> None:
        """A session whose login a frontend has seen to. Raises RookeryError when it cannot be served here."""
        await self._enter_imap(stream, record, session, tag)

    async def enter_submission(self, stream: Stream, record: AccountRecord, session: str, hello: bytes) -> None:
        """As above; `hello`: what the client calls itself."""
        await self._enter_submission(stream, record, session, hello)

    async def enter_mx(self, stream: LinkStream, node: Member, preface: Preface) -> None:
        """A session that a frontend has begun, or mail that a node hands in, one after the other."""
        if not preface.resume.startswith((b"EHLO ", b"HELO ")):
            if preface.resume:
                await self._parts.spool.forget_taken(node.name, _low(preface.resume))
            await self._hand_in(stream, giver=node.name)
            return
        await self._enter_mx(stream, preface.session, preface.resume)

    async def serve_sibling(self, stream: Stream) -> None:
        """A delivery from another backend's queue."""
        await self._queues(stream)

    async def enter_lmtp(self, stream: LinkStream, node: Member, giver: str, below: bytes) -> None:
        """Deliveries from another node: from its queue, or from an MTA in front of it, which has no ids of ours.
        `giver`: whose delivery ids they are; of those, what sorts below `below` will not come again.
        """
        if Role.BACKEND in node.roles:
            if giver and below:
                await self._parts.store.forget_deliveries(_low(below), giver)
            await self._queues(stream, giver=giver)
        else:
            await self._lmtp(stream)

    def start(self) -> None:
        """Begin to deliver what the queue holds."""
        self._parts.queue.start()

    async def close(self) -> None:
        """Stop delivering; what is under way is finished, or left for the next start."""
        await self._parts.queue.stop()


def _low(octets: bytes) -> str:
    """Raises RookeryError(INVALID) when it is no message id."""
    return message_text(message_number(octets.decode("ascii", "replace")))


def imap_settings(config: Config) -> ImapSettings:
    return ImapSettings(
        idle_timeout=config.imap.idle,
        login_timeout=config.imap.idle_before_login,
        sessions=config.imap.sessions,
        append_limit=config.smtp.message_size,
    )
