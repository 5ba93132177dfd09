"""The control socket: typed requests in, typed answers out, everything else refused by name; nothing unbounded."""

import asyncio
import os
import socket as stdlib_socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.management.client import Client
from rookery.management.control import ControlServer
from rookery.management.operations.registry import Operation, by_function, by_name, operation
from rookery.management.protocol import CONNECTION_LIMIT, LINE_LIMIT
from rookery.management.site import make_folders, write_config


class Sum(msgspec.Struct, frozen=True):
    total: int
    text: str


@operation("test.add")
async def add(parts: object, numbers: list[int], text: str = "-") -> Sum:
    if not numbers:
        raise RookeryError(Cause.INVALID, "nothing to add")
    return Sum(sum(numbers), text)


@operation("test.running", running=True)
async def running(parts: object) -> None: ...


async def run(found: Operation, arguments: msgspec.Struct) -> object:
    return await found.run(None, **msgspec.structs.asdict(arguments))


@pytest.fixture(params=["short", "long" * 25])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A site in a folder with a short name, and one whose socket's path is longer than the kernel takes."""
    site = make_folders(tmp_path / request.param)
    write_config(site, {})
    return site.folder


@pytest.fixture
async def socket(folder: Path) -> AsyncIterator[Path]:
    server = ControlServer(folder / "control.sock", run)
    await server.start()
    yield folder / "control.sock"
    await server.close()
    assert not (folder / "control.sock").exists()


async def open_raw(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    folder = os.open(path.parent, os.O_PATH)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{path.name}", limit=LINE_LIMIT)
    finally:
        os.close(folder)


async def raw(path: Path, line: bytes) -> bytes:
    reader, writer = await open_raw(path)
    writer.write(line)
    answer = await reader.readline()
    writer.close()
    return answer


async def test_a_call_goes_there_and_back_with_its_types(folder: Path, socket: Path) -> None:
    client = Client(folder)
    assert await asyncio.to_thread(client.call, add, [1, 2], text="x") == Sum(3, "x")
    assert await asyncio.to_thread(client.call, add, numbers=[4]) == Sum(4, "-")
    assert await asyncio.to_thread(client.call, running) is None


async def test_a_refusal_arrives_as_it_was_raised(folder: Path, socket: Path) -> None:
    with pytest.raises(RookeryError) as caught:
        await asyncio.to_thread(Client(folder).call, add, [])
    assert (caught.value.cause, caught.value.what) == (Cause.INVALID, "nothing to add")


async def test_only_the_owner_may_connect(socket: Path) -> None:
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"nonsense\n", "malformed"),
        (b"{}\n", "required field `operation`"),
        (b'{"operation": "x.y"}\n', "no operation is called 'x.y'"),
        (b'{"operation": "test.add", "arguments": {}}\n', "required field `numbers`"),
        (
            b'{"operation": "test.add", "arguments": {"numbers": ["1"]}}\n',
            "Expected `int`, got `str` - at `$.numbers[0]`",
        ),
        (b'{"operation": "test.add", "arguments": {"numbers": [], "x": 1}}\n', "unknown field `x`"),
        (b'{"operation": "test.add", "argument": {}}\n', "unknown field `argument`"),
    ],
)
async def test_what_is_not_a_request_is_refused_by_name(socket: Path, line: bytes, what: str) -> None:
    assert what in (await raw(socket, line)).decode()


async def test_an_endless_line_is_refused(socket: Path) -> None:
    reader, writer = await open_raw(socket)
    writer.write(b"x" * (LINE_LIMIT + 100_000))
    assert b"too-big" in await reader.readline()
    writer.close()


async def test_connections_are_limited(folder: Path, socket: Path) -> None:
    held = [await open_raw(socket) for _ in range(CONNECTION_LIMIT)]
    request = b'{"operation": "test.add", "arguments": {"numbers": [1]}}\n'
    for reader, writer in held:
        writer.write(request)
        assert b"result" in await reader.readline()
    assert b"too-many" in await raw(socket, request)
    held[0][1].close()
    await held[0][1].wait_closed()
    answer = b""
    while b"result" not in answer:  # until the server has seen the end of the first one
        answer = await raw(socket, request)
    for _, writer in held[1:]:
        writer.close()


async def test_a_dead_nodes_socket_counts_as_no_node(folder: Path) -> None:
    server = ControlServer(folder / "control.sock", run)
    await server.start()
    (folder / "control.sock").rename(folder / "kept")
    await server.close()
    (folder / "kept").rename(folder / "control.sock")
    assert Client(folder).connect() is None
    with pytest.raises(RookeryError, match="no node is running"):
        Client(folder).call(running)
    again = ControlServer(folder / "control.sock", run)
    await again.start()
    assert await asyncio.to_thread(Client(folder).call, add, [1]) == Sum(1, "-")
    await again.close()


def test_the_table_of_operations() -> None:
    assert by_name("test.add") is by_function(add)
    assert by_function(running).running


async def test_of_several_backends_one_that_answers_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is stopped: its kernel takes connections, and nobody says anything."""
    monkeypatch.setattr("rookery.management.client.AWAKE", 0.05)
    site = make_folders(tmp_path / "site")
    write_config(site, {"store.backends": (("b1", "127.0.0.1"), ("b2", "127.0.0.2"))})
    for name in ("b1", "b2"):
        site.own(name).mkdir(parents=True)

    async def answer(found: Operation, arguments: msgspec.Struct) -> object:
        return "b2" if found is by_name("ping") else await run(found, arguments)

    with stdlib_socket.socket(stdlib_socket.AF_UNIX) as stopped:
        stopped.bind(str(site.own("b1") / "control.sock"))
        stopped.listen()
        client = Client(site.folder)
        with pytest.raises(RookeryError, match="does not answer in time"):
            await asyncio.to_thread(client.call, add, [1, 2])
        server = ControlServer(site.own("b2") / "control.sock", answer)
        await server.start()
        assert await asyncio.to_thread(client.call, add, [1, 2]) == Sum(3, "-")
        await server.close()


async def test_an_answer_of_another_release(folder: Path) -> None:
    async def answer(found: Operation, arguments: msgspec.Struct) -> object:
        return {"sum": 3}

    server = ControlServer(folder / "control.sock", answer)
    await server.start()
    with pytest.raises(RookeryError, match="of another release than this command"):
        await asyncio.to_thread(Client(folder).call, add, [1, 2])
    await server.close()
