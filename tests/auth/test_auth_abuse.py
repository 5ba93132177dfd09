"""Budgets of guesses: who is slowed, who is not, and that the tables stay small."""

import pytest

from rookery.base.clock import ManualClock
from rookery.distribution.auth.abuse import Abuse, AbuseSettings, network_of

SETTINGS = AbuseSettings(
    network_guesses=5,
    network_refill=10.0,
    account_guesses=8,
    account_refill=10.0,
    home_guesses=3,
    home_refill=10.0,
    entries=50,
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def abuse(clock: ManualClock) -> Abuse:
    return Abuse(clock, SETTINGS)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_network_runs_out_over_many_accounts_and_recovers(abuse: Abuse, clock: ManualClock) -> None:
    for i in range(5):
        assert abuse.guess("192.0.2.1", b"%d" % i)
    assert abuse.guess("192.0.2.1", b"another") is None
    assert abuse.guess("192.0.2.2", b"another")
    clock.advance(10.0)
    assert abuse.guess("192.0.2.1", b"another")
    assert abuse.guess("192.0.2.1", b"another") is None


def test_an_account_runs_out_over_many_networks_but_not_for_its_owner(abuse: Abuse) -> None:
    home = abuse.guess("198.51.100.7", b"alice")
    assert home
    home.right()
    for i in range(8):
        assert abuse.guess(f"192.0.2.{i}", b"alice")
    assert abuse.guess("192.0.2.99", b"alice") is None
    assert abuse.guess("192.0.2.99", b"bob")
    owner = abuse.guess("198.51.100.7", b"alice")
    assert owner
    owner.right()


def test_a_home_has_a_budget_too(abuse: Abuse) -> None:
    abuse.learn_home("198.51.100.7", b"alice")
    for _ in range(3):
        assert abuse.guess("198.51.100.7", b"alice")
    assert abuse.guess("198.51.100.7", b"alice") is None


def test_right_guesses_cost_nothing(abuse: Abuse) -> None:
    for i in range(100):
        guess = abuse.guess("192.0.2.1", b"%d" % i)
        assert guess
        guess.right()


def test_a_guess_counts_from_the_moment_it_is_made(abuse: Abuse) -> None:
    """Twenty at once are not twenty free tries while the first is still being checked."""
    under_way = [abuse.guess("192.0.2.1", b"alice") for _ in range(20)]
    assert sum(guess is not None for guess in under_way) == 5


def test_an_unchecked_guess_is_given_back(abuse: Abuse) -> None:
    for _ in range(30):
        guess = abuse.guess("192.0.2.1", b"alice")
        assert guess
        guess.void()
    assert not abuse.is_home("192.0.2.1", b"alice")


def test_delays_double_up_to_a_limit(abuse: Abuse) -> None:
    delays = []
    for _ in range(8):
        abuse.guess("192.0.2.1", b"alice")
        delays.append(abuse.delay("192.0.2.1", b"alice"))
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0]


def test_tables_are_bounded(abuse: Abuse) -> None:
    for i in range(1000):
        guess = abuse.guess(f"10.0.{i >> 8}.{i & 255}", b"%d" % i)
        assert guess
        abuse.learn_home(f"10.0.{i >> 8}.{i & 255}", b"%d" % i)
    assert abuse.entries() <= 4 * SETTINGS.entries
