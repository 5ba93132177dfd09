"""Nodes of a test's cluster, and real TLS between them: in memory for a handshake, over socket pairs for joining."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rookery.base.clock import ManualClock
from rookery.base.members import Member, Role
from rookery.distribution.cluster.certificates import make_request, new_key
from rookery.distribution.cluster.contexts import Contexts, Secured, peer
from rookery.distribution.cluster.files import ClusterFiles
from rookery.distribution.cluster.joining import Admit, Renewal, join
from rookery.distribution.cluster.registrar import Registrar
from rookery.distribution.directory.directory import Directory

FIRST = "first.test:1"
Answering = Callable[[bytes], Awaitable[bytes]]


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = None) -> tuple[ssl.SSLObject, ...]:
    """A whole handshake, and an octet each way; server's side, client's side. Raises ssl.SSLError of either."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    waiting = [theirs, ours]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    for one, other in ((theirs, ours), (ours, theirs)):
        one.write(b"x")
        assert other.read(1) == b"x"
    return ours, theirs


@dataclass
class World:
    registrar: Registrar
    files: ClusterFiles
    directory: Directory
    clock: ManualClock
    folder: Path
    listeners: dict[str, tuple[ssl.SSLContext, Answering]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @cached_property
    def first(self) -> Contexts:
        """Of the node that the authority is on, as it listens."""
        return self.contexts("first")

    @property
    def cluster(self) -> str:
        state = self.files.state()
        assert state is not None
        return state.cluster

    def node(self, name: str) -> ClusterFiles:
        return ClusterFiles(self.folder / name / "cluster")

    def contexts(self, name: str) -> Contexts:
        return Contexts(self.node(name))

    async def add(self, name: str, *roles: Role) -> Contexts:
        """Invited, and joined over TLS."""
        token = await self.registrar.invite(name, roles or [Role.FRONTEND], [FIRST], 1)
        await join(token, self.node(name), self.ask)
        return self.contexts(name)

    async def add_by_hand(self, name: str, *roles: Role) -> Contexts:
        """Where TLS would find the dates wrong."""
        token = await self.registrar.invite(name, roles or [Role.FRONTEND], [FIRST], 1)
        key = new_key()
        issued = await self.registrar.redeem(token.id, token.secret, make_request(key))
        self.node(name).write_state(key, issued.certificate, issued.chain, issued.bundle)
        return self.contexts(name)

    async def renew(self, name: str) -> None:
        files = self.node(name)
        state = files.state()
        assert state is not None
        renewal = Renewal(files, state)
        await renewal.accept(await self.registrar.renew(state.member, renewal.request))

    def meet(self, server: Contexts, client: Contexts) -> tuple[Member, Member]:
        """Whom the server sees, and whom the client sees."""
        ours, theirs = shake(server.server, client.client)
        return peer(ours, self.cluster), peer(theirs, self.cluster)

    # --- joining ---

    def listen(self, address: str, context: ssl.SSLContext, answer: Answering | None = None) -> None:
        self.listeners[address] = (context, answer or self.registrar.answer)

    async def ask(self, address: str, context: ssl.SSLContext, admit: Admit, question: bytes) -> bytes:
        """As `joining.Ask` says; `asked` has the addresses to which a question was sent."""
        if address not in self.listeners:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = socket.socketpair()
        serving = asyncio.create_task(self._serve(theirs, *self.listeners[address]))
        try:
            reader, writer = await asyncio.open_connection(sock=ours, ssl=context, server_hostname="")
            try:
                tls: Secured = writer.get_extra_info("ssl_object")
                admit(tls)
                self.asked.append(address)
                writer.write(len(question).to_bytes(4, "big") + question)
                size = await reader.readexactly(4)
                return await reader.readexactly(int.from_bytes(size, "big"))
            finally:
                writer.transport.abort()
        finally:
            await asyncio.gather(serving, return_exceptions=True)

    async def _serve(self, connection: socket.socket, context: ssl.SSLContext, answer: Answering) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context)
        try:
            size = await reader.readexactly(4)
            said = await answer(await reader.readexactly(int.from_bytes(size, "big")))
            transport.write(len(said).to_bytes(4, "big") + said)
            await reader.read()
        finally:
            transport.abort()
