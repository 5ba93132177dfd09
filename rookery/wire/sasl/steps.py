"""What a SASL server engine answers to each message, and the shape that all engines share."""

from typing import Protocol, TypeAlias

import msgspec

MESSAGE_LIMIT = 8192  # octets of one decoded message from the client


class Challenge(msgspec.Struct, frozen=True):
    """Send this (base64 is the protocol's business) and hand the answer to `answer`."""

    data: bytes


class CheckPassword(msgspec.Struct, frozen=True):
    """The client says it is `login` and shows a plain password. The engine has ended; the verdict is the caller's.

    `authzid` is whom it wants to act as; "" means itself.
    """

    authzid: str
    login: str
    password: str


class NeedSecrets(msgspec.Struct, frozen=True):
    """The engine needs the keys kept for `login`: hand them to `ScramEngine.secrets`."""

    authzid: str
    login: str


class Proved(msgspec.Struct, frozen=True):
    """The client knows key number `key` of the secrets given. Send `data` as a challenge; its answer must be empty."""

    key: int
    data: bytes


class Done(msgspec.Struct, frozen=True):
    """The exchange has ended well for `login`."""

    authzid: str
    login: str


class Failed(msgspec.Struct, frozen=True):
    """The exchange is over. `what` is for the log and holds nothing that the client sent.

    `malformed`: the messages broke the mechanism's rules, as opposed to a proof that is wrong.
    """

    what: str
    malformed: bool = True


Step: TypeAlias = Challenge | CheckPassword | NeedSecrets | Proved | Done | Failed


class Engine(Protocol):
    """One exchange. `start` once, then `answer` for each message; never raises on what the peer sends."""

    def start(self, initial: bytes | None) -> Step:
        """`initial`: the initial response (RFC 4422 section 4), None when the client sent none."""
        ...

    def answer(self, data: bytes) -> Step: ...
