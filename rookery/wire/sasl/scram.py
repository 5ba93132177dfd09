"""SCRAM-SHA-256, server side (RFC 5802, RFC 7677). Pure: the nonce comes in, keys are handed in by the caller.

An account may have several passwords (app passwords): all share one salt and iteration count, so that one
server-first message fits them all, and the proof is tried against each key. Channel binding (-PLUS) is not offered.
"""

import base64
import binascii
import hashlib
import hmac
import re

import msgspec

from rookery.wire.sasl.saslprep import saslprep
from rookery.wire.sasl.steps import MESSAGE_LIMIT, Challenge, Done, Failed, NeedSecrets, Proved, Step

NAME = "SCRAM-SHA-256"
KEYS_LIMIT = 64  # proofs tried in one exchange

_VALUE_CHARACTERS = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")  # RFC 5802 section 7: printable, without ","
_ATTRIBUTE = re.compile(rb"[A-Za-z]=")
_NONCE_LIMIT = 512


class ScramKey(msgspec.Struct, frozen=True):
    """What the server keeps of one password (RFC 5802 section 3); neither half lets anybody log in elsewhere."""

    stored: bytes
    server: bytes


class ScramSecrets(msgspec.Struct, frozen=True):
    """All keys of one account. An unknown account has none, and a salt that never changes."""

    salt: bytes
    iterations: int
    keys: tuple[ScramKey, ...] = ()


def derive_key(password: str, salt: bytes, iterations: int) -> ScramKey:
    """SaltedPassword, StoredKey, ServerKey of RFC 5802 section 3. Milliseconds of work: not for the event loop."""
    try:
        password = saslprep(password)
    except ValueError:
        pass  # a password that SASLprep refuses is used as it is; such a client cannot be helped otherwise
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("utf-8", "surrogatepass"), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return ScramKey(hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256"))


class ScramEngine:
    """One exchange: start -> NeedSecrets -> secrets() -> Challenge -> answer -> Proved -> answer(b"") -> Done."""

    __slots__ = ("_authzid", "_client_first_bare", "_gs2", "_login", "_nonce", "_secrets", "_server_first", "_state")

    def __init__(self, server_nonce: str) -> None:
        """`server_nonce`: printable ASCII without commas, at least 18 random octets' worth."""
        self._nonce = server_nonce.encode("ascii")
        self._state = "first"
        self._gs2 = b""
        self._authzid = self._login = ""
        self._client_first_bare = self._server_first = b""
        self._secrets = ScramSecrets(b"", 0)

    def start(self, initial: bytes | None) -> Step:
        return Challenge(b"") if initial is None else self.answer(initial)

    def answer(self, data: bytes) -> Step:
        state, self._state = self._state, "over"
        if len(data) > MESSAGE_LIMIT:
            return Failed("SCRAM: message too long")
        if state == "first":
            return self._client_first(data)
        if state == "final":
            return self._client_final(data)
        if state == "proved":
            return Failed("SCRAM: text after the exchange") if data else Done(self._authzid, self._login)
        return Failed("SCRAM: the exchange is over")

    def _client_first(self, data: bytes) -> Step:
        """gs2-cbind-flag "," [authzid] "," [reserved-mext ","] username "," nonce ["," extensions]"""
        parts = data.split(b",")
        if len(parts) < 4:
            return Failed("SCRAM: client-first-message is incomplete")
        flag, authzid, user, nonce = parts[:4]
        if flag.startswith(b"p="):
            return Failed("SCRAM: channel binding is not offered")
        if flag not in (b"n", b"y"):  # y: the client could bind but saw no -PLUS offered, which is the truth
            return Failed("SCRAM: bad channel binding flag")
        if user.startswith(b"m="):
            return Failed("SCRAM: mandatory extension")
        if authzid and not authzid.startswith(b"a="):
            return Failed("SCRAM: bad authorization identity")
        if not user.startswith(b"n=") or not nonce.startswith(b"r="):
            return Failed("SCRAM: user name or nonce is missing")
        if len(nonce) > _NONCE_LIMIT or not _VALUE_CHARACTERS.fullmatch(nonce, 2):
            return Failed("SCRAM: bad nonce")
        if any(not _ATTRIBUTE.match(extension) for extension in parts[4:]):
            return Failed("SCRAM: bad extension")
        login, wanted = _saslname(user[2:]), _saslname(authzid[2:]) if authzid else ""
        if not login or wanted is None or (authzid and not wanted):
            return Failed("SCRAM: bad name")
        self._gs2 = flag + b"," + authzid + b","
        self._client_first_bare = data[len(self._gs2) :]
        self._nonce = nonce[2:] + self._nonce
        self._authzid, self._login = wanted, login
        self._state = "secrets"
        return NeedSecrets(wanted, login)

    def secrets(self, secrets: ScramSecrets) -> Challenge:
        """server-first-message, with the keys that the proof will be tried against."""
        assert self._state == "secrets", "secrets belong after NeedSecrets"
        self._secrets = secrets
        salt = base64.b64encode(secrets.salt)
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, secrets.iterations)
        self._state = "final"
        return Challenge(self._server_first)

    def _client_final(self, data: bytes) -> Step:
        """client-final-message = channel-binding "," nonce ["," extensions] "," proof"""
        without_proof, comma, proof_text = data.rpartition(b",p=")
        parts = without_proof.split(b",")
        if not comma or len(parts) < 2:
            return Failed("SCRAM: client-final-message is incomplete")
        if parts[0] != b"c=" + base64.b64encode(self._gs2):
            return Failed("SCRAM: channel bindings do not match")
        if not hmac.compare_digest(parts[1], b"r=" + self._nonce):
            return Failed("SCRAM: nonce does not match")
        if any(not _ATTRIBUTE.match(extension) for extension in parts[2:]):
            return Failed("SCRAM: bad extension")
        try:
            proof = base64.b64decode(proof_text, validate=True)
        except binascii.Error:
            return Failed("SCRAM: proof is not base64")
        if len(proof) != 32:
            return Failed("SCRAM: proof has the wrong length")
        signed = b",".join((self._client_first_bare, self._server_first, without_proof))
        found = -1
        for number, key in enumerate(self._secrets.keys[:KEYS_LIMIT]):
            signature = hmac.digest(key.stored, signed, "sha256")
            client = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
            if hmac.compare_digest(hashlib.sha256(client).digest(), key.stored):
                found = number
        if found < 0:
            return Failed("SCRAM: proof is wrong", malformed=False)
        verifier = hmac.digest(self._secrets.keys[found].server, signed, "sha256")
        self._state = "proved"
        return Proved(found, b"v=" + base64.b64encode(verifier))


def _saslname(data: bytes) -> str | None:
    """saslname of RFC 5802 section 7: "=2C" is a comma, "=3D" an equals sign, any other "=" is wrong. None: refused."""
    if b"\0" in data:
        return None
    if data.count(b"=") != data.count(b"=2C") + data.count(b"=3D"):
        return None
    try:
        return saslprep(data.replace(b"=2C", b",").replace(b"=3D", b"=").decode())
    except ValueError:  # UnicodeDecodeError is one
        return None
