"""Nothing grows: segments, large files, history."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.distribution.spool import admin, tidy
from rookery.distribution.spool.spool import DAY, Spool, SpoolSettings
from rookery.distribution.spool.values import Claimed, Fate, Incoming, Settlement, State

Make = Callable[..., Incoming]
Open = Callable[..., Awaitable[Spool]]
in_files = pytest.mark.parametrize("open_spool", ["sqlite"], indirect=True)
DONE = (Fate(1, State.DELIVERED),)


async def deliver(spool: Spool, claimed: Claimed) -> None:
    await spool.settle(Settlement(claimed.envelope, DONE))


async def accept_many(spool: Spool, make: Make, count: int, size: int = 100_000) -> list[Claimed]:
    for n in range(count):
        await spool.accept(make(spool, body=(b"%06d" % n) * (size // 6)))
    return sorted(await spool.claim_due(count), key=lambda claimed: claimed.envelope.number)


def octets(folder: Path) -> int:
    return sum(path.stat().st_size for name in ("segments", "large") for path in (folder / name).iterdir())


@in_files
async def test_dead_segments_go(spool: Spool, tmp_path: Path, make: Make) -> None:
    for claimed in await accept_many(spool, make, 100):
        await deliver(spool, claimed)
    assert octets(tmp_path / "spool") > tidy.SEAL_AT
    found = await tidy.tidy(spool)
    assert found.segments == 1
    assert octets(tmp_path / "spool") == 0


@in_files
async def test_a_needed_body_is_moved_out_of_a_mostly_dead_segment(spool: Spool, tmp_path: Path, make: Make) -> None:
    everything = await accept_many(spool, make, 100)
    kept = everything[50]
    for claimed in everything:
        if claimed is not kept:
            await deliver(spool, claimed)
    found = await tidy.tidy(spool)
    assert (found.segments, found.moved) == (1, 1)
    assert octets(tmp_path / "spool") < 110_000
    spool._recent.clear()
    assert spool.body(kept.envelope) == b"000050" * (100_000 // 6)  # by its old envelope, too
    chunks = [chunk async for chunk in spool.chunks(kept.envelope)]
    assert b"".join(chunks) == b"000050" * (100_000 // 6)
    await deliver(spool, kept)
    assert spool.live._segments == {}


@in_files
async def test_a_fuller_segment_is_left_alone(spool: Spool, make: Make) -> None:
    everything = await accept_many(spool, make, 100)
    for claimed in everything[:50]:
        await deliver(spool, claimed)
    found = await tidy.tidy(spool)
    assert (found.segments, found.moved) == (0, 0)


@in_files
async def test_large_bodies_go_at_once(spool: Spool, tmp_path: Path, make: Make) -> None:
    (claimed,) = await accept_many(spool, make, 1, 2_000_000)
    assert len(list((tmp_path / "spool" / "large").iterdir())) == 1
    await deliver(spool, claimed)
    assert list((tmp_path / "spool" / "large").iterdir()) == []


@in_files
async def test_large_bodies_of_nobody_go_at_the_start(open_spool: Open, tmp_path: Path, make: Make) -> None:
    spool = await open_spool()
    await accept_many(spool, make, 1, 2_000_000)
    await spool.close()
    orphan = tmp_path / "spool" / "large" / ("0" * 32)
    orphan.write_bytes(b"left by a crash")
    spool = await open_spool()
    assert not orphan.exists()
    (claimed,) = await spool.claim_due(1)
    assert len(b"".join([chunk async for chunk in spool.chunks(claimed.envelope)])) == 1_999_998


async def test_history_ends_with_time(spool: Spool, clock: ManualClock, make: Make) -> None:
    (claimed,) = await accept_many(spool, make, 1, 60)
    await deliver(spool, claimed)
    clock.advance(6 * DAY)
    assert (await tidy.tidy(spool)).forgotten == 0
    clock.advance(2 * DAY)
    assert (await tidy.tidy(spool)).forgotten == 1
    assert spool.read(lambda reader: admin.show(reader, claimed.envelope.number)) is None


async def test_history_is_bounded(open_spool: Open, make: Make) -> None:
    spool = await open_spool(SpoolSettings(history_messages=10))
    everything = await accept_many(spool, make, 25, 60)
    for claimed in everything:
        await deliver(spool, claimed)
    assert (await tidy.tidy(spool)).forgotten == 15
    kept = [c for c in everything if spool.read(lambda r, n=c.envelope.number: admin.show(r, n)) is not None]
    assert kept == everything[15:]


@in_files
async def test_segments_of_before_a_restart_go_too(open_spool: Open, tmp_path: Path, make: Make) -> None:
    spool = await open_spool()
    everything = await accept_many(spool, make, 100)
    await spool.close()
    spool = await open_spool()
    for claimed in await spool.claim_due(1000):
        await deliver(spool, claimed)
    assert len(everything) == 100
    await tidy.tidy(spool)
    assert octets(tmp_path / "spool") == 0
