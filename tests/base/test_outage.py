"""A failure that goes on: what of it is in the log."""

from collections.abc import Iterator

import pytest

from rookery.base.log import Logger, captured, logger
from rookery.base.outage import AGAIN, Outage

Line = tuple[str, dict[str, object]]


class Scene:
    def __init__(self, lines: list[tuple[str, str, dict[str, object]]]) -> None:
        self._lines = lines
        self.now = 0.0
        self.log: Logger = logger("outage-test")
        self.outage = Outage(self.log, "broke", lambda: self.now)

    def fail(self, cause: str = "unavailable") -> None:
        self.outage.failed(cause, items=3)

    def told(self) -> list[Line]:
        """Since it was asked last."""
        lines = [(event, fields) for component, event, fields in self._lines if component == "outage-test"]
        self._lines.clear()
        return lines


@pytest.fixture
def scene() -> Iterator[Scene]:
    with captured() as lines:
        yield Scene(lines)


FIRST: Line = ("broke", {"cause": "unavailable", "items": 3})


def test_the_first_is_told_at_once_and_the_others_are_counted(scene: Scene) -> None:
    before = scene.log.counts.get("broke", 0)
    for _ in range(500):
        scene.fail()
        scene.now += 0.01
    assert scene.told() == [FIRST]
    assert scene.log.counts["broke"] == before + 500


def test_one_that_lasts_is_told_again(scene: Scene) -> None:
    for _ in range(3):
        scene.fail()
    scene.now = AGAIN
    scene.fail()
    assert scene.told() == [FIRST, ("broke", {**FIRST[1], "more": 2})]
    scene.fail()
    assert not scene.told()


def test_its_end_is_told_with_what_was_counted(scene: Scene) -> None:
    scene.fail()
    scene.fail()
    scene.now = 4.25
    scene.outage.over()
    scene.outage.over()
    assert scene.told() == [FIRST, ("recovered", {"after": "broke", "times": 2, "seconds": 4.2})]
    scene.fail()
    assert scene.told() == [FIRST]


def test_a_single_one_has_no_end(scene: Scene) -> None:
    scene.fail()
    scene.outage.over()
    assert scene.told() == [FIRST]


def test_another_cause_is_told_at_once(scene: Scene) -> None:
    scene.fail()
    scene.fail("disk-full")
    assert [fields["cause"] for _, fields in scene.told()] == ["unavailable", "disk-full"]
