"""The node that is attacked by mail: domain d.test, accounts alice and bob."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.access.smtp.world import World, make_world


@pytest_asyncio.fixture
async def mail_world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path) as made:
        yield made
