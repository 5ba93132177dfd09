"""The loop gives way only while a writer has work: for the whole of a writer's turn, else for a moment now and then."""

import threading

import pytest

from rookery.storage import gate as gate_module
from rookery.storage.gate import PATIENCE, REST, WORK, Gate


class Times:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Turn:
    """A lock that a writer keeps for so many seconds, as far as the loop can tell."""

    def __init__(self, times: Times, kept: float) -> None:
        self._times = times
        self._kept = kept
        self.waited: list[float] = []

    def locked(self) -> bool:
        return self._kept > 0

    def acquire(self, timeout: float) -> bool:
        waited = min(timeout, self._kept)
        self.waited.append(waited)
        self._times.now += waited
        self._kept -= waited
        return self._kept <= 0

    def release(self) -> None:
        return


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    made = Times()
    monkeypatch.setattr(gate_module, "time", made)
    return made


def test_closed_it_costs_nothing(times: Times) -> None:
    gate = Gate()
    for _ in range(10):
        gate.give_way()
        times.now += 1
    assert times.slept == []


def test_open_it_rests_after_work(times: Times) -> None:
    gate = Gate()
    gate.open()
    for _ in range(100):
        gate.give_way()
        times.now += WORK / 10
    assert 8 <= len(times.slept) <= 11
    assert set(times.slept) == {REST}


def test_several_writers_share_it(times: Times) -> None:
    gate = Gate()
    gate.open()
    gate.open()
    gate.close()
    gate.give_way()
    assert len(times.slept) == 1
    gate.close()
    times.now += 1
    gate.give_way()
    assert len(times.slept) == 1


def test_a_turn_is_waited_for_at_once(times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    gate.open()
    gate.give_way()
    turn = Turn(times, PATIENCE / 5)
    monkeypatch.setattr(gate, "turn", turn)
    gate.give_way()
    assert turn.waited == [PATIENCE / 5]
    assert len(times.slept) == 1


def test_heavy_work_leaves_the_loop_its_share(times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    gate.open()
    turn = Turn(times, 100 * PATIENCE)
    monkeypatch.setattr(gate, "turn", turn)
    began, worked = times.now, 0.0
    while turn.locked() and worked < 1:
        gate.give_way()
        times.now += WORK / 5
        worked += WORK / 5
    assert sum(turn.waited) / (times.now - began) < 0.6
    assert max(turn.waited) == PATIENCE


def test_a_real_turn_holds_the_loop(times: Times) -> None:
    gate = Gate()
    gate.open()
    gate.turn.acquire()
    ended = threading.Event()

    def loop() -> None:
        gate.give_way()
        ended.set()

    thread = threading.Thread(target=loop)
    thread.start()
    gate.turn.release()
    assert ended.wait(10)
    thread.join()
