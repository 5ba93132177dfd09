"""The loop gives way only while a batch is open, and only after it has worked."""

import pytest

from rookery.storage import gate as gate_module
from rookery.storage.gate import REST, WORK, Gate


class Times:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


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
