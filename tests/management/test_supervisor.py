"""Backends as processes: ready when all are, started again when one dies, stopped together, told of SIGHUP."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.management import supervisor as module
from rookery.management.supervisor import Supervisor

BACKEND = """
import os, signal, sys, pathlib
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGHUP, lambda *a: (folder / f"{name}.hup").touch())
(folder / f"{name}.{os.getpid()}").touch()
print("ready", flush=True)
sys.stdin.buffer.read()
"""


def _commands(folder: Path, *names: str) -> dict[str, Sequence[str]]:
    return {name: [sys.executable, "-c", BACKEND, str(folder), name] for name in names}


def _processes(folder: Path, name: str) -> list[int]:
    return [int(path.suffix[1:]) for path in folder.glob(f"{name}.*") if path.suffix[1:].isdigit()]


async def _until(found: object) -> None:
    assert callable(found)
    async with asyncio.timeout(20):
        while not found():  # noqa: ASYNC110  what other processes do
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOON", 0.0)


async def test_one_that_dies_is_started_again(tmp_path: Path) -> None:
    made, ready = Supervisor([lambda: _commands(tmp_path, "b1", "b2")], drain=0.0), asyncio.Event()
    running = asyncio.create_task(made.run(ready.set))
    await asyncio.wait_for(ready.wait(), 20)
    (first,) = _processes(tmp_path, "b1")
    os.kill(first, signal.SIGKILL)
    await _until(lambda: len(_processes(tmp_path, "b1")) == 2)
    assert len(_processes(tmp_path, "b2")) == 1
    made.stop()
    await asyncio.wait_for(running, 20)
    for name in ("b1", "b2"):
        for process in _processes(tmp_path, name):
            with pytest.raises(ProcessLookupError):
                os.kill(process, 0)


async def test_all_are_told_to_reload(tmp_path: Path) -> None:
    made, ready = Supervisor([lambda: _commands(tmp_path, "b1", "b2")], drain=0.0), asyncio.Event()
    running = asyncio.create_task(made.run(ready.set))
    await asyncio.wait_for(ready.wait(), 20)
    made.reload()
    await _until(lambda: (tmp_path / "b1.hup").exists() and (tmp_path / "b2.hup").exists())
    made.stop()
    await asyncio.wait_for(running, 20)


async def test_one_that_cannot_start_ends_all(tmp_path: Path) -> None:
    commands = {**_commands(tmp_path, "b1"), "b2": [sys.executable, "-c", "raise SystemExit(3)"]}
    with pytest.raises(RookeryError, match="b2 ended with 3"):
        await asyncio.wait_for(Supervisor([lambda: commands], drain=0.0).run(lambda: None), 20)
    for process in _processes(tmp_path, "b1"):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


async def test_a_stage_begins_when_all_before_it_are_ready(tmp_path: Path) -> None:
    def second() -> dict[str, Sequence[str]]:
        assert len(_processes(tmp_path, "b1")) == len(_processes(tmp_path, "b2")) == 1
        return _commands(tmp_path, "f1")

    made, ready = Supervisor([lambda: _commands(tmp_path, "b1", "b2"), second], drain=0.0), asyncio.Event()
    running = asyncio.create_task(made.run(ready.set))
    await asyncio.wait_for(ready.wait(), 20)
    assert len(_processes(tmp_path, "f1")) == 1
    made.stop()
    await asyncio.wait_for(running, 20)


async def test_what_a_stage_raises_ends_what_was_begun(tmp_path: Path) -> None:
    def second() -> dict[str, Sequence[str]]:
        raise RookeryError(Cause.DENIED, "the token was used")

    made = Supervisor([lambda: _commands(tmp_path, "b1"), second], drain=0.0)
    with pytest.raises(RookeryError, match="used"):
        await asyncio.wait_for(made.run(lambda: None), 20)
    for process in _processes(tmp_path, "b1"):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
