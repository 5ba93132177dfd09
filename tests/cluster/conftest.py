"""A directory with the clock of this machine, for TLS asks no other, and a registrar over it."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.members import Role
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.cluster.files import ClusterFiles
from rookery.distribution.cluster.registrar import Registrar
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.opening import open_directory
from rookery.storage.gate import Gate
from tests.cluster.world import World


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(float(int(time.time())))


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    hasher = Hasher()
    yield hasher
    hasher.close()


@pytest.fixture
async def directory(tmp_path: Path, clock: ManualClock, hasher: Hasher) -> AsyncIterator[Directory]:
    opened = open_directory(tmp_path / "directory.db", clock=clock, gate=Gate(), hasher=hasher)
    yield opened
    await opened.close()


@pytest.fixture
async def world(directory: Directory, tmp_path: Path, clock: ManualClock) -> World:
    """A cluster that has just been founded on the node `first`, which is reached at first.test:1."""
    files = ClusterFiles(tmp_path / "first" / "cluster")
    made = World(Registrar(directory, files), files, directory, clock, tmp_path)
    await made.registrar.found()
    await made.registrar.enrol_here("first", [Role.AUTHORITY, Role.DIRECTORY])
    made.listen("first.test:1", made.first.desk)
    return made
