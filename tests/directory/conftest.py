"""An empty directory on SQLite, with a clock that tests move."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from rookery.base.clock import ManualClock
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory, DirectorySettings
from rookery.distribution.directory.opening import open_directory
from rookery.storage.gate import Gate


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    hasher = Hasher()
    yield hasher
    hasher.close()


@pytest_asyncio.fixture
async def directory(tmp_path: Path, clock: ManualClock, hasher: Hasher) -> AsyncIterator[Directory]:
    opened = open_directory(
        tmp_path / "directory.db",
        clock=clock,
        gate=Gate(),
        hasher=hasher,
        settings=DirectorySettings(scram=True, scram_iterations=64),
    )
    yield opened
    await opened.close()


@pytest.fixture
def admin(directory: Directory) -> Administration:
    return Administration(directory)


@pytest_asyncio.fixture
async def site(admin: Administration) -> Administration:
    """The domain d.test with the accounts alice and bob, without passwords."""
    await admin.add_domain("d.test")
    await admin.add_account("alice@d.test")
    await admin.add_account("bob@d.test")
    return admin
