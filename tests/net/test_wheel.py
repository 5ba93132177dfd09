"""Coarse timeouts, with a clock in the hand."""

from rookery.base.clock import ManualClock
from rookery.net.wheel import NOT_LISTED, Wheel


class Sleeper:
    def __init__(self, due: float) -> None:
        self.due = due
        self.listed = NOT_LISTED
        self.expired = 0

    def expire(self) -> None:
        self.expired += 1


def test_it_fires_once_and_never_early() -> None:
    clock = ManualClock()
    wheel, sleeper = Wheel(clock.monotonic), Sleeper(2.5)
    wheel.watch(sleeper)
    for second in range(1, 6):
        clock.advance(1)
        wheel.tick()
        assert sleeper.expired == (second >= 3)
    assert len(wheel) == 0


def test_a_moment_moved_later_costs_nothing_and_counts() -> None:
    clock = ManualClock()
    wheel, sleeper = Wheel(clock.monotonic), Sleeper(2)
    wheel.watch(sleeper)
    sleeper.due = 10
    wheel.watch(sleeper)
    assert sleeper.listed == 2
    clock.advance(9)
    wheel.tick()
    assert sleeper.listed == 10
    clock.advance(1)
    wheel.tick()
    assert sleeper.expired == 1


def test_a_moment_moved_earlier_is_listed_again() -> None:
    clock = ManualClock()
    wheel, sleeper = Wheel(clock.monotonic), Sleeper(1800)
    wheel.watch(sleeper)
    sleeper.due = 3
    wheel.watch(sleeper)
    assert len(wheel) == 1
    clock.advance(3)
    wheel.tick()
    assert sleeper.expired == 1


def test_nothing_due_any_more_and_forgotten_ones_stay_silent() -> None:
    clock = ManualClock()
    wheel = Wheel(clock.monotonic)
    idle, gone = Sleeper(1), Sleeper(1)
    wheel.watch(idle)
    wheel.watch(gone)
    idle.due = 0
    wheel.forget(gone)
    clock.advance(5)
    wheel.tick()
    assert (idle.expired, gone.expired, len(wheel)) == (0, 0, 0)
