"""A snapshot from a hostile hand: links that lead out of it, files that never end, a mark that is none."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.management.operations.snapshot import MARK, SnapshotMark, restore


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    folder = tmp_path / "snapshot"
    (folder / "keys").mkdir(parents=True)
    (folder / "keys" / "secret").write_bytes(b"s")
    (folder / "rookery.toml").write_bytes(b"[site]\n")
    (folder / MARK).write_bytes(msgspec.json.encode(SnapshotMark("1", "d.test", 1, 2, 3, 4)))
    return folder


def test_a_good_one(snapshot: Path, tmp_path: Path) -> None:
    restore(snapshot, tmp_path / "site")
    made = {str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("*")}
    assert made == {"keys", "keys/secret", "rookery.toml"}


@pytest.mark.parametrize(
    "plant",
    [
        lambda at: at.symlink_to("/etc/passwd"),
        lambda at: at.symlink_to("/etc"),
        lambda at: at.symlink_to("nowhere"),
        os.mkfifo,  # opening it would wait for ever
    ],
)
@pytest.mark.parametrize("where", ["planted", "keys/planted"])
def test_what_is_no_file(snapshot: Path, tmp_path: Path, plant: Callable[[Path], None], where: str) -> None:
    plant(snapshot / where)
    with pytest.raises(RookeryError, match="is a link or a device") as caught:
        restore(snapshot, tmp_path / "site")
    assert caught.value.cause is Cause.INVALID
    assert not (tmp_path / "site").exists()


def test_settings_that_are_a_link(snapshot: Path, tmp_path: Path) -> None:
    (snapshot / "rookery.toml").unlink()
    (snapshot / "rookery.toml").symlink_to("/etc/passwd")
    with pytest.raises(RookeryError, match="is a link or a device"):
        restore(snapshot, tmp_path / "site")


@pytest.mark.parametrize("mark", [b"", b"{", b'{"version": 1}', b"\xff", b"[" * 100_000])
def test_a_mark_that_is_none(snapshot: Path, tmp_path: Path, mark: bytes) -> None:
    (snapshot / MARK).write_bytes(mark)
    with pytest.raises(RookeryError) as caught:
        restore(snapshot, tmp_path / "site")
    assert caught.value.cause is Cause.INVALID


def test_a_site_inside_its_own_snapshot(snapshot: Path) -> None:
    with pytest.raises(RookeryError, match="inside the snapshot"):
        restore(snapshot, snapshot / "site" / "deeper")
    assert not (snapshot / "site").exists()
