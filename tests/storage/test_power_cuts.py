"""The power goes at every single step of what the store does; afterwards it opens, everything acknowledged is there,
nothing is there twice, and index and blobs agree. Unflushed octets are dropped, kept, and torn."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import RookeryError
from rookery.base.ids import RandomBytes, system_random
from rookery.base.numberset import NumberSet
from rookery.storage.append import Append
from rookery.storage.files import DiskFiles, Files
from rookery.storage.gate import Gate
from rookery.storage.open_account import OpenAccount
from rookery.storage.store import Store, StoreSettings
from rookery.storage.values import Flag, FlagMode
from rookery.storage.verify import Trouble
from tests.faults.disk import Fate, FaultyDisk
from tests.faults.driver import at_every_step, faulty_vfs
from tests.faults.files import FaultyFile, FaultyFiles
from tests.storage.conftest import staged
from tests.storage.world import account_id

ACCOUNT = account_id(1)
SETTINGS = StoreSettings(ballast=0)
DELETED = int(Flag.DELETED)
N = NumberSet.parse


def counted() -> RandomBytes:
    state = [0]

    def random(length: int) -> bytes:
        state[0] += 1
        return state[0].to_bytes(8, "big").rjust(length, b"\0")

    return random


async def open_store(
    folder: Path, files: Files, vfs: str | None, clock: ManualClock, random: RandomBytes = system_random
) -> Store:
    return await Store.open(folder, files=files, clock=clock, random=random, gate=Gate(), settings=SETTINGS, vfs=vfs)


@dataclass(frozen=True)
class Stored:
    """A message that was acknowledged: where it is to be found, unless `moved` or `gone` was promised later."""

    mailbox: int
    uid: int
    body: bytes
    delivery: str | None = None


@dataclass(frozen=True)
class Marked:
    mailbox: int
    uid: int
    flags: int


@dataclass(frozen=True)
class Gone:
    mailbox: int
    uid: int


@dataclass(frozen=True)
class Begun:
    """A removal that was asked for: from now on the message may be there or not."""

    mailbox: int
    uid: int


Act = Callable[[Store, OpenAccount, FaultyDisk, ManualClock], Awaitable[None]]


async def deliver(store: Store, disk: FaultyDisk, number: int, size: int = 300) -> None:
    body = bytes([number]) * size
    delivery = f"m{number}/alice"
    held = staged(store, body)
    made = await store.append(Append(ACCOUNT, held, delivery_id=delivery))
    held.release()
    disk.promises.append(Stored(1, made.uid, body, delivery))


async def appending(store: Store, opened: OpenAccount, disk: FaultyDisk, clock: ManualClock) -> None:
    for number in range(1, 4):
        await deliver(store, disk, number)
    await deliver(store, disk, 9, (1 << 20) + 5)
    for number in (5, 6):
        held = staged(store, b"mine" * number)
        made = await opened.append(2, held, int(Flag.DRAFT), ("Word",))
        disk.promises.append(Stored(2, made.uid, b"mine" * number))
        held.release()


async def flagging(store: Store, opened: OpenAccount, disk: FaultyDisk, clock: ManualClock) -> None:
    for number in range(1, 4):
        await deliver(store, disk, number)
    await opened.set_flags(1, N("1:2"), FlagMode.ADD, int(Flag.SEEN), ("Word",))
    disk.promises += [Marked(1, 1, 33), Marked(1, 2, 33)]
    await opened.set_flags(1, N("2"), FlagMode.ADD, int(Flag.FLAGGED))
    disk.promises.append(Marked(1, 2, 37))


async def expunging(store: Store, opened: OpenAccount, disk: FaultyDisk, clock: ManualClock) -> None:
    for number in range(1, 5):
        await deliver(store, disk, number)
    await opened.copy(1, N("1"), 2)
    disk.promises.append(Stored(2, 1, bytes([1]) * 300))
    await opened.set_flags(1, N("1:2"), FlagMode.ADD, DELETED)
    disk.promises += [Begun(1, 1), Begun(1, 2)]
    await opened.expunge(1)
    disk.promises += [Gone(1, 1), Gone(1, 2)]
    disk.promises.append(Begun(1, 3))
    await opened.move(1, N("3"), 2)
    disk.promises += [Gone(1, 3), Stored(2, 2, bytes([3]) * 300)]
    await deliver(store, disk, 7)


async def compacting(store: Store, opened: OpenAccount, disk: FaultyDisk, clock: ManualClock) -> None:
    for number in range(1, 7):
        await deliver(store, disk, number, 2000)
    await deliver(store, disk, 8, (1 << 20) + 5)
    store.blobs.seal()
    await deliver(store, disk, 9)
    disk.promises += [Begun(1, uid) for uid in (1, 2, 3, 5, 7)]
    await opened.expunge(1, N("1:3,5,7"), force=True)
    disk.promises += [Gone(1, uid) for uid in (1, 2, 3, 5, 7)]
    clock.advance(90_000)
    await store.upkeep.run()
    await deliver(store, disk, 10)


def scenario(act: Act) -> Callable[[FaultyDisk], None]:
    def run(disk: FaultyDisk) -> None:
        with faulty_vfs(disk) as vfs:
            asyncio.run(_scenario(act, disk, vfs))

    return run


async def _scenario(act: Act, disk: FaultyDisk, vfs: str) -> None:
    clock = ManualClock()
    store = await open_store(disk.root / "store", FaultyFiles(disk), vfs, clock, counted())
    try:
        await store.create_account(ACCOUNT)
        opened = await store.open_account(ACCOUNT)
        await act(store, opened, disk, clock)
        if disk.dead:
            raise OSError("the power went while nobody was waiting for an answer")
    finally:
        await store.close()


def check(folder: Path, promises: Sequence[object]) -> None:
    asyncio.run(_check(folder, promises))


async def _check(folder: Path, promises: Sequence[object]) -> None:
    (folder / "store").mkdir(exist_ok=True)
    store = await open_store(folder / "store", DiskFiles(), None, ManualClock())
    try:
        report = await store.verify()
        assert all(finding.trouble is Trouble.ORPHAN for finding in report.findings), report.findings
        if not promises:
            return
        opened = await store.open_account(ACCOUNT)
        await _check_promises(store, opened, promises)
    finally:
        await store.close()


async def _check_promises(store: Store, opened: OpenAccount, promises: Sequence[object]) -> None:
    held = {(box, p.uid): p for box in (1, 2) for p in opened.presences(box, N("1:1000"))}
    begun = {(p.mailbox, p.uid) for p in promises if isinstance(p, Begun)}
    stored = [p for p in promises if isinstance(p, Stored)]
    for promise in stored:
        presence = held.get((promise.mailbox, promise.uid))
        if presence is not None:
            assert opened.body(presence) == promise.body
        else:
            assert (promise.mailbox, promise.uid) in begun, promise
    for promise in promises:
        if isinstance(promise, Gone):
            assert (promise.mailbox, promise.uid) not in held, promise
        if isinstance(promise, Marked):
            assert held[promise.mailbox, promise.uid].flags & promise.flags == promise.flags, promise
    await _check_what_comes_next(store, opened, stored)


async def _check_what_comes_next(store: Store, opened: OpenAccount, stored: list[Stored]) -> None:
    """Deliveries are known again, UIDs are not given twice, and the store takes new mail."""
    for promise in stored:
        if promise.delivery is not None:
            body = staged(store, promise.body)
            again = await store.append(Append(ACCOUNT, body, delivery_id=promise.delivery))
            assert (again.duplicate, again.uid) == (True, promise.uid)
    for mailbox in (1, 2):
        body = staged(store, b"new")
        made = await opened.append(mailbox, body)
        assert made.uid > max((p.uid for p in stored if p.mailbox == mailbox), default=0)
        [presence] = opened.presences(mailbox, NumberSet.of([made.uid]))
        assert opened.body(presence) == b"new"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is possible: what is flushed is modelled, and need not wait for a real disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


@pytest.mark.parametrize("act", [appending, flagging, expunging, compacting])
def test_at_every_step(act: Act, folder: Path) -> None:
    steps = at_every_step(scenario(act), check, folder, fates=((Fate.DROPPED, 0), (Fate.KEPT, 0), (Fate.TORN, 1)))
    assert steps > 20


@pytest.mark.soak
@pytest.mark.parametrize("act", [appending, flagging, expunging, compacting])
def test_at_every_step_torn_in_many_ways(act: Act, folder: Path) -> None:
    at_every_step(scenario(act), check, folder, fates=[(Fate.TORN, seed) for seed in range(2, 30)])


def test_the_test_notices_a_missing_flush(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FaultyFile, "flush", lambda self: None)
    with pytest.raises((AssertionError, RookeryError)):
        at_every_step(scenario(appending), check, folder)


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """Writes are refused while it is full; what was acknowledged stays, and service returns with the room."""

    async def fill(disk: FaultyDisk, vfs: str) -> None:
        store = await open_store(disk.root / "store", FaultyFiles(disk), vfs, ManualClock())
        await store.create_account(ACCOUNT)
        opened = await store.open_account(ACCOUNT)
        await deliver(store, disk, 1)
        for kind in ("write", "create"):
            disk.trouble(28, kind)
            with pytest.raises((RookeryError, OSError)):
                await deliver(store, disk, 2, (1 << 20) if kind == "create" else 300)
            assert len(opened.presences(1, N("1:10"))) == len(disk.promises)
            disk.heal()
            await deliver(store, disk, 3 if kind == "write" else 4)
        await _check_promises(store, opened, tuple(disk.promises))
        await store.close()

    disk = FaultyDisk(tmp_path / "disk")
    with faulty_vfs(disk) as vfs:
        asyncio.run(fill(disk, vfs))
    check(tmp_path / "disk", tuple(disk.promises))
