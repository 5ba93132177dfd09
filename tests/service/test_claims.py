"""What frontends claim of client addresses, and the hub that passes it on."""

import msgspec

from rookery.base.clock import ManualClock
from rookery.base.members import Member, Role
from rookery.distribution.auth.abuse import Abuse, AbuseSettings, network_of
from rookery.distribution.service.claims import FRESH, Claims, Failures, count
from rookery.distribution.service.signals import (
    ADDRESSES,
    COUNTERS,
    MEMBERS,
    NAMES,
    WANT,
    Claim,
    Count,
    Hub,
    Want,
    read,
)
from rookery.net.limits import Admission, Admissions, ConnectionLimits, Refused, Total, address_key
from rookery.wire.cluster.values import SIGNAL_LIMIT, Signal
from tests.service.links import Ended

A, B = "192.0.2.1", "2001:db8:1:2::7"


def claim(node: str, number: int, address: str = A, listener: str = "imap") -> Claim:
    return Claim(node, count({listener: [(address_key(address), number)]}))


def test_connections_to_other_frontends_count() -> None:
    clock = ManualClock()
    claims = Claims(clock)
    admissions = Admissions(
        ConnectionLimits(10, None), Total(), lambda key, limit: claims.elsewhere("imap", key, limit)
    )
    for address in (A, B):
        claims.take(claim("f2", 4, address))
        held = [admissions.admit(address) for _ in range(7)]
        assert [type(one) for one in held] == [Admission] * 6 + [Refused]
        claims.take(claim("f2", 1, address, "submission"))  # of another listener; what it claimed before is over
        assert isinstance(admissions.admit(address), Admission)
    assert claims.nodes == 1
    clock.advance(FRESH + 0.1)
    assert claims.nodes == 0


def test_who_is_cut_off_counts_for_itself() -> None:
    clock = ManualClock()
    claims = Claims(clock)
    claims.take(claim("f2", 5))
    assert claims.elsewhere("imap", A, 10) == 5
    clock.advance(FRESH + 0.1)
    assert claims.elsewhere("imap", A, 10) == 0


def test_only_the_largest_are_told_and_they_fit_a_signal() -> None:
    many = [(address_key(f"2001:db8:{n:x}::1"), n + 1_000) for n in range(3 * ADDRESSES)]
    told = count({"submissions": many})
    assert [number for _, _, number in told.connections][:2] == [3 * ADDRESSES + 999, 3 * ADDRESSES + 998]
    assert len(told.connections) == ADDRESSES
    assert len(msgspec.msgpack.encode(Claim("f" * 64, told))) < SIGNAL_LIMIT
    assert count({"lmtp": [("", 5)]}).connections == []


def test_wrong_logins_are_counted_by_network_and_forgotten_in_time() -> None:
    clock = ManualClock()
    failures, claims = Failures(clock), Claims(clock)
    for address in (A, A, A, B, "2001:db8:1:2::8", "no address"):
        failures.add(address)
    claims.take(Claim("f1", count({"imap": [(A, 9)]}, failures.counted())))
    assert [claims.failed(network_of(address), 0, 20) for address in (A, B, "192.0.2.2")] == [3, 2, 0]
    assert [claims.failed(network_of(A), used, 20) for used in (1, 3, 9)] == [2, 0, 0]  # what was answered here
    clock.advance(60)
    claims.take(Claim("f1", count({}, failures.counted())))
    assert [claims.failed(network_of(address), 0, 20) for address in (A, B)] == [1, 0]


def test_guesses_at_another_directory_node_count() -> None:
    clock = ManualClock()
    claims, failures = Claims(clock), Failures(clock)

    def guesses() -> int:
        abuse = Abuse(clock, AbuseSettings(network_guesses=10))
        abuse.elsewhere = claims.failed
        abuse.learn_home(A, b"owner")
        made = sum(abuse.guess(A, b"account %d" % n) is not None for n in range(20))
        assert abuse.guess(A, b"owner") is not None  # whom no stranger keeps out
        assert abuse.guess(B, b"account") is not None
        return made

    assert guesses() == 10
    for _ in range(30):
        failures.add(A)
    claims.take(Claim("f1", count({}, failures.counted())))
    assert guesses() == 5  # one frontend counts for half
    claims.take(Claim("f2", count({}, failures.counted())))
    assert guesses() == 2  # and all leave a quarter


def member(name: str, *roles: Role) -> Member:
    return Member(name, frozenset(roles), b"1" * 16, 0)


def want(*kinds: str) -> Signal:
    return Signal(WANT, msgspec.msgpack.encode(Want(list(kinds))))


def counters(said: Count) -> Signal:
    return Signal(COUNTERS, msgspec.msgpack.encode(said))


def test_everybody_hears_what_he_wants_to() -> None:
    clock = ManualClock()
    hub = Hub(clock)
    first, second = Ended(member("f1", Role.FRONTEND)), Ended(member("f2", Role.FRONTEND))
    hub.signalled(first.link, want(MEMBERS, COUNTERS, "of a later release"))
    assert first.heard() == [Signal(MEMBERS)]  # it may have missed something
    hub.signalled(first.link, want(MEMBERS, COUNTERS))
    hub.signalled(second.link, want(COUNTERS))
    hub.tell(MEMBERS)
    hub.tell(NAMES)
    assert (first.heard(), second.heard()) == ([Signal(MEMBERS)], [])
    said = count({"imap": [(A, 7)]})
    hub.signalled(second.link, counters(said))
    assert second.heard() == []
    (told,) = first.heard()
    assert read(Claim, told.data) == Claim("f2", said)  # named by the hub, as its certificate says
    assert len(hub) == 2
    first.closed = second.closed = True
    hub.tell(MEMBERS)
    assert len(hub) == 0
