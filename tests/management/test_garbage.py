"""Cycles are still collected, only less often."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from rookery.management import garbage


@pytest.fixture
def restored() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Node:
    def __init__(self) -> None:
        self.me = self


def test_cycles_go(restored: None) -> None:
    garbage.settle()
    first = weakref.ref(Node())
    kept: list[list[int]] = [[] for _ in range(garbage.YOUNG + 1000)]
    assert first() is None
    assert kept
