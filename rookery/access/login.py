"""Logging in, the same for every protocol: SASL exchanges, IMAP's LOGIN, and which mechanisms are offered.

A protocol carries base64 and cancellation; everything else is here. No plaintext mechanism without TLS, except from
loopback where the site allows it.
"""

import base64
import ipaddress
from typing import TypeAlias

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.auth.authenticator import Attempt, Authenticator, ScramOffer
from rookery.distribution.directory.values import AccountRecord
from rookery.wire.sasl.plain import LoginEngine, PlainEngine
from rookery.wire.sasl.scram import ScramEngine
from rookery.wire.sasl.steps import Challenge, CheckPassword, Done, Failed, NeedSecrets, Proved, Step

NONCE_SIZE = 18  # octets
_PLAINTEXT = ("PLAIN", "LOGIN")
_SCRAM = "SCRAM-SHA-256"


class Accepted(msgspec.Struct, frozen=True):
    """The client is logged in to `account`."""

    account: AccountRecord


class Rejected(msgspec.Struct, frozen=True):
    """The exchange is over.

    BAD_CREDENTIALS; TOO_MANY (limited); BUSY or UNAVAILABLE (try again); INVALID (the mechanism's rules were broken);
    UNSUPPORTED (no such mechanism); DENIED (plaintext without TLS, or acting as somebody else).
    """

    cause: Cause
    what: str = ""


SaslStep: TypeAlias = Challenge | Accepted | Rejected


def is_loopback(address: str) -> bool:
    """Also "" (an in-memory stream) and an IPv4 loopback address written as IPv6."""
    if not address:
        return True
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def mechanisms(
    tls: bool, loopback: bool, *, scram: bool = False, plaintext_on_loopback: bool = True
) -> tuple[str, ...]:
    """SASL mechanisms to offer, best first; see also `Login.mechanisms`."""
    plain = _PLAINTEXT if tls or (loopback and plaintext_on_loopback) else ()
    return ((_SCRAM,) if scram else ()) + plain


def offered(authenticator: Authenticator, *, tls: bool, peer: str) -> tuple[str, ...]:
    """SASL mechanisms to offer to this client by the site's settings, best first."""
    settings = authenticator.settings
    return mechanisms(
        tls, is_loopback(peer), scram=settings.scram, plaintext_on_loopback=settings.plaintext_on_loopback
    )


async def login(
    authenticator: Authenticator, name: str, password: str, *, protocol: str, peer: str, session: str, tls: bool
) -> AccountRecord:
    """IMAP's LOGIN and the like. Raises RookeryError: as `Authenticator.check_password`, or DENIED without TLS."""
    if "PLAIN" not in offered(authenticator, tls=tls, peer=peer):
        raise RookeryError(Cause.DENIED, "passwords need TLS")
    return await authenticator.check_password(name, password, protocol=protocol, peer=peer, session=session)


class SaslSession:
    """One SASL exchange. A cancelled one ("*") is simply dropped."""

    __slots__ = ("_account", "_attempt", "_authenticator", "_engine", "_offer", "_tls")

    def __init__(self, authenticator: Authenticator, *, protocol: str, peer: str, session: str, tls: bool) -> None:
        self._authenticator = authenticator
        self._attempt = Attempt(protocol, peer, session)
        self._tls = tls
        self._engine: PlainEngine | LoginEngine | ScramEngine | None = None
        self._offer: ScramOffer | None = None
        self._account: AccountRecord | None = None

    async def start(self, mechanism: str, initial: bytes | None) -> SaslStep:
        """`mechanism` in any case. `initial`: the decoded initial response, b"" for "=", None for none."""
        name = mechanism.upper()
        if name not in offered(self._authenticator, tls=self._tls, peer=self._attempt.peer):
            if name in _PLAINTEXT:
                return Rejected(Cause.DENIED, "passwords need TLS")
            return Rejected(Cause.UNSUPPORTED, "no such mechanism")
        if name == "PLAIN":
            self._engine = PlainEngine()
        elif name == "LOGIN":
            self._engine = LoginEngine()
        else:
            self._engine = ScramEngine(base64.b64encode(self._authenticator.random(NONCE_SIZE)).decode("ascii"))
        return await self._take(self._engine.start(initial))

    async def answer(self, data: bytes) -> SaslStep:
        """The client's decoded answer to the last Challenge."""
        engine, offer = self._engine, self._offer
        if engine is None:
            return Rejected(Cause.INVALID, "no exchange is under way")
        if isinstance(engine, ScramEngine) and offer is not None and self._account is None:
            return await self._proof(engine, offer, data)
        return await self._take(engine.answer(data))

    async def _take(self, step: Step) -> SaslStep:
        if isinstance(step, Challenge):
            return step
        if isinstance(step, NeedSecrets) and isinstance(self._engine, ScramEngine):
            if await self._foreign(step.authzid, step.login):
                return await self._refused("authorization", Cause.DENIED, "nobody may act as somebody else")
            self._offer = await self._authenticator.scram_offer(step.login)
            return self._engine.secrets(self._offer.secrets)
        self._engine = None
        if isinstance(step, CheckPassword):
            return await self._password(step)
        if isinstance(step, Done) and self._account is not None:
            return Accepted(self._account)
        return await self._refused("malformed", Cause.INVALID, step.what if isinstance(step, Failed) else "")

    async def _foreign(self, authzid: str, name: str) -> bool:
        return bool(authzid) and not await self._authenticator.same_account(authzid, name)

    async def _refused(self, reason: str, cause: Cause, what: str) -> Rejected:
        self._engine = None
        await self._authenticator.refuse(self._attempt, reason)
        return Rejected(cause, what)

    async def _password(self, step: CheckPassword) -> SaslStep:
        if await self._foreign(step.authzid, step.login):
            return await self._refused("authorization", Cause.DENIED, "nobody may act as somebody else")
        attempt = self._attempt
        try:
            account = await self._authenticator.check_password(
                step.login, step.password, protocol=attempt.protocol, peer=attempt.peer, session=attempt.session
            )
        except RookeryError as error:
            return Rejected(error.cause, error.what)
        return Accepted(account)

    async def _proof(self, engine: ScramEngine, offer: ScramOffer, data: bytes) -> SaslStep:
        steps: list[Step] = []

        def proves() -> bool:
            steps.append(engine.answer(data))
            return isinstance(steps[0], Proved)

        try:
            self._account = await self._authenticator.check_proof(offer, proves, self._attempt)
        except RookeryError as error:
            self._engine = None
            if steps and isinstance(steps[0], Failed) and steps[0].malformed:
                return Rejected(Cause.INVALID, steps[0].what)
            return Rejected(error.cause, error.what)
        assert isinstance(steps[0], Proved)
        return Challenge(steps[0].data)


__all__ = [
    "Accepted",
    "Challenge",
    "Rejected",
    "SaslSession",
    "SaslStep",
    "is_loopback",
    "login",
    "mechanisms",
    "offered",
]
