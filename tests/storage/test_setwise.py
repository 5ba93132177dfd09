"""The hot rule asks the engine as often for a hundred messages as for one."""

from collections.abc import Callable
from typing import Any

import pytest

from rookery.storage.operations import APPEND
from rookery.storage.schema import VERSION_1
from tests.storage.tiny import TinyDatabase, TinyTransaction
from tests.storage.world import World

MEMBERS = ("rows", "row", "run", "select_many", "insert_many", "update_many", "delete_many")


def test_statements_do_not_grow_with_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(TinyDatabase(VERSION_1))
    accounts = [world.account(n) for n in range(1, 101)]
    calls: list[str] = []
    depth = [0]

    def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if not depth[0]:
                calls.append(name)
            depth[0] += 1
            try:
                return original(*arguments, **more)
            finally:
                depth[0] -= 1

        return call

    for name in MEMBERS:
        monkeypatch.setattr(TinyTransaction, name, counted(name, getattr(TinyTransaction, name)))
    made: list[list[str]] = []
    for count in (1, 100):
        calls.clear()
        world.append(APPEND, [world.item(a, delivery=f"{count}-{n}") for n, a in enumerate(accounts[:count])])
        made.append(list(calls))
    assert made[0] == made[1]
    assert len(made[0]) <= 10
