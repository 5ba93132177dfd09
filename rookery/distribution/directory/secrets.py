"""From passwords as they are handed in to the rows that are kept: hashes, SCRAM keys, the steady salt.

Hashing runs in the hasher's threads; nothing here touches the database.
"""

import base64
import hmac

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import RandomBytes
from rookery.distribution.auth import schemes
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.rules_credentials import NewCredential, ScramData
from rookery.distribution.directory.values import Credentials, Hashed, Secret
from rookery.wire.sasl.saslprep import saslprep
from rookery.wire.sasl.scram import ScramKey, derive_key

PASSWORD_LEAST = 1  # characters; how good a password must be is the site's affair
SALT_SIZE = 16
ID_SIZE = 16
APP_PASSWORD_SIZE = 20  # characters of 5 bits
_APP_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def prepare(password: str) -> bytes:
    """The octets that are hashed: SASLprep where it applies, the text itself where it refuses.

    Raises RookeryError(INVALID or TOO_BIG) for what no client can send: empty, NUL, beyond 1,024 octets.
    """
    if len(password) < PASSWORD_LEAST or "\0" in password:
        raise RookeryError(Cause.INVALID, "a password is not empty and holds no NUL")
    if len(password) > schemes.PASSWORD_LIMIT:
        raise RookeryError(Cause.TOO_BIG, f"a password has at most {schemes.PASSWORD_LIMIT} octets")
    try:
        password = saslprep(password)
    except ValueError:
        pass
    try:
        data = password.encode()
    except UnicodeEncodeError:
        raise RookeryError(Cause.INVALID, "a password is Unicode text") from None
    if not data or len(data) > schemes.PASSWORD_LIMIT:
        raise RookeryError(Cause.TOO_BIG, f"a password has 1 to {schemes.PASSWORD_LIMIT} octets")
    return data


def scram_text(key: ScramKey) -> str:
    return base64.b64encode(key.stored + key.server).decode("ascii")


def scram_key(text: str) -> ScramKey:
    data = base64.b64decode(text)
    return ScramKey(data[:32], data[32:])


class Secrets:
    """Makes credentials. `iterations`: of every SCRAM key of the site; `keyed`: whether they are made now."""

    __slots__ = ("_hasher", "_random", "_site_secret", "iterations", "keyed")

    def __init__(
        self, hasher: Hasher, random: RandomBytes, site_secret: bytes, iterations: int, *, keyed: bool
    ) -> None:
        self._hasher = hasher
        self._random = random
        self._site_secret = site_secret
        self.iterations = iterations
        self.keyed = keyed

    def use(self, site_secret: bytes, iterations: int) -> None:
        """Those of the site, of which this directory is a copy."""
        self._site_secret, self.iterations = site_secret, iterations

    def new_id(self) -> bytes:
        return self._random(ID_SIZE)

    def steady_salt(self, name: str) -> bytes:
        """The SCRAM salt of an address, known or not: the same for ever, so that asking tells nothing.

        An account keeps the salt that its address had when its first key was made.
        """
        return hmac.digest(self._site_secret, b"scram salt\0" + name.encode("utf-8", "replace"), "sha256")[:SALT_SIZE]

    def _salt(self, address: str, have: Credentials | None) -> tuple[bytes, int]:
        if have is not None and have.scram_salt:
            return have.scram_salt, have.scram_iterations
        return self.steady_salt(address), self.iterations

    async def make(self, secret: Secret, address: str, have: Credentials | None = None) -> NewCredential:
        """A password's row with its hash, and its SCRAM key where those are kept.

        Raises RookeryError: INVALID, TOO_BIG, UNSUPPORTED (the hash or password cannot be used), BUSY.
        """
        if isinstance(secret, Hashed):
            return NewCredential(self.new_id(), await self._hashed(secret.data))
        password = prepare(secret.password)
        salt, iterations = self._salt(address, have)

        def work() -> tuple[str, ScramKey | None]:
            key = derive_key(password.decode(), salt, iterations) if self.keyed else None
            return schemes.make(password), key

        data, key = await self._hasher.run(work)
        return NewCredential(self.new_id(), data, scram=self._scram(key, salt, iterations))

    async def _hashed(self, data: str) -> str:
        """The hash as it will be kept: with its prefix, and never a password in plain text."""
        parsed = schemes.parse(data)
        if parsed.plain is not None:
            return await self._hasher.make(prepare(parsed.plain).decode())
        return data if data.startswith("{") else "{CRYPT}" + data

    def _scram(self, key: ScramKey | None, salt: bytes, iterations: int) -> ScramData | None:
        return None if key is None else ScramData(self.new_id(), salt, iterations, scram_text(key))

    async def make_app_password(self, label: str, address: str, have: Credentials | None) -> tuple[str, NewCredential]:
        """A new app password and its row: 100 random bits, so a fast hash is as good as a slow one."""
        number = int.from_bytes(self._random(13), "big")
        password = "".join(_APP_ALPHABET[(number >> (5 * i)) & 31] for i in range(APP_PASSWORD_SIZE))
        salt, iterations = self._salt(address, have)
        key = None
        if self.keyed:
            key = await self._hasher.run(lambda: derive_key(password, salt, iterations))
        data = schemes.make_fast(password.encode(), self._random(SALT_SIZE))
        return password, NewCredential(self.new_id(), data, label, self._scram(key, salt, iterations))

    async def refresh(
        self, password: bytes, address: str, have: Credentials, rehash: bool
    ) -> tuple[str | None, ScramData | None]:
        """After a proof: a new hash if wanted, and the SCRAM key if those are kept."""
        salt, iterations = self._salt(address, have)

        def work() -> tuple[str | None, ScramKey | None]:
            key = derive_key(password.decode(), salt, iterations) if self.keyed else None
            return schemes.make(password) if rehash else None, key

        data, key = await self._hasher.run(work)
        return data, self._scram(key, salt, iterations)
