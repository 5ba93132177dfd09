"""Whose queue is nobody's."""

from rookery.distribution.spool.incarnations import Incarnation
from rookery.management.takeover import dead


def test_the_dead_and_earlier_selves() -> None:
    holders = ["b1/aa", "b2/bb", "b3/cc", "b1/dd"]
    held = [Incarnation(number, holder, 0) for number, holder in enumerate(holders, 1)]
    assert dead(held, 4, ["b3"]) == [1, 2]
