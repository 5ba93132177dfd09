"""The login itself: who is it, may it guess, does the password fit; the same cost and words whoever is named.

Order of a password check: name -> account -> remembered? -> budget -> hash in the pool -> remember, rehash, last login.
Nothing that is answered to a failed login depends on whether the account exists, neither text nor time. Every failure
and every refusal for lack of budget is one log line, event `login-failed` with field `address`, which fail2ban reads
(docs/fail2ban.md).
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from rookery.base.clock import Clock
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import AccountId, RandomBytes, system_random
from rookery.base.log import logger
from rookery.distribution.auth import schemes
from rookery.distribution.auth.abuse import Abuse, AbuseSettings, Elsewhere, Guess, network_of
from rookery.distribution.auth.hasher import DUMMY, Hasher
from rookery.distribution.auth.remembered import LIFETIME, Remembered
from rookery.distribution.directory import acts
from rookery.distribution.directory.addresses import Address, parse_address
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.rules_credentials import Refresh
from rookery.distribution.directory.secrets import prepare, scram_key
from rookery.distribution.directory.values import (
    AccountRecord,
    AccountState,
    Credential,
    CredentialKind,
    Credentials,
)
from rookery.wire.sasl.scram import ScramSecrets

log = logger("auth")

LOGIN_LIMIT = 320  # characters of a login name that are looked at
_IMPROVE_BELOW = 8  # pieces of work in the hasher: with more, rehashing waits for the next login
_DUMMY = schemes.parse(DUMMY)


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """`scram`: offer SCRAM-SHA-256. `plaintext_on_loopback`: passwords without TLS from this machine."""

    scram: bool = False
    plaintext_on_loopback: bool = True
    remember: float = LIFETIME  # seconds
    abuse: AbuseSettings = field(default_factory=AbuseSettings)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Where a login comes from. `peer`: the client's address, "" for an in-memory stream."""

    protocol: str
    peer: str
    session: str


class Herd(Protocol):
    """Another backend that remembers checks too, and may be asked for them (service/herd.py)."""

    async def knows(self, account: AccountId, version: int, password: bytes) -> bool: ...

    def tell(self, account: AccountId, version: int, password: bytes) -> None: ...


