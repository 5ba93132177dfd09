"""What the listeners of a frontend serve: a node that has no mail and no directory, only its certificate."""

import asyncio
import random
import ssl
from collections.abc import Callable, Collection, Sequence
from functools import partial

from rookery.access.frontend.imap import serve_imap_front
from rookery.access.frontend.inner import InnerDirectory, InnerWay
from rookery.access.frontend.linked import LinkedDeliveries, LinkedDirectory, LinkedHosts, LinkedMail, peer
from rookery.access.frontend.lmtp import LmtpFront, serve_lmtp_front
from rookery.access.frontend.login import Front, FrontSettings
from rookery.access.frontend.mx import MxFront, serve_mx_front
from rookery.access.frontend.submission import serve_submission_front
from rookery.access.handoff import Handoff
from rookery.base.clock import Clock
from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member, Role
from rookery.distribution.auth.abuse import Budgets
from rookery.distribution.cluster.messages import Issued
from rookery.distribution.delivery.local import LocalSettings
from rookery.distribution.directory.values import Standing
from rookery.distribution.service.calls import (
    AskDirectories,
    AskRevoked,
    Directories,
    Renewed,
    RevokedNodes,
    ToAuthority,
    decode_answer,
)
from rookery.distribution.service.claims import Sharing
from rookery.distribution.service.handles import Handles
from rookery.distribution.service.known import KnownDirectory
from rookery.distribution.service.logins import Logins
from rookery.distribution.service.signals import COUNTERS, MEMBERS, NAMES, Claim, read
from rookery.management.authority_duty import RENEWAL_AGAIN, RENEWALS, RENEWING_NODES
from rookery.management.exchange import Exchange, Hear
from rookery.management.keeping import at_port
from rookery.management.mailing import smtp_settings
from rookery.management.membership import AWAY, LOOK_EVERY, Membership, heard, told
from rookery.management.metrics import Gauge
from rookery.management.ways import LINGER, PATIENCE
from rookery.net.cluster.node import Service
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
        self._upstream = [Peer(one.host, one.port) for one in config.cluster.upstream if one is not None]
        asked = (Role.FRONTEND,) if self._upstream else ()
        self._linked = LinkedDirectory(membership.links, self._upstream or addresses, *asked)
        if not self._upstream:
            self._linked.learn([peer(one) for one in membership.learned()])
        self.directory = Logins(self._linked.ask, clock, passed_on=bool(self._upstream))
        self.addresses = KnownDirectory(self._linked.call, clock)
        self._hosts = LinkedHosts(membership.links, *asked)
        self.handoff = Handoff(Handles(clock), InnerWay(self._hosts, self.directory))
        self._inner = InnerDirectory(self.directory, self.handoff.passing, clock)
        self._renewals: Budgets[str] = Budgets(clock, RENEWALS, RENEWAL_AGAIN, RENEWING_NODES)
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
        if silent < AWAY or (self.directory.known and len(self._membership.links)):
            return []
        return [f"no directory node has answered for {silent:.0f} s: nobody can log in"]

    def warnings(self) -> list[str]:
        """Why only some can."""
        silent = self._membership.heard
        if silent < AWAY or self.problems():
            return []
        return [f"no directory node has answered for {silent:.0f} s: only who logged in here before can do so"]

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
        if self._upstream:  # no directory node tells it anything
            self._membership.follow(self._standing)
            self._membership.renew_through(self._through)
            return
        self._wake = self._membership.follow(self._standing, self._pause)
        self._exchanging = asyncio.create_task(self._exchange.run())
        self._membership.learn(self._directories)
        self._membership.renew(self._renewed)

    def _pause(self) -> float:
        return ASK_EVERY if self._exchange.hears else LOOK_EVERY

    def _claimed(self, data: bytes) -> None:
        claim = read(Claim, data)
        if claim is not None:
            self._claims.take(claim)

    def listen(self, addresses: Sequence[str]) -> None:
        """Take links of frontends further out. Raises RookeryError(UNAVAILABLE)."""
        questions = self._membership.questions
        self._inner.take(questions)
        questions.take(AskRevoked, self._tell_revoked)
        questions.take(ToAuthority, self._to_authority, "to-authority")
        self._membership.listen(addresses, Service(opened=self.handoff.opened, called=questions.called))

    async def _tell_revoked(self, caller: Member, question: AskRevoked) -> RevokedNodes:
        self._inner.allowance.charge(caller)
        return told(self._membership.standing, question.known)

    async def _to_authority(self, caller: Member, question: ToAuthority) -> Renewed:
        if not self._renewals.room(caller.name):
            raise RookeryError(Cause.TOO_MANY, "this node asked for many certificates lately")
        self._renewals.charge(caller.name)
        return Renewed(await self._through(question.message))

    async def _through(self, message: bytes) -> bytes:
        """What the authority answers."""
        if self._upstream:
            return decode_answer(await self.directory.ask(ToAuthority(message)), Renewed).issued
        return await self._membership.by_authority(ToAuthority(message), self._cluster_ports())

    def _cluster_ports(self) -> list[str]:
        return [at_port(*one) for one in self._linked.addresses]

    async def _standing(self) -> Standing:
        known = self._membership.revoked
        return heard(decode_answer(await self.directory.ask(AskRevoked(known.number)), RevokedNodes), known)

    async def _directories(self) -> tuple[str, ...]:
        answer = decode_answer(await self.directory.ask(AskDirectories()), Directories)
        self._linked.learn([peer(one) for one in answer.addresses])
        return tuple(answer.addresses)

    async def _renewed(self, request: bytes) -> Issued:
        return await self._membership.renewed(request, self._cluster_ports())
