"""A form posted to the IMAP port: the login that it brings does not count. After a login, POST is a tag like any."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.access.imap.support import PASSWORD, Client, World, make_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path, "alice") as made:
        yield made


async def _until_it_hangs_up(client: Client) -> AsyncIterator[bytes]:
    while True:
        try:
            yield await client.line()
        except EOFError:
            return


@pytest.mark.parametrize(
    "head", [b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /x HTTP/1.0\r\n\r\n", b"PRI * HTTP/2.0\r\n"]
)
async def test_a_login_in_a_web_request(world: World, head: bytes) -> None:
    client = world.connect()
    await client.line()
    client.send(head + f'a LOGIN alice@d.test "{PASSWORD}"\r\na SELECT INBOX\r\n'.encode())
    said = [line async for line in _until_it_hangs_up(client)]
    assert said[-1].startswith(b"* BYE")
    assert not [line for line in said if line.startswith(b"a ")]


async def test_a_tag_that_is_a_method(world: World) -> None:
    client = await world.login()
    client.send(b"POST NOOP\r\n")
    assert await client.line() == b"POST OK Noop completed"
