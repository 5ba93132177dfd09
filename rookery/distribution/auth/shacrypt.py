"""SHA-256-crypt and SHA-512-crypt, after Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512" (version 0.6).

Python 3.13 has no `crypt` module. Only to check hashes that come from elsewhere. Steps are numbered as there.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Protocol

ROUNDS_DEFAULT = 5_000
ROUNDS_LEAST = 1_000
ROUNDS_MOST = 999_999_999
SALT_LIMIT = 16

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SETTING = re.compile(r"\$([56])\$(?:rounds=(\d{1,10})\$)?([^$]*)(?:\$([./0-9A-Za-z]*))?")


class _Digest(Protocol):
    def digest(self) -> bytes: ...


class Setting:
    """A parsed "$5$rounds=N$salt$hash"; `checksum` is "" when there was none."""

    __slots__ = ("checksum", "rounds", "rounds_given", "salt", "variant")

    def __init__(self, text: str) -> None:
        """Raises ValueError."""
        match = _SETTING.fullmatch(text)
        if match is None:
            raise ValueError("not a SHA-crypt hash")
        self.variant = match[1]
        self.rounds_given = match[2] is not None
        self.rounds = min(max(int(match[2]), ROUNDS_LEAST), ROUNDS_MOST) if match[2] else ROUNDS_DEFAULT
        self.salt = match[3][:SALT_LIMIT]
        self.checksum = match[4] or ""


def sha_crypt(password: bytes, setting: Setting) -> str:
    """The whole hash, "$5$..." or "$6$...". Takes time in proportion to the rounds times the password's length."""
    hash_, size = (hashlib.sha256, 32) if setting.variant == "5" else (hashlib.sha512, 64)
    salt = setting.salt.encode()
    digest = _digest(hash_, size, password, salt, setting.rounds)
    rounds = f"rounds={setting.rounds}$" if setting.rounds_given else ""
    text = _encode_256(digest) if setting.variant == "5" else _encode_512(digest)
    return f"${setting.variant}${rounds}{setting.salt}${text}"


def _repeat(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _digest(hash_: Callable[[bytes], _Digest], size: int, password: bytes, salt: bytes, rounds: int) -> bytes:
    b = hash_(password + salt + password).digest()  # 4 to 8
    message = password + salt + _repeat(b, len(password))  # 1 to 3, 9, 10
    length = len(password)
    while length:  # 11
        message += b if length & 1 else password
        length >>= 1
    a = hash_(message).digest()  # 12
    p = _repeat(hash_(password * len(password)).digest(), len(password))  # 13 to 16
    s = _repeat(hash_(salt * (16 + a[0])).digest(), len(salt))  # 17 to 20
    # 21: what the rounds join around A depends on the round's number modulo 42 only.
    heads, tails = [], []
    for i in range(42):
        middle = (s if i % 3 else b"") + (p if i % 7 else b"")
        heads.append(p + middle if i & 1 else b"")
        tails.append(b"" if i & 1 else middle + p)
    whole, rest = divmod(rounds, 42)
    pairs = list(zip(heads, tails, strict=True))
    for _ in range(whole):
        for head, tail in pairs:
            a = hash_(head + a + tail).digest()
    for head, tail in pairs[:rest]:
        a = hash_(head + a + tail).digest()
    assert len(a) == size
    return a


def encode_24(a: int, b: int, c: int, count: int) -> str:
    """`count` characters of crypt's base 64, lowest bits first."""
    word = a << 16 | b << 8 | c
    return "".join(_ALPHABET[word >> (6 * i) & 63] for i in range(count))


def _encode_256(d: bytes) -> str:
    """22: the order of the octets goes round in steps of ten."""
    parts, a, b, c = [], 0, 10, 20
    for _ in range(10):
        parts.append(encode_24(d[a], d[b], d[c], 4))
        a, b, c = c + 1, a + 1, b + 1
    return "".join(parts) + encode_24(0, d[31], d[30], 3)


def _encode_512(d: bytes) -> str:
    parts, a, b, c = [], 0, 21, 42
    for _ in range(21):
        parts.append(encode_24(d[a], d[b], d[c], 4))
        a, b, c = b + 1, c + 1, a + 1
    return "".join(parts) + encode_24(0, 0, d[63], 2)
