"""Which delivery ids others are told to forget, and whose they are."""

import pytest

from rookery.base.clock import ManualClock
from rookery.distribution.directory.values import Pool, PoolBackend, PoolKind, Presence
from rookery.distribution.spool.ids import MessageIds
from rookery.management.ways import Settled, giver


def test_an_hour_is_left_in_which_a_message_with_a_low_id_may_come() -> None:
    clock = ManualClock()
    ids = MessageIds(clock)
    settled = Settled(clock)
    assert settled.below == ""
    old = ids.new()
    clock.advance(1800)
    settled.up_to(ids.new())  # nothing is in the queue
    assert settled.below < old
    clock.advance(3600)
    recent = ids.new()
    settled.up_to(recent)
    assert old < settled.below < recent
    settled.up_to(old)  # which is in the queue after all
    assert settled.below == old


MAIN = Pool(
    1, "main", PoolKind.DYNAMIC, "s1", "", "", True, None, 0,
    (PoolBackend("b1", "", "", "192.0.2.1:7143"), PoolBackend("b2", "", "", "192.0.2.2:7143")),
)  # fmt: skip
SOUTH = Pool(
    2, "south", PoolKind.STATIC, "s2", "", "", True, None, 0, (PoolBackend("s", "", "", "192.0.2.3:7143"),)
)  # fmt: skip


@pytest.mark.parametrize(
    ("backend", "address", "here", "whose"),
    [
        ("b1", "192.0.2.1:7143", 1, ""),  # of our own pool, and its queue
        ("b2", "192.0.2.2:7143", 2, "+main"),  # of another, whose backends take over from each other
        ("s", "192.0.2.3:7143", 1, "n1"),  # nobody takes over from it
        ("b1", "192.0.2.9:7143", 1, "n1"),  # it only calls itself so
        ("", "192.0.2.1:7143", 1, "n1"),
    ],
)
def test_delivery_ids_are_a_nodes_own_unless_others_take_over_from_it(
    backend: str, address: str, here: int, whose: str
) -> None:
    assert giver("n1", [Presence("n1", backend, address, "0.1")], [MAIN, SOUTH], here) == whose


def test_of_a_node_that_says_nothing_they_are_its_own() -> None:
    assert giver("n1", [], [MAIN, SOUTH], 1) == "n1"
