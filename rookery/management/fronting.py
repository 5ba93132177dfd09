"""What the listeners of a frontend serve: a node that has no mail and no directory, only its certificate."""

import asyncio
import random
import ssl
from collections.abc import Callable, Collection
from functools import partial

from rookery.access.frontend.imap import serve_imap_front
from rookery.access.frontend.linked import LinkedDeliveries, LinkedDirectory, LinkedHosts, LinkedMail, peer
from rookery.access.frontend.lmtp import LmtpFront, serve_lmtp_front
from rookery.access.frontend.login import Front, FrontSettings
from rookery.access.frontend.mx import MxFront, serve_mx_front
from rookery.access.frontend.submission import serve_submission_front
from rookery.base.clock import Clock
from rookery.base.config import Config
from rookery.base.members import Role
from rookery.distribution.cluster.messages import Issued
from rookery.distribution.delivery.local import LocalSettings
from rookery.distribution.directory.values import Standing
from rookery.distribution.service.calls import (
    AskDirectories,
    AskRevoked,
    Directories,
    RevokedNodes,
    decode_answer,
)
from rookery.distribution.service.claims import Sharing
from rookery.distribution.service.known import KnownDirectory
from rookery.distribution.service.logins import Logins
from rookery.distribution.service.signals import COUNTERS, MEMBERS, NAMES, Claim, read
from rookery.management.exchange import Exchange, Hear
from rookery.management.keeping import at_port
from rookery.management.mailing import smtp_settings
from rookery.management.membership import AWAY, Membership, heard
from rookery.management.metrics import Gauge
from rookery.management.ways import LINGER, PATIENCE
from rookery.net.listener import Serve, contains
from rookery.net.stream import Peer, Stream

FOR_USERS = ("imap", "imaps", "submission", "submissions")
FOR_MAIL = ("smtp", "lmtp")
ASK_EVERY = 2.0  # seconds between two questions for who was revoked: signals are heard at once, but may be lost


def listeners(roles: Collection[Role]) -> tuple[str, ...]:
    """Of a frontend: what it may bring to others, its certificate says."""
    return (FOR_USERS if Role.FRONTEND in roles else ()) + (FOR_MAIL if Role.MX_IN in roles else ())


class FrontServices:
    """Of a node whose certificate says that it is a frontend and nothing that keeps mail or accounts."""

    def __init__(
        self,
        config: Config,
        membership: Membership,
        tls: ssl.SSLContext,
        clock: Clock,
        sharing: Sharing,
    ) -> None:
        self._membership = membership
        self._tls = tls
        addresses = [Peer(one.host, one.port) for one in config.cluster.directory if one is not None]
        self._linked = LinkedDirectory(membership.links, addresses)
        self._linked.learn([peer(one) for one in membership.learned()])
        self.directory = Logins(self._linked.ask, clock)
        self.addresses = KnownDirectory(self._linked.call, clock)
        self._hosts = LinkedHosts(membership.links)
        mail = [Peer(one.host, one.port) for one in config.cluster.mail if one is not None]
        self._inward = LinkedMail(membership.links, mail or addresses, random.Random())
        self._deliveries = LinkedDeliveries(
            membership.links, self._inward, LocalSettings(config.site.hostname, patience=PATIENCE, linger=LINGER)
        )
        self._clock = clock
        self._claims = sharing.claims
        self._failures = sharing.failures
        self._wake: Callable[[], None] = lambda: None
        hear: dict[str, Hear] = {
            MEMBERS: lambda data: self._wake(),
            NAMES: lambda data: self.addresses.forget(),
            COUNTERS: self._claimed,
        }
        self._exchange = Exchange(membership, self._linked, hear, sharing.counted)
        self._exchanging: asyncio.Task[None] | None = None
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Take up new settings; sessions that are open keep theirs."""
        settings = FrontSettings(
            hostname=config.site.hostname,
            login_time=config.imap.idle_before_login,
            scram=config.auth.scram,
            plaintext_on_loopback=config.auth.plaintext_on_loopback,
            message_size=config.smtp.message_size,
        )
        clear = Front(self.directory, self._hosts, settings, self._tls, self._failures.add)
        inside = Front(self.directory, self._hosts, settings, None, self._failures.add)  # of TLS
        lmtp = LmtpFront(self.addresses, self._deliveries, smtp_settings(config), self._clock)
        self._serve: dict[str, Serve] = {
            "imap": partial(serve_imap_front, shared=clear),
            "imaps": partial(serve_imap_front, shared=inside),
            "submission": partial(serve_submission_front, shared=clear),
            "submissions": partial(serve_submission_front, shared=inside),
            "smtp": partial(serve_mx_front, shared=MxFront(self._inward, smtp_settings(config), self._tls)),
            "lmtp": lambda stream: serve_lmtp_front(
                stream, lmtp, allowed=contains(config.lmtp.trusted, stream.peer.address)
            ),
        }

    async def close(self) -> None:
        if self._exchanging is not None:
            self._exchanging.cancel()
            await asyncio.gather(self._exchanging, return_exceptions=True)
        await self._deliveries.close()

    async def serve(self, name: str, stream: Stream) -> None:
        await self._serve[name](stream)

    # --- as an administrator sees it ---

    def problems(self) -> list[str]:
        """Why nobody can log in here, in plain words."""
        silent = self._membership.heard
        return [f"no directory node has answered for {silent:.0f} s: nobody can log in"] if silent >= AWAY else []

    async def gauges(self) -> list[Gauge]:
        return [
            ("directory_users_known", "Users whose hosts are remembered.", {"": self.directory.known}),
            ("frontends_heard", "Other frontends that say what they count.", {"": self._claims.nodes}),
            (
                "directory_silent_seconds",
                "Since no directory node has answered; 0: one did.",
                {"": self.directory.stale},
            ),
        ]

    def start(self) -> None:
        """Watch over members, and keep the certificate young."""
        self._wake = self._membership.follow(self._standing, ASK_EVERY)
        self._exchanging = asyncio.create_task(self._exchange.run())
        self._membership.learn(self._directories)
        self._membership.renew(self._renewed)

    def _claimed(self, data: bytes) -> None:
        claim = read(Claim, data)
        if claim is not None:
            self._claims.take(claim)

    async def _standing(self) -> Standing:
        known = self._membership.revoked
        return heard(decode_answer(await self.directory.ask(AskRevoked(known.number)), RevokedNodes), known)

    async def _directories(self) -> tuple[str, ...]:
        answer = decode_answer(await self.directory.ask(AskDirectories()), Directories)
        self._linked.learn([peer(one) for one in answer.addresses])
        return tuple(answer.addresses)

    async def _renewed(self, request: bytes) -> Issued:
        return await self._membership.renewed(request, [at_port(*one) for one in self._linked.addresses])
