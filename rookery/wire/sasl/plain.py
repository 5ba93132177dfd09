"""The mechanisms that show the password: PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login).

They end in `CheckPassword`; whether the connection is private enough is decided before an engine is made.
"""

from rookery.wire.sasl.steps import MESSAGE_LIMIT, Challenge, CheckPassword, Failed, Step

_OVER = Failed("the exchange is over")


def _text(data: bytes) -> str | None:
    """UTF-8 without NUL (RFC 4616 section 2), or None."""
    if b"\0" in data or len(data) > MESSAGE_LIMIT:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


class PlainEngine:
    """message = [authzid] NUL authcid NUL passwd"""

    __slots__ = ("_over",)

    def __init__(self) -> None:
        self._over = False

    def start(self, initial: bytes | None) -> Step:
        return Challenge(b"") if initial is None else self.answer(initial)

    def answer(self, data: bytes) -> Step:
        if self._over:
            return _OVER
        self._over = True
        if len(data) > MESSAGE_LIMIT:
            return Failed("PLAIN: message too long")
        parts = data.split(b"\0")
        if len(parts) != 3:
            return Failed("PLAIN: not three fields")
        authzid, login, password = (_text(part) for part in parts)
        if authzid is None or login is None or password is None:
            return Failed("PLAIN: not UTF-8")
        if not login or not password:
            return Failed("PLAIN: empty name or password")
        return CheckPassword(authzid, login, password)


class LoginEngine:
    """Two prompts, two answers; some clients send the name as initial response."""

    __slots__ = ("_login", "_over")

    def __init__(self) -> None:
        self._login: str | None = None
        self._over = False

    def start(self, initial: bytes | None) -> Step:
        return Challenge(b"Username:") if initial is None else self.answer(initial)

    def answer(self, data: bytes) -> Step:
        if self._over:
            return _OVER
        text = _text(data)
        if not text:
            self._over = True
            return Failed("LOGIN: empty, too long or not UTF-8")
        if self._login is None:
            self._login = text
            return Challenge(b"Password:")
        self._over = True
        return CheckPassword("", self._login, text)
