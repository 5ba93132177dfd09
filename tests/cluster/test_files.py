"""Keys and certificates survive a power cut whole, the old ones or the new ones, and are for the owner only."""

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.cluster import authority as au
from rookery.distribution.cluster.certificates import der, key_id, new_key, new_serial, private_pem
from rookery.distribution.cluster.files import ClusterFiles
from tests.faults.disk import FaultyDisk
from tests.faults.driver import at_every_step
from tests.faults.files import FaultyFiles

NOW = 1_800_000_000
OLD = au.create("ab" * 16, NOW)
NEW = OLD.successor(NOW)
KEYS = (new_key(), new_key())
BUNDLES = (au.Bundle((der(OLD.certificate),)), au.Bundle((der(OLD.certificate), der(NEW.certificate))))
CERTIFICATES = tuple(
    signer.issue(key.public_key(), "n", ["frontend"], new_serial(bytes(16)), NOW)
    for key, signer in zip(KEYS, (OLD, NEW), strict=True)
)


def write(files: ClusterFiles, which: int) -> None:
    files.write_state(KEYS[which], CERTIFICATES[which], (OLD, NEW)[which].chain, BUNDLES[which])


def test_every_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    def scenario(disk: FaultyDisk) -> None:
        files = ClusterFiles(disk.root / "cluster", FaultyFiles(disk))
        for which, authority in enumerate((OLD, NEW)):
            files.write_authority(authority)
            write(files, which)
            disk.promises.append(which)

    def check(folder: Path, promises: Sequence[object]) -> None:
        files = ClusterFiles(folder / "cluster")
        state, authority = files.state(), files.authority()
        if not promises:
            assert state is None or der(state.certificate) in CERTIFICATES
            return
        assert state
        assert authority
        least = max(int(str(promise)) for promise in promises)
        assert CERTIFICATES.index(der(state.certificate)) >= least
        assert BUNDLES.index(state.bundle) >= CERTIFICATES.index(der(state.certificate))  # trust first
        assert [OLD.id, NEW.id].index(authority.id) >= least

    assert at_every_step(scenario, check, tmp_path) > 20


def test_the_key_of_joining_stays_the_same(tmp_path: Path) -> None:
    files = ClusterFiles(tmp_path / "cluster")
    assert key_id(files.joining_key().public_key()) == key_id(files.joining_key().public_key())
    files.has_joined()
    files.has_joined()
    assert list(files.folder.iterdir()) == []
    (files.folder / "joining.key").write_bytes(b"rubbish")
    with pytest.raises(RookeryError, match=r"joining\.key") as caught:
        files.joining_key()
    assert caught.value.cause is Cause.CORRUPT


def test_what_is_left_of_an_interrupted_write_is_in_nobodys_way(tmp_path: Path) -> None:
    files = ClusterFiles(tmp_path / "cluster")
    files.write_authority(OLD)
    (files.folder / "authority.key.new").write_bytes(b"half of a")
    files.write_authority(NEW)
    held = files.authority()
    assert held
    assert held.id == NEW.id
    assert [path.name for path in files.folder.iterdir()] == ["authority.key"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    disk = FaultyDisk(tmp_path / "running")
    files = ClusterFiles(disk.root / "cluster", FaultyFiles(disk))
    write(files, 0)
    disk.trouble(errno.ENOSPC, "write")
    with pytest.raises(RookeryError, match="cannot be written") as caught:
        write(files, 1)
    assert caught.value.cause is Cause.UNAVAILABLE
    state = files.state()
    assert state
    assert (der(state.certificate), state.bundle) == (CERTIFICATES[0], BUNDLES[0])


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    files = ClusterFiles(tmp_path / "cluster")
    write(files, 0)
    good = files.node.read_bytes()
    files.node.write_bytes(private_pem(KEYS[1]) + good[good.index(b"-----BEGIN CERT") :])
    with pytest.raises(RookeryError, match=r"node\.pem: the key of another certificate"):
        files.state()
    files.node.write_bytes(good)
    (files.folder / "authorities.pem").unlink()
    with pytest.raises(RookeryError, match=r"authorities\.pem: it is missing"):
        files.state()
    (files.folder / "authority.key").write_bytes(good)
    with pytest.raises(RookeryError, match=r"authority\.key"):
        files.authority()
