"""MD5-crypt ("$1$"), Poul-Henning Kamp's scheme. Only to check old hashes at an import; they are replaced at once."""

import hashlib
import re

from rookery.distribution.auth.shacrypt import encode_24

_SETTING = re.compile(r"\$1\$([^$]{0,8})[^$]*\$([./0-9A-Za-z]*)")
_ROUNDS = 1000


def md5_crypt(password: bytes, text: str) -> str:
    """The whole hash of `password` with the salt of `text`. Raises ValueError."""
    match = _SETTING.fullmatch(text)
    if match is None:
        raise ValueError("not an MD5-crypt hash")
    salt = match[1].encode()
    inner = hashlib.md5(password + salt + password).digest()
    message = password + b"$1$" + salt + (inner * (len(password) // 16 + 1))[: len(password)]
    length = len(password)
    while length:
        message += b"\0" if length & 1 else password[:1]
        length >>= 1
    digest = hashlib.md5(message).digest()
    for i in range(_ROUNDS):
        middle = (salt if i % 3 else b"") + (password if i % 7 else b"")
        digest = hashlib.md5(password + middle + digest if i & 1 else digest + middle + password).digest()
    parts = [
        encode_24(digest[a], digest[b], digest[c], 4)
        for a, b, c in ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
    ]
    return f"$1${match[1]}$" + "".join(parts) + encode_24(0, 0, digest[11], 2)
