"""The world of these tests: the domain d.test with the accounts alice and bob."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.access.smtp.world import World, make_world


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path) as made:
        yield made
