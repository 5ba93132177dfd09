"""A node started as root opens its ports and becomes the user of `site.user`."""

import os
import pwd
import shutil
import smtplib
from pathlib import Path

import pytest

from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until

USER = "nobody"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_it_gives_up_root(tmp_path: Path) -> None:
    uid = pwd.getpwnam(USER).pw_uid
    for parent in (tmp_path, *tmp_path.parents):
        if not parent.stat().st_mode & 0o001 and parent.owner() == "root" and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)  # so that the user can reach its site below
    site = RunningSite(tmp_path / "site")
    site.init()
    site.configure(site__user=f'"{USER}"', log__file='"rookery.log"')
    for folder, _, files in os.walk(site.folder):
        shutil.chown(folder, USER)
        for name in files:
            shutil.chown(Path(folder) / name, USER)
    site.start()
    try:
        assert site.process is not None
        status = Path(f"/proc/{site.process.pid}/status").read_text()
        assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status
        site.add_account("alice")
        with smtplib.SMTP("127.0.0.1", site.ports["smtp"], timeout=30) as client:
            assert client.noop()[0] == 250
        log = site.folder / "rookery.log"
        assert log.owner() == USER
        log.rename(site.folder / "rookery.log.1")
        site.reload()
        wait_until(lambda: log.exists() and " reloaded " in log.read_text(), "the reload, in a new file of the log")
        assert log.owner() == USER
        assert site.stop() == 0
    finally:
        site.kill()
