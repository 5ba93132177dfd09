"""Whose folder it is, what it is called, what file system it lies on, and the room kept for a full disk."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.storage import filesystems
from rookery.storage.ballast import Ballast
from rookery.storage.files import DiskFiles
from rookery.storage.filesystems import kind_of, refuse_network
from rookery.storage.lock import FolderLock, Identity, identity, write_identity
from tests.faults.disk import FaultyDisk
from tests.faults.driver import at_every_step
from tests.faults.files import FaultyFiles

FILES = DiskFiles()


class TestLock:
    def test_one_at_a_time(self, tmp_path: Path) -> None:
        lock = FolderLock(tmp_path)
        with pytest.raises(RookeryError, match=f"in use by process {os.getpid()}") as caught:
            FolderLock(tmp_path)
        assert caught.value.cause is Cause.IN_USE
        lock.release()
        lock.release()
        FolderLock(tmp_path).release()

    def test_the_end_of_a_process_ends_its_lock(self, tmp_path: Path) -> None:
        code = (
            "import os, signal, sys; from pathlib import Path; from rookery.storage.lock import FolderLock;"
            " lock = FolderLock(Path(sys.argv[1])); print(lock.path); os.kill(os.getpid(), signal.SIGKILL)"
        )
        ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
        assert ended.returncode == -9
        FolderLock(tmp_path).release()


class TestIdentity:
    def test_made_once(self, tmp_path: Path) -> None:
        made = identity(tmp_path, FILES, os.urandom)
        assert made == identity(tmp_path, FILES, os.urandom)
        assert (len(made.store), made.generation) == (32, 1)

    def test_damaged(self, tmp_path: Path) -> None:
        (tmp_path / "IDENTITY").write_bytes(b"{}")
        with pytest.raises(RookeryError) as caught:
            identity(tmp_path, FILES, os.urandom)
        assert caught.value.cause is Cause.CORRUPT

    def test_replaced_whole_or_not_at_all(self, tmp_path: Path) -> None:
        old, new = Identity("0" * 32, 1), Identity("0" * 32, 2)

        def scenario(disk: FaultyDisk) -> None:
            for one in (old, new):
                write_identity(disk.root, FaultyFiles(disk), one)
                disk.promises.append(one)

        def check(folder: Path, promises: object) -> None:
            assert isinstance(promises, tuple)
            if promises:
                found = identity(folder, FILES, os.urandom)
                assert found in (promises[-1], new)

        at_every_step(scenario, check, tmp_path)


MOUNTS = r"""/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/export /srv/mail nfs4 rw 0 0
/dev/vdb /srv/mail/local xfs rw 0 0
user@host: /home/a\040b fuse.sshfs rw 0 0
"""


class TestFileSystems:
    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/var/lib/rookery", "ext4"),
            ("/srv/mail/store", "nfs4"),
            ("/srv/mailbox", "ext4"),
            ("/srv/mail/local/store", "xfs"),
            ("/home/a b/store", "fuse.sshfs"),
        ],
    )
    def test_the_nearest_mount_counts(self, path: str, kind: str) -> None:
        assert kind_of(Path(path), MOUNTS) == kind

    def test_a_network_file_system_is_refused_by_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(filesystems, "kind_of", lambda folder, mounts: "nfs4")
        with pytest.raises(RookeryError, match=r"network file system \(nfs4\)") as caught:
            refuse_network(tmp_path)
        assert caught.value.cause is Cause.UNSUPPORTED
        assert "local disk" in caught.value.what

    def test_this_disk_is_well(self, tmp_path: Path) -> None:
        refuse_network(tmp_path)


class TestBallast:
    SIZE = 3 << 20

    def test_made_given_up_and_made_again(self, disk: FaultyDisk) -> None:
        files = FaultyFiles(disk)
        ballast = Ballast(disk.root, files, self.SIZE)
        assert ballast.restore()
        assert (disk.root / "ballast").stat().st_size == self.SIZE
        assert ballast.drop()
        assert not ballast.drop()
        files.free = self.SIZE
        assert not ballast.restore(), "there is hardly room for it"
        files.free = 100 * self.SIZE
        assert ballast.restore()

    def test_what_does_not_fit_leaves_nothing(self, disk: FaultyDisk) -> None:
        ballast = Ballast(disk.root, FaultyFiles(disk), self.SIZE)
        disk.trouble(errno.ENOSPC, "write")
        assert not ballast.restore()
        assert not (disk.root / "ballast").exists()

    def test_half_of_one_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "ballast").write_bytes(b"x" * 1000)
        ballast = Ballast(tmp_path, FILES, self.SIZE)
        assert not ballast.held
        assert ballast.restore()
        assert ballast.held
