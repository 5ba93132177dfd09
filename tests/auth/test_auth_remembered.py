"""Remembered checks: how long, for which version, how many."""

from rookery.base.clock import ManualClock
from rookery.base.ids import AccountId
from rookery.distribution.auth.remembered import PER_ACCOUNT_LIMIT, Remembered

ALICE = AccountId(b"a" * 16)


def test_it_ends_with_time_version_and_forgetting() -> None:
    clock = ManualClock()
    remembered = Remembered(clock, lifetime=60.0)
    digest = remembered.digest(ALICE, b"secret")
    assert not remembered.knows(ALICE, 1, digest)
    remembered.remember(ALICE, 1, digest)
    assert remembered.knows(ALICE, 1, digest)
    assert not remembered.knows(ALICE, 2, digest)
    assert not remembered.knows(ALICE, 1, remembered.digest(ALICE, b"Secret"))
    clock.step(-3600.0)  # the wall clock does not matter
    assert remembered.knows(ALICE, 1, digest)
    clock.advance(60.0)
    assert not remembered.knows(ALICE, 1, digest)
    remembered.remember(ALICE, 1, digest)
    remembered.forget(ALICE)
    assert not remembered.knows(ALICE, 1, digest)


def test_a_new_version_drops_the_old_ones() -> None:
    remembered = Remembered(ManualClock())
    old, new = remembered.digest(ALICE, b"old"), remembered.digest(ALICE, b"new")
    remembered.remember(ALICE, 1, old)
    remembered.remember(ALICE, 2, new)
    assert not remembered.knows(ALICE, 1, old)
    assert not remembered.knows(ALICE, 2, old)
    assert remembered.knows(ALICE, 2, new)


def test_it_is_bounded() -> None:
    remembered = Remembered(ManualClock(), limit=10)
    for i in range(100):
        account = AccountId(i.to_bytes(16, "big"))
        remembered.remember(account, 1, remembered.digest(account, b"x"))
    assert (
        sum(
            remembered.knows(account, 1, remembered.digest(account, b"x"))
            for account in (AccountId(i.to_bytes(16, "big")) for i in range(100))
        )
        == 10
    )
    digests = [remembered.digest(ALICE, b"%d" % i) for i in range(PER_ACCOUNT_LIMIT + 5)]
    for digest in digests:
        remembered.remember(ALICE, 1, digest)
    assert sum(remembered.knows(ALICE, 1, digest) for digest in digests) == PER_ACCOUNT_LIMIT


def test_the_key_is_the_process_own() -> None:
    one, other = Remembered(ManualClock()), Remembered(ManualClock())
    assert one.digest(ALICE, b"secret") != other.digest(ALICE, b"secret")


def test_a_lifetime_of_nothing_remembers_nothing() -> None:
    remembered = Remembered(ManualClock(), lifetime=0.0)
    digest = remembered.digest(ALICE, b"secret")
    remembered.remember(ALICE, 1, digest)
    assert not remembered.knows(ALICE, 1, digest)
