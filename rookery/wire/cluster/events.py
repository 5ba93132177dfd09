"""What the engine reports. `stream` and `call` are numbers."""

from typing import TypeAlias

import msgspec

from rookery.base.errors import Refusal
from rookery.wire.cluster.values import Hello, Preface, Referral, Signal


class Greeted(msgspec.Struct, frozen=True):
    """The peer has introduced itself, and `version` is spoken from now on."""

    hello: Hello
    version: int


class Opened(msgspec.Struct, frozen=True):
    """The peer has opened a stream."""

    stream: int
    preface: Preface


class Data(msgspec.Struct, frozen=True):
    """Octets, in order. `Engine.consumed` once they are read."""

    stream: int
    data: bytes


class Ended(msgspec.Struct, frozen=True):
    """The peer sends no more on that stream; it may still read."""

    stream: int


class Urged(msgspec.Struct, frozen=True):
    """The peer, who has opened that stream, asks us to finish what has begun on it, and then to end it."""

    stream: int


class Reset(msgspec.Struct, frozen=True):
    """The stream is over, both ways."""

    stream: int
    refusal: Refusal


class Referred(msgspec.Struct, frozen=True):
    """The stream is over here and goes on elsewhere."""

    stream: int
    referral: Referral


class Credited(msgspec.Struct, frozen=True):
    """More may be sent on that stream."""

    stream: int


class Called(msgspec.Struct, frozen=True):
    """The peer asks. `Engine.answer` or `Engine.reset`."""

    call: int
    payload: bytes


class GivenUp(msgspec.Struct, frozen=True):
    """The peer no longer wants that answer."""

    call: int


class Answered(msgspec.Struct, frozen=True):
    """Our call was answered."""

    call: int
    payload: bytes


class Refused(msgspec.Struct, frozen=True):
    """Our call was refused."""

    call: int
    refusal: Refusal


class Signalled(msgspec.Struct, frozen=True):
    signal: Signal


class Ponged(msgspec.Struct, frozen=True):
    """Our PING came back."""

    token: bytes


class Farewell(msgspec.Struct, frozen=True):
    """The peer begins nothing new and takes nothing new."""

    reason: str


class Broken(msgspec.Struct, frozen=True):
    """The peer broke the rules, or no version is common; it has been told. Nothing more comes."""

    reason: str


Event: TypeAlias = (
    Greeted | Opened | Data | Ended | Urged | Reset | Referred | Credited | Called | GivenUp | Answered | Refused
    | Signalled | Ponged | Farewell | Broken
)  # fmt: skip
