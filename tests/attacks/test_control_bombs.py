"""Hostile requests to the control socket, and hostile files to import from: an answer each, and bounded memory."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.management.cli.account_commands import read_csv
from rookery.management.control import ControlServer
from rookery.management.operations.registry import Operation
from rookery.management.operations.snapshot import snapshot
from rookery.management.protocol import LINE_LIMIT


async def run(found: Operation, arguments: msgspec.Struct) -> object:
    return await found.run(None, **msgspec.structs.asdict(arguments))


@pytest.fixture
async def socket(tmp_path: Path) -> AsyncIterator[Path]:
    server = ControlServer(tmp_path / "s", run)
    await server.start()
    yield tmp_path / "s"
    await server.close()


@pytest.mark.parametrize(
    ("request_", "cause"),
    [
        (b'{"operation":"account.show","arguments":%b%b}' % (b"[" * 100_000, b"]" * 100_000), b"invalid"),
        (b'{"operation":%b' % (b"[" * 100_000), b"invalid"),
        (b'{"operation":"account.list","arguments":{"domain":%b}}' % (b"9" * 5000), b"invalid"),
        (b'{"operation":"account.show","arguments":{"address":"\\ud800"}}', b"invalid"),
        (b'{"operation":"snapshot","arguments":{"folder":"relative/../x"}}', b"invalid"),
        (b'{"operation":"snapshot","arguments":{"folder":"/tmp/\\u0000"}}', b"invalid"),
        (b"x" * (LINE_LIMIT + 1), b"too-big"),
    ],
)
async def test_a_hostile_request_is_answered(socket: Path, request_: bytes, cause: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(socket), limit=LINE_LIMIT)
    writer.write(request_ + b"\n")
    assert b'{"refused":{"cause":"%b"' % cause in await reader.readline()
    writer.close()


async def test_a_snapshot_goes_where_the_caller_says_and_not_where_the_node_was_started() -> None:
    for folder in ("", ".", "relative", "/a\0b"):
        with pytest.raises(RookeryError, match="no absolute path"):
            await snapshot(None, folder)  # type: ignore[arg-type]


@pytest.mark.parametrize("start", ["", 'a@b.test,"', "a@b.test,x,,,,,", "a@b.test,x\n,"])
def test_an_endless_line_of_an_import(tmp_path: Path, start: str) -> None:
    file = tmp_path / "accounts.csv"
    with file.open("w") as opened:
        opened.write(start)
        opened.truncate(1 << 30)  # a hole: a gigabyte of NULs
    tracemalloc.start()
    try:
        with pytest.raises(RookeryError, match="a line is longer than") as caught:
            list(read_csv(file))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.cause is Cause.INVALID
