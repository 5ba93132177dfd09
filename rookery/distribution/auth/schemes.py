"""Password hashes with Dovecot's "{SCHEME}" prefixes: read, checked, and for argon2id made.

`parse` says at the door whether a hash can be used and bounds its cost; `verify` takes what `parse` has seen. Both are
pure. `verify` may take a tenth of a second: it belongs in the hasher's threads, not on the event loop.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable

import argon2
import bcrypt
import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.auth.md5crypt import md5_crypt
from rookery.distribution.auth.shacrypt import Setting, sha_crypt
from rookery.wire.sasl.scram import derive_key

PASSWORD_LIMIT = 1024  # octets; longer ones are refused before any hashing
HASH_LIMIT = 1024  # characters
SHA_CRYPT_ROUNDS_LIMIT = 500_000  # about half a second; the standard allows two thousand times more
PBKDF2_ROUNDS_LIMIT = 5_000_000
BCRYPT_COST_LIMIT = 14
ARGON2_MEMORY_LIMIT = 256 * 1024  # KiB
ARGON2_WORK_LIMIT = 1024 * 1024  # KiB times passes

ARGON2_MEMORY = 19 * 1024  # KiB
ARGON2_PASSES = 2
ARGON2_LANES = 1

_ARGON = argon2.PasswordHasher(
    time_cost=ARGON2_PASSES, memory_cost=ARGON2_MEMORY, parallelism=ARGON2_LANES, hash_len=32, salt_len=16
)
_PREFIXED = re.compile(r"\{([A-Za-z0-9-]{1,32})(?:\.([A-Za-z0-9]{1,6}))?\}(.*)", re.DOTALL)
_ARGON_FORM = re.compile(
    r"\$argon2(?:id|i|d)\$v=\d+\$m=(\d{1,8}),t=(\d{1,6}),p=(\d{1,4})\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+"
)
_BCRYPT_FORM = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
_DIGESTS = {
    "SHA": "sha1",
    "SHA1": "sha1",
    "SHA256": "sha256",
    "SHA512": "sha512",
    "SSHA": "sha1",
    "SSHA256": "sha256",
    "SSHA512": "sha512",
    "SMD5": "md5",
    "LDAP-MD5": "md5",
    "PLAIN-MD5": "md5",
}
_SALTED = frozenset({"SSHA", "SSHA256", "SSHA512", "SMD5"})
_HEX = frozenset({"PLAIN-MD5"})
_CRYPT = frozenset({"CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "MD5-CRYPT", "MD5", "BLF-CRYPT", "ARGON2ID", "ARGON2I"})
_PLAIN = frozenset({"PLAIN", "CLEAR", "CLEARTEXT"})


class Hash(msgspec.Struct, frozen=True):
    """A hash that can be checked. `scheme` in capitals; `check` says whether a password fits.

    `current`: argon2id with today's parameters, needs no rehash. `plain`: the password itself, at an import.
    `fast`: one digest, microseconds.
    """

    scheme: str
    check: Callable[[bytes], bool]
    current: bool = False
    plain: str | None = None
    fast: bool = False


def looks_hashed(text: str) -> bool:
    """Whether an import means a hash: "{SCHEME}..." or "$id$..."."""
    return _PREFIXED.fullmatch(text) is not None or re.match(r"\$(1|5|6|2[abxy]|argon2[a-z]*)\$", text) is not None


def parse(text: str) -> Hash:
    """Raises RookeryError: INVALID (broken), UNSUPPORTED (scheme), TOO_BIG (more work than a login may cost)."""
    if len(text) > HASH_LIMIT:
        raise RookeryError(Cause.TOO_BIG, f"a password hash has at most {HASH_LIMIT} characters")
    match = _PREFIXED.fullmatch(text)
    scheme, encoding, rest = (match[1].upper(), (match[2] or "").upper(), match[3]) if match else ("CRYPT", "", text)
    try:
        if encoding and encoding not in ("HEX", "B64", "BASE64"):
            raise ValueError("unknown encoding")
        return _parse(scheme, encoding, rest)
    except (ValueError, binascii.Error):
        raise RookeryError(Cause.INVALID, f"this is not a hash of the scheme {scheme}") from None


def _parse(scheme: str, encoding: str, rest: str) -> Hash:
    if scheme in _DIGESTS:
        return _digest(scheme, encoding, rest)
    if encoding:
        rest = _decode(encoding, rest).decode()
    if scheme in _CRYPT:
        return _crypt(rest)
    if scheme in _PLAIN:
        kept = rest.encode()
        return Hash(scheme, lambda password: hmac.compare_digest(password, kept), plain=rest)
    if scheme == "PBKDF2":
        return _pbkdf2(rest)
    if scheme == "SCRAM-SHA-256":
        return _scram(rest)
    raise RookeryError(Cause.UNSUPPORTED, f"the password scheme {scheme} is not supported")


def _decode(encoding: str, text: str) -> bytes:
    return bytes.fromhex(text) if encoding == "HEX" else base64.b64decode(text, validate=True)


def _digest(scheme: str, encoding: str, rest: str) -> Hash:
    """{SHA512} digest, {SSHA512} digest and salt; base64 unless the scheme or a suffix says hexadecimal."""
    name = _DIGESTS[scheme]
    size = hashlib.new(name, usedforsecurity=False).digest_size
    data = _decode(encoding or ("HEX" if scheme in _HEX else "B64"), rest)
    if len(data) < size or (len(data) > size and scheme not in _SALTED) or (scheme in _SALTED and len(data) == size):
        raise ValueError("wrong length")
    digest, salt = data[:size], data[size:]
    return Hash(
        scheme,
        lambda password: hmac.compare_digest(
            hashlib.new(name, password + salt, usedforsecurity=False).digest(), digest
        ),
        fast=True,
    )


def _crypt(rest: str) -> Hash:
    """Modular crypt format: the id between the first dollars decides, whatever the prefix said, as Dovecot does."""
    if rest.startswith("$argon2"):
        return _argon(rest)
    if rest.startswith("$2"):
        return _bcrypt(rest)
    if rest.startswith(("$5$", "$6$")):
        setting = Setting(rest)
        if not setting.checksum:
            raise ValueError("no checksum")
        if setting.rounds > SHA_CRYPT_ROUNDS_LIMIT:
            raise RookeryError(Cause.TOO_BIG, f"SHA-crypt with more than {SHA_CRYPT_ROUNDS_LIMIT} rounds")
        return Hash(
            "SHA256-CRYPT" if setting.variant == "5" else "SHA512-CRYPT",
            lambda password: _same(sha_crypt(password, setting).rpartition("$")[2], setting.checksum),
        )
    if rest.startswith("$1$"):
        md5_crypt(b"", rest)
        return Hash("MD5-CRYPT", lambda password: _same(md5_crypt(password, rest), rest))
    raise RookeryError(Cause.UNSUPPORTED, "of crypt hashes only $1$, $5$, $6$, $2*$ and $argon2*$ are supported")


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode())


def _argon(text: str) -> Hash:
    match = _ARGON_FORM.fullmatch(text)
    if match is None:
        raise ValueError("not an argon2 hash")
    memory, passes, lanes = int(match[1]), int(match[2]), int(match[3])
    if memory > ARGON2_MEMORY_LIMIT or memory * passes > ARGON2_WORK_LIMIT or lanes > 16:
        raise RookeryError(
            Cause.TOO_BIG, f"argon2 with m={memory}, t={passes}, p={lanes} is more than a login may cost"
        )
    argon2.extract_parameters(text)  # raises InvalidHashError, a ValueError

    def check(password: bytes) -> bool:
        try:
            return _ARGON.verify(text, password)
        except argon2.exceptions.VerificationError:
            return False

    current = text.startswith("$argon2id$") and not _ARGON.check_needs_rehash(text)
    return Hash("ARGON2ID" if text.startswith("$argon2id$") else "ARGON2", check, current)


def _bcrypt(text: str) -> Hash:
    match = _BCRYPT_FORM.fullmatch(text)
    if match is None or not 4 <= int(match[1]) <= 31:
        raise ValueError("not a bcrypt hash")
    if int(match[1]) > BCRYPT_COST_LIMIT:
        raise RookeryError(Cause.TOO_BIG, f"bcrypt with a cost of more than {BCRYPT_COST_LIMIT}")
    kept = text.encode()

    def check(password: bytes) -> bool:
        # bcrypt looks at 72 octets and ends at NUL; so does every crypt(3) that made such hashes.
        return bcrypt.checkpw(password.partition(b"\0")[0][:72], kept)

    return Hash("BLF-CRYPT", check)


def _pbkdf2(rest: str) -> Hash:
    """Dovecot: $1$salt$rounds$hexadecimal digest, PBKDF2-HMAC-SHA-1."""
    parts = rest.split("$")
    if len(parts) != 5 or parts[0] or parts[1] != "1" or not (parts[3].isascii() and parts[3].isdigit()):
        raise ValueError("not Dovecot's form")
    salt, rounds, digest = parts[2].encode(), int(parts[3]), bytes.fromhex(parts[4])
    if rounds < 1 or len(digest) != 20:
        raise ValueError("wrong length")
    if rounds > PBKDF2_ROUNDS_LIMIT:
        raise RookeryError(Cause.TOO_BIG, f"PBKDF2 with more than {PBKDF2_ROUNDS_LIMIT} rounds")
    return Hash(
        "PBKDF2", lambda password: hmac.compare_digest(hashlib.pbkdf2_hmac("sha1", password, salt, rounds), digest)
    )


def _scram(rest: str) -> Hash:
    """Dovecot: iterations,salt,StoredKey,ServerKey."""
    parts = rest.split(",")
    if len(parts) != 4 or not (parts[0].isascii() and parts[0].isdigit()):
        raise ValueError("not Dovecot's form")
    rounds = int(parts[0])
    salt, stored, server = (base64.b64decode(part, validate=True) for part in parts[1:])
    if rounds < 1 or len(stored) != 32 or len(server) != 32:
        raise ValueError("wrong length")
    if rounds > PBKDF2_ROUNDS_LIMIT:
        raise RookeryError(Cause.TOO_BIG, f"SCRAM with more than {PBKDF2_ROUNDS_LIMIT} rounds")

    def check(password: bytes) -> bool:
        return hmac.compare_digest(derive_key(password.decode("utf-8", "replace"), salt, rounds).stored, stored)

    return Hash("SCRAM-SHA-256", check)


def make(password: bytes) -> str:
    """A new argon2id hash: 19 MiB, two passes, one lane. Tens of milliseconds."""
    return "{ARGON2ID}" + _ARGON.hash(password)


def make_fast(password: bytes, salt: bytes) -> str:
    """A salted SHA-512, for secrets made here with 100 random bits: those need no slow hash."""
    digest = hashlib.sha512(password + salt).digest()
    return "{SSHA512}" + base64.b64encode(digest + salt).decode("ascii")
