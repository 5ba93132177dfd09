"""When another backend is dead, against the rules said once more in another way."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from rookery.distribution.placement.values import INTERVAL
from rookery.distribution.placement.watch import DEAD, GAP, SILENT, Verdict, Watch

OTHER = 7


def _beats(watch: Watch, count: int, *, start: float = 0.0, beat: int = 5) -> list[Verdict]:
    """So many own beats, an interval apart, that all see OTHER at the same count."""
    times = [start + n * INTERVAL for n in range(count)]
    return [watch.beaten(at, at + 0.001, [(OTHER, beat)]) for at in times]


class TestSilence:
    def test_a_second_of_silence_is_death(self) -> None:
        verdicts = _beats(Watch(), 7)
        assert [bool(verdict.dead) for verdict in verdicts] == [False] * 6 + [True]
        assert verdicts[-1].dead == ((OTHER, 5),)

    def test_a_failed_probe_and_three_intervals_are_too(self) -> None:
        watch = Watch()
        verdicts = _beats(watch, 4)
        assert [verdict.probe for verdict in verdicts] == [(), (), (OTHER,), ()]
        assert not any(verdict.dead for verdict in verdicts)
        watch.probed(OTHER, 5, answered=False)
        assert _beats(watch, 1, start=4 * INTERVAL)[0].dead == ((OTHER, 5),)

    def test_a_probe_that_is_answered_is_asked_again(self) -> None:
        watch = Watch()
        _beats(watch, 4)
        watch.probed(OTHER, 5, answered=True)
        assert _beats(watch, 1, start=4 * INTERVAL) == [Verdict((OTHER,), ())]

    def test_a_probe_of_an_earlier_silence_says_nothing(self) -> None:
        watch = Watch()
        _beats(watch, 4)
        watch.beaten(0.8, 0.801, [(OTHER, 6)])
        watch.probed(OTHER, 5, answered=False)
        assert not any(verdict.dead for verdict in _beats(watch, 4, start=1.0, beat=6))

    def test_one_that_beats_is_not_probed(self) -> None:
        watch = Watch()
        for n in range(20):
            assert watch.beaten(n * INTERVAL, n * INTERVAL, [(OTHER, n)]) == Verdict()

    def test_one_that_is_no_longer_listed_is_forgotten(self) -> None:
        watch = Watch()
        _beats(watch, 4)
        watch.beaten(0.8, 0.8, [])
        assert watch.silence(OTHER, 1.0) is None
        assert not any(verdict.dead for verdict in _beats(watch, 5, start=1.0))


class TestGaps:
    def test_a_beat_that_failed_restarts_all_watches(self) -> None:
        watch = Watch()
        _beats(watch, 5)
        watch.clear()
        assert not any(verdict.dead for verdict in _beats(watch, 5, start=1.0))

    def test_a_gap_between_own_beats_does_too(self) -> None:
        watch = Watch()
        _beats(watch, 5)
        late = _beats(watch, 6, start=5.0)
        assert not any(verdict.dead for verdict in late)
        assert _beats(watch, 1, start=5.0 + 6 * INTERVAL)[0].dead

    def test_an_answer_that_came_late_shortens_the_silence(self) -> None:
        watch = Watch()
        watch.beaten(0.0, 0.35, [(OTHER, 5)])
        assert not any(verdict.dead for verdict in _beats(watch, 6, start=INTERVAL))


@dataclass
class Own:
    """One own beat: how long after the one before it is sent, how long its answer takes, whether it comes; what the
    other's count is then.
    """

    after: float
    takes: float
    comes: bool
    beat: int


own_beats = st.lists(
    st.builds(
        Own,
        after=st.sampled_from([0.2, 0.2, 0.2, 0.25, 0.39, 0.45, 2.0]),
        takes=st.sampled_from([0.0, 0.01, 0.15]),
        comes=st.sampled_from([True] * 9 + [False]),
        beat=st.sampled_from([0] * 8 + [1]),
    ),
    max_size=40,
)


@given(own_beats)
def test_dead_is_who_stood_still_through_an_unbroken_line_of_own_beats(line: list[Own]) -> None:
    """The rule looked at backwards: from this beat over all that were confirmed without a gap and saw the same."""
    watch, at, count = Watch(), 0.0, 0
    seen: list[tuple[float, float, int]] = []  # sent, answered, count; of the unbroken line
    for own in line:
        at += own.after
        count += own.beat
        if not own.comes:
            watch.clear()
            seen.clear()
            continue
        if seen and at - seen[-1][0] >= GAP:
            seen.clear()
        seen.append((at, at + own.takes, count))
        same = [one for one in seen if one[2] == count]
        verdict = watch.beaten(at, at + own.takes, [(OTHER, count)])
        assert bool(verdict.dead) == (at - same[0][1] >= DEAD)


@given(
    st.lists(st.floats(0.0, 0.19), min_size=10, max_size=60),
    st.lists(st.floats(0.0, 3.0), min_size=10, max_size=60),
    st.booleans(),
)
def test_who_beats_in_time_is_never_found_dead(jitter: list[float], delays: list[float], answered: bool) -> None:
    """However late the watcher itself is, and even if its probes fail: a cut between two alone kills nobody."""
    beats = [n * INTERVAL + late for n, late in enumerate(jitter)]
    watch, at = Watch(), 0.0
    for delay in delays:
        at += min(delay, INTERVAL) if delay < 2.5 else delay
        count = sum(moment <= at for moment in beats)
        if at > beats[-1] + INTERVAL:
            break
        verdict = watch.beaten(at, at, [(OTHER, count)])
        assert not verdict.dead
        if verdict.probe:
            watch.probed(OTHER, count, answered)


def test_the_least_silence_is_more_than_order_and_a_short_pause_make() -> None:
    assert SILENT >= 3 * INTERVAL - 1e-9
