"""Which delivery ids others are told to forget."""

from rookery.base.clock import ManualClock
from rookery.distribution.spool.ids import MessageIds
from rookery.management.ways import Settled


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
