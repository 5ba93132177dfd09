"""The world of these tests: accounts alice and bob."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.access.imap.support import World, make_world


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path, "alice", "bob") as made:
        yield made
