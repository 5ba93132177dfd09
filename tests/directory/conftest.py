"""An empty directory, on SQLite and on PostgreSQL, with a clock that tests move."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from rookery.base.clock import ManualClock
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.opening import open_directory
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.directory.shared import open_shared_directory
from rookery.storage.gate import Gate
from tests import postgres as server

postgres, fresh_postgres, wire = server.postgres, server.fresh_postgres, server.wire
SETTINGS = DirectorySettings(scram=True, scram_iterations=64)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    hasher = Hasher()
    yield hasher
    hasher.close()


@pytest.fixture
async def node(
    fresh_postgres: server.Postgres, clock: ManualClock, hasher: Hasher
) -> AsyncIterator[Callable[[], Directory]]:
    """Opens this test's shared directory, as one more node each time."""
    opened: list[Directory] = []

    def opening() -> Directory:
        opened.append(
            open_shared_directory(
                fresh_postgres.uri, clock=clock, gate=Gate(), hasher=hasher, settings=SETTINGS,
                schema=fresh_postgres.schema,
            )
        )  # fmt: skip
        return opened[-1]

    yield opening
    for directory in opened:
        await directory.close()


@pytest_asyncio.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def directory(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, hasher: Hasher
) -> AsyncIterator[Directory]:
    if request.param == "postgres":
        postgres = request.getfixturevalue("fresh_postgres")
        opened = open_shared_directory(
            postgres.uri, clock=clock, gate=Gate(), hasher=hasher, settings=SETTINGS, schema=postgres.schema
        )
    else:
        opened = open_directory(tmp_path / "directory.db", clock=clock, gate=Gate(), hasher=hasher, settings=SETTINGS)
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
