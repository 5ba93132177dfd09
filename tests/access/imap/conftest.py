"""The world of these tests: accounts alice and bob."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests import postgres as server
from tests.access.imap.support import World, make_world
from tests.storage.hosts import Host, kind

__all__ = ["fresh_postgres", "kind", "postgres"]

postgres, fresh_postgres = server.postgres, server.fresh_postgres


@pytest_asyncio.fixture
async def world(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    host = Host(request.getfixturevalue("fresh_postgres"), "imap") if kind == "shared" else None
    async with make_world(tmp_path, "alice", "bob", host=host) as made:
        yield made
