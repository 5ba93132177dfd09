"""Cut the power at every single step of a scenario, and look at what is left.

    def scenario(disk: FaultyDisk) -> None:
        files = FaultyFiles(disk)
        with faulty_vfs(disk) as vfs:                       # for databases: SqliteDatabase(path, ..., vfs=vfs)
            store = open_store(disk.root / "store", files, vfs)
            disk.promises.append(store.append(b"..."))      # only what was acknowledged: it returned well

    def check(folder: Path, promises: Sequence[object]) -> None:
        store = open_store(folder / "store", DiskFiles(), None)   # the real file system, as after a reboot
        assert set(promises) <= set(store.everything())           # and nothing is corrupt

    at_every_step(scenario, check, tmp_path)

The scenario is run with the power going at step 0, 1, 2, ... until it ends before its power does. Once the power has
gone every write fails with EIO, so the scenario ends with whatever error the code under test makes of that
(RookeryError, OSError and SQLite's errors are taken as that; anything else fails the test). After each run the disk is
recovered with everything unflushed dropped, kept, and torn in a few ways, and `check` is called on each.

The scenario must be the same each time: hand in clocks and random octets, wait for each result before the next act, and
drive an event loop of its own (`asyncio.run`). Databases opened with a VFS of tests have no checkpoint thread.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from rookery.base.errors import RookeryError
from tests.faults.disk import Fate, FaultyDisk
from tests.faults.vfs import FaultyVfs

FATES: tuple[tuple[Fate, int], ...] = (
    (Fate.DROPPED, 0),
    (Fate.KEPT, 0),
    (Fate.TORN, 1),
    (Fate.TORN, 2),
)
STEPS_LIMIT = 5_000  # a scenario that takes more is not meant for this

Scenario = Callable[[FaultyDisk], None]
Check = Callable[[Path, Sequence[object]], None]


@contextmanager
def faulty_vfs(disk: FaultyDisk) -> Iterator[str]:
    """The name of a VFS on the disk, registered for the block."""
    vfs = FaultyVfs(disk)
    try:
        yield vfs.name
    finally:
        vfs.close()


def at_every_step(
    scenario: Scenario, check: Check, folder: Path, *, fates: Sequence[tuple[Fate, int]] = FATES, every: int = 1
) -> int:
    """Returns the number of steps that the whole scenario takes. `every`: cut only at each so-manieth step.

    SPARSE in the environment makes it fewer: `make check` cuts at each seventh, enough to see that nothing is broken
    grossly, `.ci/run` at each third, `make test` by itself at all of them.
    """
    every *= int(os.environ.get("SPARSE") or 1)
    for cut_at in range(0, STEPS_LIMIT, every):
        disk = FaultyDisk(folder / "running", cut_at)
        try:
            scenario(disk)
        except (RookeryError, OSError, apsw.Error):
            if not disk.dead:
                raise
        _check_all(disk, check, folder, fates)
        if not disk.dead:
            if disk.steps == 0:
                raise AssertionError("the scenario did nothing")
            return disk.steps
    raise AssertionError(f"the scenario takes more than {STEPS_LIMIT} steps")


def _check_all(disk: FaultyDisk, check: Check, folder: Path, fates: Sequence[tuple[Fate, int]]) -> None:
    for fate, seed in fates:
        left = disk.recover(folder / "recovered", fate, seed)
        try:
            check(left, tuple(disk.promises))
        except BaseException as error:
            last = disk.log[-6:]
            error.add_note(f"power cut at step {disk.cut_at}, unflushed {fate.value} (seed {seed}); last: {last}")
            raise
