"""Many connections ask for parts of a large message at once, and read slowly: the memory is not theirs to multiply."""

import base64
import random
import threading
import tracemalloc
from pathlib import Path

import pytest

from rookery.access.imap.aside import THREADS, aside
from tests.access.imap.support import Client, World, make_world

MB = 1024 * 1024
CONTENT = random.Random(7).randbytes(3 * MB)
PART = base64.encodebytes(CONTENT).replace(b"\n", b"\r\n")
HEAD = b"Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
MAIL = (
    HEAD + b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + PART
    + b"\r\n--b--\r\n"
)  # fmt: skip
CLIENTS = 24
EACH = 1.5 * MB  # octets of a connection: what it has not read yet, and the piece under way
ASIDE = 4 * len(MAIL)  # of a thread that looks into a message: as read, as checked, and some of its decoded parts

ITEMS = {
    f"BODY.PEEK[]<1.{len(MAIL)}>": MAIL[1:],
    "BODY.PEEK[1]": PART,
    "BODY.PEEK[TEXT]": MAIL[len(HEAD) :],
    f"BODY.PEEK[1]<5.{len(MAIL)}>": PART[5:],
    "BINARY.PEEK[1]": CONTENT,
    f"BINARY.PEEK[1]<7.{len(MAIL)}>": CONTENT[7:],
    "(BODY.PEEK[1] BINARY.PEEK[1])": PART,
    "BODYSTRUCTURE": b"",
}


async def _clients(world: World, count: int) -> list[Client]:
    await world.append("alice", MAIL)
    return [await world.selected() for _ in range(count)]


async def _until_all_wait(world: World, clients: list[Client]) -> None:
    """Until no client gets more than it has, for it reads nothing, and nothing is done for them."""
    held = [-1] * len(clients)
    while (now := [len(client.stream._data) for client in clients]) != held or not all(now):
        held = now
        for _ in clients:
            await aside(world.account_id("alice"), int)  # comes after all that was asked for before


@pytest.mark.parametrize("item", ["BODY.PEEK[1]<5.9999999>", "BINARY.PEEK[1]", "BODYSTRUCTURE", "SEARCH"])
async def test_many_readers_hold_little(tmp_path: Path, item: str) -> None:
    async with make_world(tmp_path, "alice") as world:
        clients = await _clients(world, CLIENTS)
        command = "SEARCH TEXT nowhere" if item == "SEARCH" else f"FETCH 1 {item}"
        tracemalloc.start()
        try:
            for client in clients:
                client.send(f"a {command}\r\n".encode())
            await _until_all_wait(world, clients)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < CLIENTS * EACH + THREADS * ASIDE < CLIENTS * len(MAIL)
        for client in clients:
            client.stream.close()


async def test_what_is_sent_piece_by_piece_is_whole(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice") as world:
        (client,) = await _clients(world, 1)
        for item, expected in ITEMS.items():
            (line,) = await client.ok(f"FETCH 1 {item}")
            assert expected in line, item
        assert await client.ok("FETCH 1 BINARY.SIZE[1]") == [b"* 1 FETCH (BINARY.SIZE[1] %d)" % len(CONTENT)]


async def test_the_check_before_a_first_part_is_not_the_loop_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_world(tmp_path, "alice") as world:
        (client,) = await _clients(world, 1)
        blobs, threads = world.store.blobs, set[str]()
        check = blobs._check_large

        def watched(*place: object) -> None:
            threads.add(threading.current_thread().name)
            check(*place)  # type: ignore[arg-type]

        monkeypatch.setattr(blobs, "_check_large", watched)
        for item in ("BODY.PEEK[]<0.100>", "BODY.PEEK[HEADER]", "ENVELOPE", "BODY.PEEK[HEADER.FIELDS (X-RARE)]"):
            await client.ok(f"FETCH 1 {item}")
        await client.ok("SEARCH HEADER X-RARE y")
        assert threads
        assert all(name.startswith("imap-aside") for name in threads)


async def test_a_damaged_large_message_is_told_before_any_part_of_it(tmp_path: Path) -> None:
    async with make_world(tmp_path, "alice") as world:
        (client,) = await _clients(world, 1)
        (path,) = (tmp_path / "store" / "large").iterdir()
        data = bytearray(path.read_bytes())
        data[-100] ^= 1
        path.write_bytes(data)
        for item in ("BODY.PEEK[]<0.100>", "BODY.PEEK[1]", "BINARY.PEEK[1]"):
            (answer,) = await client.command(f"FETCH 1 {item}")
            assert answer.startswith(b"NO [CORRUPTION]")