class Authenticator:
    """One for all protocols of a node. `herd`: None where there is no other backend."""

    def __init__(
        self,
        directory: Directory,
        hasher: Hasher,
        *,
        clock: Clock,
        settings: AuthSettings | None = None,
        random: RandomBytes = system_random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings or AuthSettings()
        self.random = random
        self._directory = directory
        self._hasher = hasher
        self._clock = clock
        self._sleep = sleep
        self._abuse = Abuse(clock, self.settings.abuse)
        self.herd: Herd | None = None
        self.remembered = Remembered(clock, random=random, lifetime=self.settings.remember)
        self._looking: dict[str, asyncio.Future[tuple[str, AccountRecord | None]]] = {}
        self._running: dict[bytes, asyncio.Task[Credential | None]] = {}
        self._improving: set[bytes] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def count_elsewhere(self, elsewhere: Elsewhere) -> None:
        """Guesses of a network at other nodes count here, too."""
        self._abuse.elsewhere = elsewhere

    # --- names ---

    async def _find(self, login: str) -> tuple[str, AccountRecord | None]:
        """The canonical name (also of an account that does not exist), and the account if anybody can log in to it."""
        name = login[:LOGIN_LIMIT].strip()
        looking = self._looking.get(name)
        if looking is not None:
            await asyncio.wait({looking})  # a phone and its mail programs come together: then it is in memory
        look = partial(_named, name=name)
        found = self._directory.ask(look)
        if isinstance(found, tuple):
            return found
        task = self._looking[name] = asyncio.ensure_future(found)
        try:
            return await task
        finally:
            if self._looking.get(name) is task:
                del self._looking[name]

    async def _now(self, record: AccountRecord | None) -> AccountRecord | None:
        """The same account as it is now: a check takes its time."""
        if record is None:
            return None
        account = record.account
        return await self._directory.find(lambda directory: directory.account_by_id(account))

    async def _credentials(self, record: AccountRecord) -> Credentials | None:
        return await self._directory.find(lambda directory: directory.credentials(record.account))

    def _need_credentials(self, record: AccountRecord | None) -> None:
        """Raises RookeryError(MOVED): a node that keeps the whole directory is to be asked."""
        if record is not None and not self._directory.holds_credentials(record.account):
            raise RookeryError(Cause.MOVED, "logins of this account are checked by nodes with the whole directory")

    async def same_account(self, one: str, other: str) -> bool:
        """Whether two login names mean the same account (an authorization identity may be spelt otherwise)."""
        return (await self._find(one))[0] == (await self._find(other))[0]

    # --- passwords ---

    async def check_password(
        self, login: str, password: str, *, protocol: str, peer: str, session: str
    ) -> AccountRecord:
        """The account that `login` and `password` open.

        Raises RookeryError: MOVED where the account's credentials are not held, else BAD_CREDENTIALS, TOO_MANY (no
        budget left), BUSY (too many checks wait), each after the delay that is due. `password` is bounded; a longer
        one is wrong like any other.
        """
        started = self._clock.monotonic()
        attempt = Attempt(protocol, peer, session)
        name, record = await self._find(login)
        self._need_credentials(record)
        data = _octets(password)
        owner = record.account if record is not None else name.encode("utf-8", "replace")
        digest = self.remembered.digest(owner, data)
        active = record is not None and record.state is AccountState.ACTIVE
        if record is not None and active and self.remembered.knows(record.account, record.version, digest):
            return self._welcome(record, attempt)
        guess = await self._may_guess(name, record, attempt, started)
        try:
            elsewhere = record is not None and active and await self._known_elsewhere(record, data)
            found = None if elsewhere else await self._prove_once(digest, record, password, data)
        except BaseException:
            guess.void()
            raise
        now = await self._now(record)
        if (found is None and not elsewhere) or record is None or now is None or now.version != record.version:
            await self._fail(guess.network, name, attempt, started, "credentials")
            raise RookeryError(Cause.BAD_CREDENTIALS)
        guess.right()
        self.remembered.remember(record.account, record.version, digest)
        if found is not None:
            if self.herd is not None:
                self.herd.tell(record.account, record.version, data)
            await self._improve(record, found, data)
        return self._welcome(now, attempt)

    async def _known_elsewhere(self, record: AccountRecord, data: bytes) -> bool:
        return self.herd is not None and bool(data) and await self.herd.knows(record.account, record.version, data)

    async def _may_guess(self, name: str, record: AccountRecord | None, attempt: Attempt, started: float) -> Guess:
        network, key = network_of(attempt.peer), _account_key(name)
        if record is not None and network and not self._abuse.is_home(network, key):
            account = record.account
            last = await self._directory.find(lambda directory: directory.last_login(account))
            if last is not None and network_of(last.address) == network:
                self._abuse.learn_home(network, key)
        guess = self._abuse.guess(network, key)
        if guess is None:
            await self._fail(network, name, attempt, started, "limited")
            raise RookeryError(Cause.TOO_MANY, "too many failed logins")
        return guess

    async def _fail(self, network: str, name: str, attempt: Attempt, started: float, reason: str) -> None:
        """Log, and wait until the answer is due: counted from the start, so that the check's own time is hidden."""
        # The address comes first: what follows is the client's to choose, and fail2ban must not be led astray.
        log.info(
            "login-failed",
            address=attempt.peer,
            protocol=attempt.protocol,
            session=attempt.session,
            reason=reason,
            login=name,
        )
        due = started + self._abuse.delay(network, _account_key(name))
        await self._sleep(max(0.0, due - self._clock.monotonic()))

    async def refuse(self, attempt: Attempt, reason: str) -> None:
        """Note a login that broke a mechanism's rules or asked for what it may not: no password was checked."""
        network = network_of(attempt.peer)
        self._abuse.guess(network, b"")
        await self._fail(network, "", attempt, self._clock.monotonic(), reason)

    def _welcome(self, record: AccountRecord, attempt: Attempt) -> AccountRecord:
        self._directory.record_login(record.account, attempt.protocol, attempt.peer)
        log.info(
            "login",
            address=attempt.peer,
            protocol=attempt.protocol,
            session=attempt.session,
            account=record.address,
        )
        return record

    async def _prove_once(
        self, digest: bytes, record: AccountRecord | None, password: str, data: bytes
    ) -> Credential | None:
        """A client that opens ten connections at once costs one check."""
        task = self._running.get(digest)
        if task is None:
            task = asyncio.create_task(self._prove(record, password, data))
            self._running[digest] = task
            task.add_done_callback(lambda _: self._running.pop(digest, None))
        return await asyncio.shield(task)

    async def _prove(self, record: AccountRecord | None, password: str, data: bytes) -> Credential | None:
        """The credential that fits. Fast hashes first, then the slow ones; where there is none, a dummy."""
        fast: list[tuple[Credential, schemes.Hash]] = []
        slow: list[tuple[Credential, schemes.Hash]] = []
        if record is not None and record.state is AccountState.ACTIVE and data:
            for row in _passwords(await self._credentials(record)):
                parsed = _parsed(row, record)
                if parsed is not None:
                    (fast if parsed.fast else slow).append((row, parsed))
        # A hash from elsewhere may have been made of the octets as typed.
        typed = password.encode("utf-8", "replace")[: schemes.PASSWORD_LIMIT]
        forms = (data,) if typed == data else (data, typed)
        for row, parsed in fast:
            if any(parsed.check(form) for form in forms):
                return row

        def work() -> Credential | None:
            for row, parsed in slow:
                if any(parsed.check(form) for form in (forms[:1] if parsed.current else forms)):
                    return row
            if not slow:
                _DUMMY.check(data)
            return None

        return await self._hasher.run(work)

    # --- after a proof ---

    async def _improve(self, record: AccountRecord, row: Credential, data: bytes) -> None:
        """Rehash to argon2id, make the SCRAM key, if either is due; in the background, when there is room."""
        have = await self._credentials(record)
        if have is None or self._hasher.waiting > _IMPROVE_BELOW or row.id in self._improving:
            return
        parsed = _parsed(row, record)
        rehash = row.kind is CredentialKind.PASSWORD and parsed is not None and not parsed.current
        keyed = any(other.kind is CredentialKind.SCRAM and other.parent == row.id for other in have.rows)
        if not rehash and (keyed or not self._directory.secrets.keyed):
            return
        self._improving.add(row.id)
        task = asyncio.create_task(self._refresh(record, row, data, have, rehash))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refresh(
        self, record: AccountRecord, row: Credential, data: bytes, have: Credentials, rehash: bool
    ) -> None:
        try:
            new, scram = await self._directory.secrets.refresh(data, record.address, have, rehash)
            act = Refresh(record.account, row.id, row.data, new or row.data, scram, self._directory.now())
            await self._directory.act(acts.REFRESH, act)
        except RookeryError as error:
            log.refused("rehash-failed", error.refusal, account=record.address)  # tried again at the next login
        finally:
            self._improving.discard(row.id)

    async def settle(self) -> None:
        """Wait for the rehashing that is under way; before the directory closes."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    # --- SCRAM ---

    async def scram_offer(self, login: str) -> "ScramOffer":
        """The keys of an account; for a name without keys, known or not, a salt that never changes, as many times."""
        name, record = await self._find(login)
        self._need_credentials(record)
        have = await self._credentials(record) if record is not None else None
        if record is not None and record.state is AccountState.ACTIVE and have is not None and have.scram_salt:
            keys = tuple(scram_key(row.data) for row in have.rows if row.kind is CredentialKind.SCRAM)
            return ScramOffer(name, record, ScramSecrets(have.scram_salt, have.scram_iterations, keys))
        secrets = self._directory.secrets
        return ScramOffer(name, record, ScramSecrets(secrets.steady_salt(name), secrets.iterations))

    async def check_proof(self, offer: "ScramOffer", proves: Callable[[], bool], attempt: Attempt) -> AccountRecord:
        """`proves` says whether the client's proof fits one of the keys offered. Raises as `check_password`."""
        started = self._clock.monotonic()
        guess = await self._may_guess(offer.name, offer.record, attempt, started)
        record = offer.record
        now = await self._now(record)
        if not proves() or record is None or now is None or now.version != record.version:
            await self._fail(guess.network, offer.name, attempt, started, "credentials")
            raise RookeryError(Cause.BAD_CREDENTIALS)
        guess.right()
        return self._welcome(now, attempt)


@dataclass(frozen=True, slots=True)
class ScramOffer:
    """What one SCRAM exchange works with. `record` None: no such account."""

    name: str
    record: AccountRecord | None
    secrets: ScramSecrets


def _named(directory: Directory, name: str) -> tuple[str, AccountRecord | None]:
    """Reads also what a check of the password will."""
    record = directory.login_account(name)
    if record is not None:
        directory.credentials(record.account)
        return record.address, record
    if "@" not in name and (domain := directory.default_domain):
        name = f"{name}@{domain}"
    try:
        address = parse_address(name)
    except RookeryError:
        return name.lower(), None
    found = directory.domain(address.domain)  # an account has one name under all names of its domain
    return str(Address(address.local, found.name if found is not None else address.domain)), None


def _octets(password: str) -> bytes:
    """The octets to check; b"", which fits nothing, for what no password can be."""
    try:
        return prepare(password)
    except RookeryError:
        return b""


def _account_key(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=16).digest()


def _passwords(have: Credentials | None) -> list[Credential]:
    return [row for row in have.rows if row.kind is not CredentialKind.SCRAM] if have is not None else []


def _parsed(row: Credential, record: AccountRecord) -> schemes.Hash | None:
    try:
        return schemes.parse(row.data)
    except RookeryError as error:
        log.error("hash-unusable", account=record.address, label=row.label, cause=error.cause.value, what=error.what)
        return None
