"""The directory and the hosts as a frontend reaches them: over the cluster port."""

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from rookery.access.frontend.way import Opening, Unreached
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.base.members import Role
from rookery.base.meters import counter
from rookery.distribution.delivery.local import LocalDelivery, LocalSettings
from rookery.distribution.delivery.outcome import Job
from rookery.distribution.service.calls import Granted, Host
from rookery.net.cluster.link import Link
from rookery.net.cluster.links import Links
from rookery.net.cluster.stream import LinkStream
from rookery.net.stream import Peer, Stream
from rookery.wire.cluster.values import Preface, Tls
from rookery.wire.proxy import Endpoint

ANSWER = 20.0  # seconds for one answer: a login that was wrong is answered late
ATTEMPTS, PAUSE = 4, 1.0  # times that the only node is looked for, and seconds between them
TAKEN = 10.0  # seconds for a host to take a session

_PORT = re.compile(r"[0-9]{1,5}")

_asked = counter("directory_questions", "Questions to directory nodes.")
_unanswered = counter("directory_questions_unanswered", "Of those, the ones that no directory node answered.")
log = logger("frontend")


def peer(address: str) -> Peer:
    """Of host:port. Raises RookeryError(UNAVAILABLE): a host that cannot be reached."""
    host, _, port = address.rpartition(":")
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise RookeryError(Cause.UNAVAILABLE, f"{address[:80]!r} is no host:port")
    return Peer(host.strip("[]"), int(port))


async def link_to(links: Links, address: Peer, *roles: Role) -> Link:
    """To a node with one of those roles: any member could listen there. Raises RookeryError: DENIED is never what a
    client gets to hear, so that whoever has not the role, or was revoked, is as good as not there: UNAVAILABLE."""
    try:
        link = await links.to(address)
    except RookeryError as error:
        if error.cause is Cause.DENIED:
            raise RookeryError(Cause.UNAVAILABLE, error.what) from error
        raise
    if not link.peer.roles.isdisjoint(roles):
        return link
    lacking = " or ".join(roles)
    raise RookeryError(Cause.UNAVAILABLE, f"{link.peer.name} is at {address.address}, which has not the role {lacking}")


class LinkedDirectory:
    """Asks one directory node after the other, beginning with the one that answered last. `addresses`: those that are
    known at the start; `roles`: of who answers, one of them."""

    __slots__ = ("_addresses", "_given", "_links", "_roles")

    def __init__(self, links: Links, addresses: Sequence[Peer], *roles: Role) -> None:
        self._links = links
        self._roles = roles or (Role.DIRECTORY,)
        self._given = tuple(addresses)
        self._addresses = list(addresses)

    def learn(self, addresses: Sequence[Peer]) -> None:
        """These are the directory nodes now; those that it began with are asked after them."""
        wanted = dict.fromkeys([*addresses, *self._given])
        first = [one for one in self._addresses[:1] if one in wanted]
        self._addresses = list(dict.fromkeys([*first, *wanted]))

    @property
    def addresses(self) -> tuple[Peer, ...]:
        return tuple(self._addresses)

    async def call(self, question: bytes) -> bytes:
        """Raises RookeryError(UNAVAILABLE) when nobody answers."""
        return (await self.ask(question))[0]

    async def ask(self, question: bytes, node: str = "") -> tuple[bytes, str]:
        """As logins.Ask: a backend answers for its own accounts, too."""
        if node:
            link = await link_to(self._links, peer(node), *self._roles, Role.BACKEND)
            return await link.call(question, ANSWER), node
        failure = RookeryError(Cause.UNAVAILABLE, "no directory node is named")
        _asked.add()
        for address in list(self._addresses):
            try:
                answer = await self._ask(address, question)
            except RookeryError as error:
                failure = error
                continue
            if address in self._addresses and self._addresses[0] != address:
                self._addresses.remove(address)
                self._addresses.insert(0, address)
            return answer, _text(address)
        _unanswered.add()
        raise RookeryError(Cause.UNAVAILABLE, f"no directory node answers: {failure.what}") from failure

    async def _ask(self, address: Peer, question: bytes) -> bytes:
        """Raises RookeryError."""
        link = await link_to(self._links, address, *self._roles)
        try:
            return await link.call(question, ANSWER)
        except RookeryError:
            if link.usable or link.closed:
                raise
        # It said goodbye before it heard the question, as a node does whose certificate was renewed.
        return await (await link_to(self._links, address, *self._roles)).call(question, ANSWER)


async def mail_stream(links: Links, address: Peer, protocol: str, below: str = "") -> LinkStream:
    """For many messages, to the backend whose cluster port is there. `below`: delivery ids of this node that sort below
    it will not come again. Raises RookeryError.
    """
    return await (await link_to(links, address, Role.BACKEND)).open(Preface(protocol, resume=below.encode()))


