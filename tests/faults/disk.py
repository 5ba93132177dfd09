"""A disk that remembers what was flushed, so that a test can cut the power and see what is left.

`files.FaultyFiles` (store and spool) and `vfs.FaultyVfs` (SQLite) do their work on real files under `root`, which is
what the running system sees, and tell this model of it. The model knows for each file the octets that were flushed and
the writes since, and for each folder the names that were synced and the changes since. Each write, flush, creation,
renaming, removal and folder sync is a *step*; at step `cut_at` the power goes: that step and all later ones raise
`PowerCut`. `recover` then writes what a disk may hold after that into a new folder.

It can also refuse: `trouble(ENOSPC, "write")` makes every step of those kinds fail until `heal`.
"""

import errno
import os
import random
import shutil
import threading
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

SECTOR = 512


class PowerCut(OSError):
    """The machine is dead. An OSError, as the code under test must treat it."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "power cut")


class Fate(Enum):
    """What becomes of everything unflushed. TORN: each write, sector and name for itself, at random."""

    DROPPED = "dropped"
    KEPT = "kept"
    TORN = "torn"


@dataclass(slots=True, eq=False)
class Inode:
    """One file. `pending`: writes (offset, data) and truncations (size, None) since the last flush."""

    flushed: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def flush(self) -> None:
        self.flushed = _applied(self.flushed, self.pending)
        self.pending = []


@dataclass(slots=True)
class _Names:
    """One folder. Changes: (removed name or None, added name or None, what is added)."""

    synced: dict[str, Inode] = field(default_factory=dict)
    now: dict[str, Inode] = field(default_factory=dict)
    pending: list[tuple[str | None, str | None, Inode | None]] = field(default_factory=list)


class FaultyDisk:
    """`cut_at`: the step, from 0, at which the power goes; None: never. `root` is emptied."""

    def __init__(self, root: Path, cut_at: int | None = None) -> None:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        self.root = root
        self.cut_at = cut_at
        self.steps = 0
        self.dead = False
        self.log: list[str] = []  # the steps, for a failing test's message
        self.promises: list[object] = []  # what the scenario was told is done; see driver.py
        self._folders: dict[Path, _Names] = {root: _Names()}
        self._made: dict[Path, bool] = {root: True}  # folders, and whether they are durable
        self._troubles: dict[str, int] = {}
        self._lock = threading.RLock()

    # --- refusing --------------------------------------------------------------------------------------------------

    def trouble(self, number: int, *kinds: str) -> None:
        """Fail steps of these kinds (write, flush, create, name, sync, truncate) with this errno, until `heal`."""
        self._troubles.update(dict.fromkeys(kinds, number))

    def heal(self) -> None:
        self._troubles.clear()

    # --- steps: each is told before the real file is touched -------------------------------------------------------

    def _step(self, kind: str, what: str) -> bool:
        """True when the power goes during this very step. Raises once it has gone, or what `trouble` said."""
        if self.dead:
            raise PowerCut
        number = self._troubles.get(kind)
        if number is not None:
            raise OSError(number, os.strerror(number))
        self.log.append(f"{self.steps} {kind} {what}")
        self.dead = self.steps == self.cut_at
        self.steps += 1
        return self.dead

    def write(self, inode: Inode, offset: int, data: bytes, what: str) -> None:
        with self._lock:
            dying = self._step("write", f"{what} {offset}+{len(data)}")
            inode.pending.append((offset, bytes(data)))
            if dying:
                raise PowerCut

    def truncate(self, inode: Inode, size: int, what: str) -> None:
        with self._lock:
            dying = self._step("truncate", f"{what} {size}")
            inode.pending.append((size, None))
            if dying:
                raise PowerCut

    def flush(self, inode: Inode, what: str) -> None:
        with self._lock:
            try:
                dying = self._step("flush", what)
            except PowerCut:
                raise
            except OSError:
                # As Linux does: what could not be written counts as clean from now on, and no later flush writes it.
                inode.pending = [change for change in inode.pending if change[1] is None]
                raise
            if dying:
                raise PowerCut
            inode.flush()

    def create(self, path: Path) -> Inode:
        with self._lock:
            dying = self._step("create", self._short(path))
            inode = Inode()
            self._change(path.parent, None, path.name, inode)
            if dying:
                raise PowerCut
            return inode

    def unlink(self, path: Path) -> None:
        with self._lock:
            dying = self._step("name", f"unlink {self._short(path)}")
            self._change(path.parent, path.name, None, None)
            if dying:
                raise PowerCut

    def rename(self, old: Path, new: Path) -> None:
        with self._lock:
            dying = self._step("name", f"rename {self._short(old)} {self._short(new)}")
            inode = self._folders[old.parent].now[old.name]
            if old.parent == new.parent:
                self._change(old.parent, old.name, new.name, inode)
            else:
                self._change(new.parent, None, new.name, inode)
                self._change(old.parent, old.name, None, None)
            if dying:
                raise PowerCut

    def make_folder(self, path: Path) -> None:
        """A folder whose own name lasts only after a sync of the one above it."""
        with self._lock:
            if path in self._made:
                return
            if path.parent not in self._made:
                self.make_folder(path.parent)
            dying = self._step("name", f"mkdir {self._short(path)}")
            self._made[path] = False
            self._folders[path] = _Names()
            if dying:
                raise PowerCut

    def sync_folder(self, path: Path) -> None:
        with self._lock:
            if self._step("sync", self._short(path)):
                raise PowerCut
            names = self._folders[path]
            names.synced = dict(names.now)
            names.pending = []
            for folder in self._made:
                if folder.parent == path:
                    self._made[folder] = True

    def inode(self, path: Path) -> Inode | None:
        """The file of that name, as the running system sees it."""
        with self._lock:
            names = self._folders.get(path.parent)
            return names.now.get(path.name) if names else None

    def _change(self, folder: Path, removed: str | None, added: str | None, inode: Inode | None) -> None:
        names = self._folders[folder]
        names.pending.append((removed, added, inode))
        _rename(names.now, removed, added, inode)

    def _short(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    # --- afterwards ------------------------------------------------------------------------------------------------

    def recover(self, target: Path, fate: Fate, seed: int = 0) -> Path:
        """What the disk may hold after the power came back, in the new or emptied folder `target`. Repeatable."""
        choose = random.Random(seed)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        contents: dict[int, bytes] = {}  # of an inode with two names, once
        there: set[Path] = set()
        for folder in sorted(self._folders):  # parents come first
            if not self._survives(folder, there, fate, choose):
                continue
            there.add(folder)
            place = target / folder.relative_to(self.root)
            place.mkdir(exist_ok=True)
            for name, inode in sorted(self._names_left(self._folders[folder], fate, choose).items()):
                if id(inode) not in contents:
                    contents[id(inode)] = _left(inode, fate, choose)
                (place / name).write_bytes(contents[id(inode)])
        return target

    def _survives(self, folder: Path, there: set[Path], fate: Fate, choose: random.Random) -> bool:
        if folder == self.root:
            return True
        if folder.parent not in there:
            return False
        return self._made[folder] or fate is Fate.KEPT or (fate is Fate.TORN and choose.random() < 0.5)

    @staticmethod
    def _names_left(names: _Names, fate: Fate, choose: random.Random) -> dict[str, Inode]:
        left = dict(names.synced)
        for removed, added, inode in names.pending:
            if fate is Fate.KEPT or (fate is Fate.TORN and choose.random() < 0.5):
                _rename(left, removed, added, inode)
        return left


def _rename(names: dict[str, Inode], removed: str | None, added: str | None, inode: Inode | None) -> None:
    if removed is not None:
        names.pop(removed, None)
    if added is not None and inode is not None:
        names[added] = inode


def _left(inode: Inode, fate: Fate, choose: random.Random) -> bytes:
    if fate is Fate.DROPPED:
        return inode.flushed
    if fate is Fate.KEPT:
        return _applied(inode.flushed, inode.pending)
    kept: list[tuple[int, bytes | None]] = []
    for offset, data in inode.pending:
        if data is None:
            if choose.random() < 0.5:
                kept.append((offset, None))
        else:
            kept.extend((offset + at, part) for at, part in _sectors(offset, data) if choose.random() < 0.6)
    return _applied(inode.flushed, kept)


def _sectors(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    """The write cut at sector bounds."""
    parts: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        end = min(len(data), at + SECTOR - (offset + at) % SECTOR)
        parts.append((at, data[at:end]))
        at = end
    return parts


def _applied(content: bytes, changes: list[tuple[int, bytes | None]]) -> bytes:
    if not changes:
        return content
    made = bytearray(content)
    for offset, data in changes:
        if data is None:
            if offset <= len(made):
                del made[offset:]
            else:
                made.extend(bytes(offset - len(made)))
            continue
        if offset > len(made):
            made.extend(bytes(offset - len(made)))
        made[offset : offset + len(data)] = data
    return bytes(made)
