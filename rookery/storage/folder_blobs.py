"""Blobs as files of a folder that several machines share (NFS or the like).

    DIR/ROOKERY-STORE    whose they are        DIR/ab/cd/<blob id>, which ends with cdab        <blob id>.new: half-done

A file appears whole: written under another name, flushed, renamed, and the folder flushed.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import BlobId
from rookery.storage.files import Files
from rookery.storage.parted_blobs import MARK, PartedBlobs, named

NEW = ".new"


class FolderBlobs(PartedBlobs):
    """`root` is not made: where nothing is mounted, mail must not get lost beneath."""

    def __init__(self, root: Path, staging: Path, files: Files | None = None) -> None:
        super().__init__(f"the folder {root}", staging, files)
        self._root = root
        self._ready: set[Path] = set()  # folders whose own names are durable

    def _path(self, blob: BlobId) -> Path:
        name = blob.hex()
        return self._root / name[-2:] / name[-4:-2] / name

    def _put(self, blob: BlobId, size: int, octets: Iterator[bytes]) -> None:
        path = self._path(blob)
        new = path.with_name(path.name + NEW)
        self._make_ready(path.parent)
        try:
            self._write(new, octets)
            self._files.rename(new, path)
            self._files.sync_folder(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                self._files.unlink(new)
            raise

    def _make_ready(self, folder: Path) -> None:
        """Also one that another machine has made, whose name it may not have flushed yet."""
        if folder in self._ready:
            return
        if self._read_mark() is None:
            raise RookeryError(Cause.UNAVAILABLE, f"{self.where} is not what it was: is it mounted?")
        self._files.make_folder(folder)
        self._files.sync_folder(folder.parent)
        self._files.sync_folder(self._root)
        self._ready.add(folder)

    def _write(self, path: Path, octets: Iterator[bytes]) -> None:
        file = self._files.create(path)
        try:
            for piece in octets:
                file.append([piece])
            file.flush()
        finally:
            file.close()

    def _get(self, blob: BlobId, start: int, stop: int) -> bytes:
        file = self._files.open_read(self._path(blob))
        try:
            return file.read_at(start, stop - start)
        finally:
            file.close()

    def _remove(self, blobs: Sequence[BlobId]) -> None:
        """All that can be. Not flushed: one that comes back is found on its shelf."""
        failed: OSError | None = None
        for blob in blobs:
            path = self._path(blob)
            try:
                self._files.unlink(path)
                self._files.unlink(path.with_name(path.name + NEW))
            except OSError as error:
                failed = error
        if failed is not None:
            raise failed

    def shelf(self, number: int) -> list[BlobId]:
        top = self._root / f"{number:02x}"
        found = set()
        with self._failing("listed"):
            for part in self._names(top):
                names = [name.removesuffix(NEW) for name in self._names(top / part)]
                found |= {blob for blob in map(named, names) if blob is not None}
        return sorted(found)

    def _names(self, folder: Path) -> list[str]:
        try:
            return self._files.names(folder)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _read_mark(self) -> str | None:
        try:
            file = self._files.open_read(self._root / MARK)
        except FileNotFoundError:
            return None
        try:
            return file.read_at(0, 100).decode(errors="replace").strip()
        finally:
            file.close()

    def _probe(self, name: str) -> None:
        self._write(self._root / name, iter([b"probe"]))
        self._files.unlink(self._root / name)
        self._files.sync_folder(self._root)

    def _write_mark(self, text: str) -> None:
        new = self._root / (MARK + NEW)
        self._files.unlink(new)
        self._write(new, iter([text.encode() + b"\n"]))
        self._files.rename(new, self._root / MARK)
        self._files.sync_folder(self._root)
