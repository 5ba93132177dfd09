"""Dates at the ends of the calendar, moved beyond them by their zone: kept, and told as far as they can be written."""

from pathlib import Path

import pytest

from tests.access.imap.support import make_world, message


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("31-Dec-9999 23:59:59 -2359", b"31-Dec-9999 23:59:59 +0000"),
        ("01-Jan-0001 00:00:00 +1400", b" 1-Jan-0001 00:00:00 +0000"),
    ],
)
async def test_append_and_fetch(tmp_path: Path, given: str, told: bytes) -> None:
    async with make_world(tmp_path, "alice") as world:
        client = await world.selected()
        assert (await client.append("INBOX", message(), f'"{given}" ')).startswith(b"OK")
        (row,) = await client.ok("FETCH 1 INTERNALDATE")
        assert told in row
        await client.ok("SEARCH SINCE 1-Jan-0001 BEFORE 31-Dec-9999")
