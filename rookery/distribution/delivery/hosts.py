"""From a destination to a ready connection: its hosts in order of preference, their addresses in turn.

Trouble with a host or address leads to the next one. What all of them said decides: for good only if every one said so.
TLS is used where it is offered, without asking whose certificate it is (RFC 7435); where the handshake fails the same
address is tried in clear, for that is what mail servers do and refusing would not make it safer.
"""

import random
import ssl
from dataclasses import dataclass
from ipaddress import ip_address

from rookery.base.log import logger
from rookery.distribution.delivery.outcome import Outcome, Verdict, outcome, own
from rookery.distribution.delivery.session import PATIENCE, ClientSession, Patience, SessionRefused
from rookery.net.dial import Dial
from rookery.net.resolver import LookupTrouble, Resolver, Trouble, mail_route
from rookery.net.stream import Stream
from rookery.wire.smtp_client.replies import Reply

log = logger("delivery")

ATTEMPTS = 10  # connections tried for one delivery
SMTP_PORT = 25
SUBMISSIONS_PORT = 465  # TLS from the first octet (RFC 8314 section 3.3)
HOST_TAKES_NO_MAIL = 521  # RFC 7504


@dataclass(frozen=True, slots=True)
class Smarthost:
    """All mail goes through it. With a login its certificate is verified, unless it is on this machine.

    `implicit_tls`: TLS from the first octet, so never in clear; its certificate is verified without a login too.
    """

    host: str
    port: int = SMTP_PORT
    login: str = ""
    password: str = ""
    implicit_tls: bool = False


@dataclass(frozen=True, slots=True)
class HostSettings:
    """`own_names`: of this node, in lower case. `own_ports`: where it takes mail itself; a connection to one of them on
    our own address is a loop. `tls`: for opportunistic use; `verified_tls`: for a smarthost with a login.
    """

    hostname: str
    own_names: frozenset[str] = frozenset()
    own_ports: frozenset[int] = frozenset()
    port: int = SMTP_PORT
    smarthost: Smarthost | None = None
    tls: ssl.SSLContext | None = None
    verified_tls: ssl.SSLContext | None = None
    patience: Patience = PATIENCE


class Connection:
    """A session and who is at the other end."""

    __slots__ = ("host", "session")

    def __init__(self, host: str, session: ClientSession) -> None:
        self.host = host
        self.session = session


class Hosts:
    """Connects to destinations. `dice` orders hosts of equal preference."""

    def __init__(self, settings: HostSettings, resolver: Resolver, dial: Dial, dice: random.Random) -> None:
        self._settings = settings
        self._resolver = resolver
        self._dial = dial
        self._dice = dice

    async def connect(self, destination: str) -> Connection | Outcome:
        """A ready connection for mail to `destination` (a domain or address literal), or why there is none."""
        smarthost = self._settings.smarthost
        if smarthost is not None:
            return await self._first((smarthost.host,), smarthost.port)
        if destination.startswith("["):
            literal = destination[1:-1]
            host = literal[5:] if literal.lower().startswith("ipv6:") else literal
            try:
                return await self._first((str(ip_address(host)),), self._settings.port)
            except ValueError:
                return own("5.1.2", f"{destination} is not an address")
        route = await mail_route(self._resolver, destination, self._settings.own_names, self._dice.shuffle)
        if not route.hosts:
            return own(route.status, route.text)
        return await self._first(route.hosts, self._settings.port)

    async def _first(self, hosts: tuple[str, ...], port: int) -> Connection | Outcome:
        tried = 0
        worst: Outcome | None = None
        for host in hosts:
            try:
                addresses = await self._resolver.addresses(host)
            except LookupTrouble as trouble:
                status = "4.4.3" if trouble.trouble is Trouble.TEMPORARY else "5.4.4"
                worst = _worse(worst, own(status, trouble.text))
                continue
            for address in addresses:
                if tried == ATTEMPTS:
                    break
                tried += 1
                found = await self._attempt(host, address, port, encrypt=True)
                if isinstance(found, Connection):
                    return found
                log.info("no-connection", host=host, address=address, port=port, code=found.code, text=found.text)
                worst = _worse(worst, found)
        return worst or own("4.4.4", "there is no host to try")

    async def _attempt(self, host: str, address: str, port: int, *, encrypt: bool) -> Connection | Outcome:
        settings, smarthost = self._settings, self._settings.smarthost
        try:
            stream = await self._dial(address, port, settings.patience.connect)
        except OSError as error:
            reason = (
                "it did not answer" if isinstance(error, TimeoutError) else (error.strerror or type(error).__name__)
            )
            return own("4.4.1", f"no connection to {host} [{address}]: {reason}")
        if smarthost is None and self._own_address(stream, port):
            stream.abort()
            return own("5.4.6", f"{host} [{address}] is this host itself")
        session = ClientSession(stream, settings.hostname, settings.patience)
        login = (smarthost.login, smarthost.password) if smarthost is not None and smarthost.login else None
        at_once = smarthost is not None and smarthost.implicit_tls
        protected = (login is not None or at_once) and not ip_address(address).is_loopback
        tls = settings.verified_tls if protected else settings.tls
        try:
            await session.open(
                tls=tls if encrypt else None,
                server_name=host,
                need_tls=protected or at_once,
                login=login,
                implicit_tls=at_once,
            )
        except SessionRefused as refused:
            if refused.tls and encrypt and not protected and not at_once:
                log.info("tls-failed", host=host, address=address, text=refused.reply.text)
                return await self._attempt(host, address, port, encrypt=False)
            return _refused(refused.reply, host)
        greeting = session.extensions.greeting.lower()
        if smarthost is None and "." in greeting and greeting in settings.own_names:
            await session.quit()
            return own("5.4.6", f"{host} [{address}] calls itself by our own name {greeting}")
        return Connection(host, session)

    def _own_address(self, stream: Stream, port: int) -> bool:
        return port in self._settings.own_ports and stream.peer.address == stream.local.address != ""


def _refused(reply: Reply, host: str) -> Outcome:
    """The host's word, but about the connection: for good only from a host that never takes mail."""
    found = outcome(reply, host)
    if found.verdict is Verdict.NEVER and found.code != HOST_TAKES_NO_MAIL:
        return Outcome(Verdict.LATER, found.code, f"4{found.enhanced[1:]}", found.text, host)
    return found


def _worse(old: Outcome | None, new: Outcome) -> Outcome:
    """What is kept when one more host failed: the newest temporary one, else the newest."""
    if old is not None and old.verdict is Verdict.LATER and new.verdict is Verdict.NEVER:
        return old
    return new
