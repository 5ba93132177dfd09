"""Waiting for what the loop will do by itself in a few turns."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Raises TimeoutError after a time in which it should have become true many times over."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  nobody sets an event for these
            await asyncio.sleep(0)
