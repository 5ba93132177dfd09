"""A small SCRAM-SHA-256 client for tests, written from RFC 5802 apart from the server's code."""

import base64
import hashlib
import hmac


def _h(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


class ScramClient:
    def __init__(self, user: str, password: str, nonce: str = "client-nonce", gs2: str = "n,,") -> None:
        self.gs2 = gs2
        self.password = password
        self.nonce = nonce
        self.bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self.expected = b""

    def first(self) -> bytes:
        return (self.gs2 + self.bare).encode()

    def final(self, server_first: bytes) -> bytes:
        text = server_first.decode()
        r, s, i = (part[2:] for part in text.split(",", 2))
        assert r.startswith(self.nonce)
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(s), int(i))
        key = _h(salted, b"Client Key")
        bind = base64.b64encode(self.gs2.encode()).decode()
        without_proof = f"c={bind},r={r}"
        signed = f"{self.bare},{text},{without_proof}".encode()
        proof = bytes(a ^ b for a, b in zip(key, _h(hashlib.sha256(key).digest(), signed), strict=True))
        self.expected = b"v=" + base64.b64encode(_h(_h(salted, b"Server Key"), signed))
        return without_proof.encode() + b",p=" + base64.b64encode(proof)
