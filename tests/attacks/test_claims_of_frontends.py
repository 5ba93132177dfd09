"""A stolen frontend claims what it likes of client addresses: it can make limits a little tighter, and no more."""

import msgspec

from rookery.base.clock import ManualClock
from rookery.base.members import Member, Role
from rookery.distribution.service.claims import NODES, Claims, count
from rookery.distribution.service.signals import (
    ADDRESSES,
    BURST,
    COUNTERS,
    MEMBERS,
    NAMES,
    WANT,
    Claim,
    Count,
    Hub,
    Want,
)
from rookery.net.limits import Admission, Admissions, ConnectionLimits, Total, address_key
from rookery.wire.cluster.values import Signal
from tests.service.links import Ended

VICTIM = "192.0.2.1"


def admitted(claims: Claims, limit: int) -> int:
    """How many connections the victim gets."""
    limits = ConnectionLimits(limit, None)
    admissions = Admissions(limits, Total(), lambda key, limit: claims.elsewhere("imap", key, limit))
    return sum(isinstance(admissions.admit(VICTIM), Admission) for _ in range(2 * limit))


def everything(node: str) -> Claim:
    return Claim(node, count({"imap": [(address_key(VICTIM), 1_000_000)]}))


def test_one_takes_half_of_a_limit_and_all_together_never_the_last_quarter() -> None:
    claims = Claims(ManualClock())
    assert admitted(claims, 100) == 100
    claims.take(everything("f1"))
    assert admitted(claims, 100) == 50
    claims.take(everything("f1"))  # saying it again makes it no more
    assert admitted(claims, 100) == 50
    for number in range(200):
        claims.take(everything(f"f{number}"))
    assert [admitted(claims, limit) for limit in (100, 4, 2, 1)] == [25, 1, 1, 1]
    assert len(claims._said) == NODES


def test_nobody_lifts_the_limit_of_another() -> None:
    claims = Claims(ManualClock())
    for number in (0, -5, 2**40):
        entry = ["imap", b"\xc0\x00\x02\x01", number]
        try:
            said = msgspec.msgpack.decode(msgspec.msgpack.encode([[entry]]), type=Count)
        except msgspec.ValidationError:
            continue
        raise AssertionError(said)
    claims.take(Claim("f1", Count([])))
    assert admitted(claims, 10) == 10


def test_what_comes_too_often_or_too_long_or_from_others_is_not_passed_on() -> None:
    clock = ManualClock()
    hub = Hub(clock)
    listening = Ended(Member("f2", frozenset({Role.FRONTEND}), b"2" * 16, 0))
    hub.signalled(listening.link, Signal(WANT, msgspec.msgpack.encode(Want([COUNTERS]))))
    thief = Ended(Member("f1", frozenset({Role.FRONTEND}), b"1" * 16, 0))
    backend = Ended(Member("b1", frozenset({Role.BACKEND}), b"3" * 16, 0))
    count = msgspec.msgpack.encode(Count([("imap", b"\xc0\x00\x02\x01", 9)]))
    hub.signalled(backend.link, Signal(COUNTERS, count))
    entry = ["imap", b"\xc0\x00\x02\x01", 9]
    for data in (b"", b"\xc1", b"[]", msgspec.msgpack.encode([[entry] * (ADDRESSES + 1)]), count[:-1]):
        hub.signalled(thief.link, Signal(COUNTERS, data))
    hub.signalled(thief.link, Signal(MEMBERS))  # who says that something changed is the directory
    hub.signalled(thief.link, Signal(NAMES))
    assert listening.heard() == []
    for _ in range(100):
        hub.signalled(thief.link, Signal(COUNTERS, count))
    assert len(listening.heard()) == BURST
    clock.advance(1.0)
    hub.signalled(thief.link, Signal(COUNTERS, count))
    assert len(listening.heard()) == 1
