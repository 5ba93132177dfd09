"""A node's side: it joins with a token, renews its certificate, comes back after an absence.

The private key is made here and never leaves. What is received is checked, also where TLS has checked the sender: the
certificate is of our key and name, of the cluster, and signed by an authority that this node has reason to trust.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol

from cryptography import x509

from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Member, Role
from rookery.distribution.cluster import authority as au
from rookery.distribution.cluster import messages
from rookery.distribution.cluster.certificates import PrivateKey, make_request, member_of, new_key
from rookery.distribution.cluster.contexts import Secured, client_context, peer
from rookery.distribution.cluster.files import ClusterFiles, Known, NodeState
from rookery.distribution.cluster.messages import AskBundle, Authorities, ComeBack, Issued, Join, Question
from rookery.distribution.cluster.tokens import Token

Admit = Callable[[Secured], None]  # raises RookeryError: then nothing is sent


class Ask(Protocol):
    """Dial `address`, make TLS with `context`, let `admit` look at the other side, and only then send the question;
    returns the answer, of at most messages.MESSAGE_LIMIT octets. Raises RookeryError, OSError, EOFError."""

    async def __call__(self, address: str, context: ssl.SSLContext, admit: Admit, question: bytes) -> bytes: ...


async def join(token: Token, files: ClusterFiles, ask: Ask, keeps: str = "") -> Member:
    """Become what the token says; a node that has joined is refused (EXISTS). May be tried again when it failed.

    `keeps`: what the node is made for; DENIED, and the token is not used, when its roles are for another.
    """
    if await asyncio.to_thread(files.state) is not None:
        raise RookeryError(
            Cause.EXISTS, f"this node is a member of a cluster: {files.folder} says so; remove that folder to leave it"
        )
    key = await asyncio.to_thread(files.joining_key)

    async def at(address: str) -> Member:
        answer = await _question(ask, address, None, lambda tls: None, AskBundle())
        if not isinstance(answer, Authorities):
            raise _confused()
        trusted = au.pinned(answer.bundle, token.cluster, token.pin)
        question = Join(token.id, token.secret, make_request(key), keeps)
        answer = await _question(ask, address, trusted, _authority_of(token.cluster), question)
        return await _accept(files, key, token.cluster, trusted, answer, name="")

    member = await _at_any(token.addresses, at)
    await asyncio.to_thread(files.write_known, Known(join=token.addresses))
    await asyncio.to_thread(files.has_joined)
    return member


async def come_back(files: ClusterFiles, addresses: tuple[str, ...], ask: Ask) -> Member:
    """A new certificate for a node whose own has ended. It asks as one that has none."""
    state = await asyncio.to_thread(files.state)
    if state is None:
        raise RookeryError(Cause.NOT_FOUND, "this node has not joined a cluster")

    async def at(address: str) -> Member:
        question = ComeBack(state.member.name, make_request(state.key))
        answer = await _question(ask, address, state.bundle, _authority_of(state.cluster), question)
        return await _accept(files, state.key, state.cluster, state.bundle, answer, state.member.name)

    return await _at_any(addresses, at)


async def come_back_through(files: ClusterFiles, ask: Callable[[bytes], Awaitable[bytes]]) -> Member:
    """As `come_back`, where the authority hears of it from others: `ask` has the question answered."""
    state = await asyncio.to_thread(files.state)
    if state is None:
        raise RookeryError(Cause.NOT_FOUND, "this node has not joined a cluster")
    question = ComeBack(state.member.name, make_request(state.key))
    answer = messages.read_answer(await ask(messages.encode(question)))
    return await _accept(files, state.key, state.cluster, state.bundle, answer, state.member.name)


class Renewal:
    """Of a member's certificate, with a new key: `request` goes to the authority over the cluster port, where
    `Registrar.renew` answers it."""

    __slots__ = ("_files", "_key", "_state", "request")

    def __init__(self, files: ClusterFiles, state: NodeState) -> None:
        self._files = files
        self._state = state
        self._key = new_key()
        self.request = make_request(self._key)

    async def accept(self, issued: Issued) -> Member:
        """It is on the disk when this returns; `Contexts.reload` takes it up."""
        state = self._state
        return await _accept(self._files, self._key, state.cluster, state.bundle, issued, state.member.name)


async def _at_any(addresses: tuple[str, ...], at: Callable[[str], Awaitable[Member]]) -> Member:
    """The first that can be reached decides."""
    failure = RookeryError(Cause.UNAVAILABLE, "no address of the cluster's authority is known")
    for address in addresses:
        try:
            return await at(address)
        except ssl.SSLCertVerificationError as error:
            failure = RookeryError(
                Cause.DENIED,
                f"{address} showed a certificate that this node does not trust ({error.verify_message}); if the clock"
                " of either node is wrong, set it",
            )
        except (OSError, EOFError) as error:
            said = (error.strerror if isinstance(error, OSError) else "") or "the connection ended"
            failure = RookeryError(Cause.UNAVAILABLE, f"the authority at {address} cannot be reached: {said}")
        except RookeryError as error:
            if error.cause is not Cause.UNAVAILABLE:
                raise
            failure = error
    raise failure


async def _question(
    ask: Ask, address: str, trusted: au.Bundle | None, admit: Admit, question: Question
) -> Authorities | Issued:
    context = client_context(trusted)
    return messages.read_answer(await ask(address, context, admit, messages.encode(question)))


def _authority_of(cluster: str) -> Admit:
    """Any node of the cluster could listen there; the secret is for the authority alone."""

    def admit(tls: Secured) -> None:
        found = peer(tls, cluster)
        if Role.AUTHORITY not in found.roles:
            raise RookeryError(
                Cause.DENIED, f"{found.name} answered, which has not the role authority; check the address"
            )

    return admit


async def _accept(
    files: ClusterFiles,
    key: PrivateKey,
    cluster: str,
    trusted: au.Bundle,
    answer: Authorities | Issued,
    name: str,
) -> Member:
    """Checked and written. `name` "": whatever the token was made for."""
    if not isinstance(answer, Issued):
        raise _confused()
    bundle = au.follow(trusted, answer.bundle, cluster)
    member = member_of(answer.certificate, cluster)
    leaf = x509.load_der_x509_certificate(answer.certificate)
    if leaf.public_key() != key.public_key():
        raise RookeryError(Cause.DENIED, "the authority answered with a certificate of another key")
    if name and member.name != name:
        raise RookeryError(Cause.DENIED, f"the authority answered with a certificate of {member.name}, not of {name}")
    if au.issuer_among(answer.certificate, bundle) is None:
        raise RookeryError(Cause.DENIED, "the authority answered with a certificate that none of its own has signed")
    await asyncio.to_thread(files.write_state, key, answer.certificate, answer.chain, bundle)
    return member


def _confused() -> RookeryError:
    return RookeryError(Cause.INVALID, "the authority answered another question than the one that was asked")