async def patient_stream(links: Links, address: Peer, protocol: str, below: str = "") -> LinkStream:
    """As `mail_stream`, where there is no other node to ask: for one that is being started again."""
    for left in reversed(range(ATTEMPTS)):
        try:
            return await mail_stream(links, address, protocol, below)
        except RookeryError as error:
            if error.cause is not Cause.UNAVAILABLE or not left:
                raise
        await asyncio.sleep(PAUSE)
    raise AssertionError


class LinkedMail:
    """Nodes with a queue, which take mail that comes in here; one after the other, in an order of chance."""

    __slots__ = ("_addresses", "_dice", "_links")

    def __init__(self, links: Links, addresses: Sequence[Peer], dice: random.Random) -> None:
        self._links = links
        self._addresses = addresses
        self._dice = dice

    async def dial(self) -> Stream:
        """A stream to one of them, by which mail is handed in. Raises RookeryError."""
        failure = RookeryError(Cause.UNAVAILABLE, "no node that takes mail is named")
        for address in self._dice.sample(self._addresses, len(self._addresses)):
            try:
                return await mail_stream(self._links, address, "smtp")
            except RookeryError as error:
                failure = error
        raise failure

    async def open(self, opening: Opening, octets: bytes) -> tuple[Stream, bytes]:
        """A stream to one of them, which has got `octets` of the client, and what it said first.

        Raises RookeryError when none has taken it.
        """
        failure = RookeryError(Cause.UNAVAILABLE, "no node that takes mail is named")
        for address in self._dice.sample(self._addresses, len(self._addresses)):
            try:
                link = await link_to(self._links, address, Role.BACKEND)
                stream = await link.open(_preface(opening))
                stream.write(octets)
                return stream, await _first_word(stream)
            except RookeryError as error:
                log.info("not-taken", session=opening.session, address=address.address, what=error.what)
                failure = error
        raise failure


class LinkedDeliveries:
    """Implements fan.Deliveries: streams to each host are kept for a while, and used for many messages."""

    __slots__ = ("_inward", "_links", "_settings", "_to")

    def __init__(self, links: Links, inward: LinkedMail, settings: LocalSettings) -> None:
        self._links = links
        self._settings = settings
        self._inward = LocalDelivery(inward.dial, replace(settings, lmtp=False))
        self._to: dict[str, LocalDelivery] = {}

    def submit(self, host: Host | None, job: Job) -> None:
        if host is None:
            self._inward.submit(job)
            return
        delivery = self._to.get(host.address)
        if delivery is None:
            delivery = self._to[host.address] = LocalDelivery(partial(self._dial, host.address), self._settings)
        delivery.submit(job)

    async def _dial(self, address: str) -> Stream:
        return await mail_stream(self._links, peer(address), "lmtp")

    async def close(self) -> None:
        await asyncio.gather(self._inward.close(), *(delivery.close() for delivery in self._to.values()))


class LinkedHosts:
    """Implements way.Way. `roles`: of the hosts, and of those who pass sessions on to them."""

    __slots__ = ("_links", "_roles")

    def __init__(self, links: Links, *roles: Role) -> None:
        self._links = links
        self._roles = roles or (Role.BACKEND, Role.DIRECTORY)

    async def open(self, granted: Granted, opening: Opening) -> tuple[Stream, bytes]:
        try:
            link = await link_to(self._links, peer(granted.host.address), *self._roles)
        except RookeryError as error:
            raise Unreached(error.what) from error
        stream = await link.open(_preface(opening, granted.account, granted.handle))
        return stream, await _first_word(stream)


def _text(address: Peer) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _preface(opening: Opening, account: bytes = b"", handle: bytes = b"") -> Preface:
    client = opening.stream
    return Preface(
        opening.protocol,
        account,
        Endpoint(*client.peer),
        Endpoint(*client.local),
        Tls(*client.tls) if client.tls is not None else None,
        opening.session,
        opening.hops,
        handle=handle,
        resume=opening.resume,
    )


async def _first_word(stream: LinkStream) -> bytes:
    """Of a node that has taken the session. Raises RookeryError when it has not; then the stream is gone."""
    stream.idle = TAKEN
    try:
        first = await stream.read()
    except TimeoutError:
        first = b""
    stream.idle = 0.0
    if first:
        return first
    refusal = stream.refusal
    stream.abort()
    if refusal is None:
        raise RookeryError(Cause.UNAVAILABLE, "the host said nothing")
    raise RookeryError(refusal.cause, refusal.what)
