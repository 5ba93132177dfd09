"""TLS between nodes: 1.3 only, a certificate of the cluster on both sides.

TLS matches no names: the caller asks `peer` who it is, and whether that is whom it meant. Between members it does not
look at dates either, for it could not say whose certificate has ended: at a link `member_of` does. Sessions are not
resumed, for a resumed one would not show its certificate again.
"""

import os
import ssl
from collections.abc import Callable
from typing import Protocol

from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member
from rookery.distribution.cluster.authority import Bundle
from rookery.distribution.cluster.certificates import member_of
from rookery.distribution.cluster.files import ClusterFiles, NodeState

NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME


class Secured(Protocol):
    """A connection over TLS: ssl.SSLSocket, ssl.SSLObject and asyncio's "ssl_object"."""

    def getpeercert(self, binary_form: bool, /) -> object: ...


def peer(tls: Secured, cluster: str) -> Member:
    """Who is at the other end. Raises DENIED when it is nobody of this cluster."""
    shown = tls.getpeercert(True)
    return member_of(shown if isinstance(shown, bytes) else None, cluster)


def client_context(bundle: Bundle | None) -> ssl.SSLContext:
    """To dial, without a certificate, a node that one of the bundle's authorities has admitted; None: to ask anybody
    for what is public."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, bundle, None)


def _context(protocol: int, bundle: Bundle | None, pem: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE if bundle is None else ssl.CERT_REQUIRED
    try:
        if bundle is not None:
            context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
            context.load_verify_locations(cadata=b"".join(bundle.roots))
        if pem is not None:
            _load(context, pem)
        if bundle is not None and pem is not None:
            context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise RookeryError(Cause.INVALID, f"the certificates of the cluster cannot be used: {error}") from error
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """OpenSSL reads files only, and twice; what was checked is handed to it in memory, where nothing replaces it."""
    file = os.memfd_create("node", os.MFD_CLOEXEC)
    try:
        os.write(file, pem)
        context.load_cert_chain(f"/proc/self/fd/{file}", password=_no_password)
    finally:
        os.close(file)


def _no_password() -> str:
    """Never ask at the terminal for the password of a key."""
    return ""


class Contexts:
    """Of a node that has joined. `server` and `desk` are for listeners, for good: every handshake takes what `reload`
    read last. `client` is asked for at each connection. `desk` admits nodes that have no certificate yet, and
    therefore is nobody's proof of anything.
    """

    __slots__ = ("_desk", "_files", "_server", "client", "desk", "server", "state")

    def __init__(self, files: ClusterFiles) -> None:
        self._files = files
        self._take(self._read())
        # Trust cannot be taken out of a context: each handshake is handed the newest one.
        self.server = _outer(self._server, lambda: self._server)
        self.desk = _outer(self._desk, lambda: self._desk)

    def reload(self) -> None:
        """Take up what the files say now. Raises RookeryError, and then nothing changed."""
        state = self._read()
        if (state.pem, state.bundle) != (self.state.pem, self.state.bundle):
            self._take(state)

    def _read(self) -> NodeState:
        state = self._files.state()
        if state is None:
            raise RookeryError(Cause.NOT_FOUND, f"this node has not joined a cluster: {self._files.node} is not there")
        return state

    def _take(self, state: NodeState) -> None:
        made = [
            _context(ssl.PROTOCOL_TLS_SERVER, state.bundle, state.pem),
            _context(ssl.PROTOCOL_TLS_SERVER, None, state.pem),
            _context(ssl.PROTOCOL_TLS_CLIENT, state.bundle, state.pem),
        ]
        self.state: NodeState = state
        self._server, self._desk, self.client = made


def _outer(first: ssl.SSLContext, current: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """A context that is `current()` at each handshake, whether the client sends a server name or none."""
    outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    outer.minimum_version = first.minimum_version
    outer.options, outer.num_tickets = first.options, first.num_tickets
    outer.verify_mode, outer.verify_flags = first.verify_mode, first.verify_flags

    def take(tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        tls.context = current()

    outer.sni_callback = take
    return outer
